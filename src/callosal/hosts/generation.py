"""One call of ``generate``: its settings, which tokens are replies, which rows are beams, what ended."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn


@dataclass
class Generation:
    """One call of ``generate`` under way.

    A row that has ended is fed padding for as long as the others go on, and the model is told that the padding exists.
    A memory must not see it, nor whether the row's own end token was fed: both depend on the other rows. So end tokens,
    and whatever follows them, count as absent.

    Attributes:
        beams: of the search; 1 without one.
        returned: replies per row of the prompt.
        ends: the tokens that end a reply.
        prompt: token ids [rows, time], None if only embeddings were given.
        prompt_time: length of the prompt, in tokens.
        mask: the mask that the caller gave.
        first_mask: the two-dimensional mask of the first call of the model.
        finished: rows that have ended.
        begun: whether the model was called yet.
    """

    beams: int
    returned: int
    ends: tuple[int, ...]
    prompt: Tensor | None
    prompt_time: int
    mask: Tensor | None
    first_mask: Tensor | None = None
    finished: Tensor | None = None
    begun: bool = False

    @classmethod
    def of(cls, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Read a call's settings from its arguments, its configuration, and the model's own.

        Raises:
            ValueError: beams without token ids or with a past, or stopping rules of your own on several rows.
        """
        configs = [kwargs.get("generation_config"), getattr(model, "generation_config", None)]

        def find(name: str) -> Any:
            if name in kwargs:
                return kwargs[name]
            found = (getattr(config, name, None) for config in configs)
            return next((value for value in found if value is not None), None)

        given = args[0] if args else kwargs.get("inputs")
        prompt = kwargs.get("input_ids") if given is None else given
        lengths = [t.shape[1] for t in (prompt, kwargs.get("inputs_embeds")) if t is not None]
        ends = find("eos_token_id")
        generation = cls(
            beams=int(find("num_beams") or 1),
            returned=int(find("num_return_sequences") or 1),
            ends=() if ends is None else tuple(torch.as_tensor(ends).reshape(-1).tolist()),
            prompt=prompt,
            prompt_time=max(lengths, default=0),
            mask=kwargs.get("attention_mask"),
        )
        own_stops = find("stop_strings") is not None or bool(kwargs.get("stopping_criteria"))
        _require_possible(generation, kwargs.get("past_key_values"), own_stops=own_stops)
        return generation

    @property
    def expand(self) -> int:
        """Rows of the batch per row of the session: beams, or samples."""
        return max(self.beams, self.returned)

    def select(self, rows: Any) -> None:
        """Follow rows that change places."""
        if self.finished is not None:
            self.finished = self.finished[rows]

    def before(self, mask: Any, tokens: Tensor | None, past: int | None) -> Any:
        """Return the mask of a call of the model, without the tokens that come after an end."""
        if past is None:
            raise ValueError(
                "generate() without a key-value cache reads the whole text again for every token, and a memory would "
                "count it again; leave use_cache=True"
            )
        time = 0 if tokens is None else tokens.shape[1]
        two = isinstance(mask, Tensor) and mask.ndim == 2
        if not self.begun:
            self.begun = True
            self.prompt_time = max(self.prompt_time, past + time)
            self.first_mask = mask if two else self._given(0, self.prompt_time)
        if mask is not None and not two:
            # Static caches: the mask comes prepared for attention.
            if self.mask is None:
                return mask
            mask = self._given(past, past + time)
        if tokens is None or not self.ends:
            return mask
        return self._alive(mask, tokens, past)

    def texts(self, answer: Any) -> list[Tensor]:
        """Return each row's prompt and its first reply, without padding and without the reply's last token.

        That token is never fed to a model by ``generate``, with or without beams.
        """
        assert self.prompt is not None
        sequences = answer if isinstance(answer, Tensor) else answer.sequences
        ends = torch.tensor(self.ends, dtype=torch.long, device=sequences.device)
        texts = []
        for row, prompt in enumerate(self.prompt):
            reply = sequences[row * self.returned, len(prompt) :]
            last = torch.isin(reply, ends).nonzero()
            reply = reply[: int(last[0]) if len(last) else -1]
            if self.first_mask is not None:
                prompt = prompt[self.first_mask[row * self.expand].bool()]  # noqa: PLW2901
            texts.append(torch.cat([prompt, reply]))
        return texts

    def _alive(self, mask: Tensor | None, tokens: Tensor, past: int) -> Tensor | None:
        time = tokens.shape[1]
        if past + time <= self.prompt_time:
            return mask
        is_end = torch.isin(tokens, torch.tensor(self.ends, device=tokens.device))
        steps = torch.arange(past, past + time, device=tokens.device)
        is_end = is_end & (steps >= self.prompt_time)
        if self.finished is not None:
            is_end[:, 0] |= self.finished
        ended = is_end.cumsum(1) > 0
        self.finished = ended[:, -1]
        now = torch.ones_like(ended) if mask is None else mask[:, mask.shape[1] - time :].bool()
        return now & ~ended.to(now.device)

    def _given(self, start: int, stop: int) -> Tensor | None:
        if self.mask is None:
            return None
        mask = self.mask.bool().repeat_interleave(self.expand, 0)
        later = mask.new_ones(len(mask), max(0, stop - mask.shape[1]))
        return torch.cat([mask, later], 1)[:, start:stop]


def _require_possible(generation: Generation, cache: Any, *, own_stops: bool) -> None:
    if generation.beams > 1 and (generation.prompt is None or (cache is not None and int(cache.get_seq_length()))):
        raise ValueError(
            f"num_beams={generation.beams} in a session needs the prompt as input_ids and no past_key_values, since "
            "the text that wins is read again; or use num_beams=1"
        )
    several = generation.prompt is None or len(generation.prompt) > 1 or generation.returned > 1
    if own_stops and several and generation.beams == 1:
        raise ValueError(
            "stop_strings or stopping_criteria in a session of several rows: a memory cannot tell when a row has "
            "ended, and would read the padding behind it. Generate one row at a time, or stop at tokens "
            "with eos_token_id"
        )
