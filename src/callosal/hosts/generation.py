"""One call of ``generate``: its settings, which tokens are replies, which rows are beams, what ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Self

import torch
from torch import Tensor, nn

# Arguments of generate under which a memory would be wrong, what of them is harmless, and why.
_TAKES_BACK = "tokens are taken back that the memory has read; generate without"
_READS_MORE = "the model reads other texts beside, which the memory would take for the user's; leave it out"
_UNKNOWN = "how it calls the model is not known here; use generate()'s own search"
_REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "assistant_model": ((), _TAKES_BACK),
    "prompt_lookup_num_tokens": ((), _TAKES_BACK),
    "assistant_early_exit": ((), _TAKES_BACK),
    "use_mtp": ((False,), _TAKES_BACK),
    "guidance_scale": ((1, 1.0), _READS_MORE),
    "negative_prompt_ids": ((), _READS_MORE),
    "penalty_alpha": ((0, 0.0), _UNKNOWN),
    "dola_layers": ((), _UNKNOWN),
    "constraints": ((), _UNKNOWN),
    "force_words_ids": ((), _UNKNOWN),
    "num_beam_groups": ((1,), _UNKNOWN),
    "custom_generate": ((), _UNKNOWN),
}


@dataclass
class Generation:
    """One call of ``generate`` under way.

    A row that has ended is fed padding for as long as the others go on, and the model is told that the padding exists.
    A memory must not see it, nor whether the row's own end token was fed: both depend on the other rows. So end tokens,
    and whatever follows them, count as absent.

    Attributes:
        given: the arguments by name, however they were passed.
        two: whether the model has an encoder too; the text is then its decoder's.
        beams: of the search; 1 without one.
        returned: replies per row of the prompt.
        ends: the tokens that end a reply.
        prompt: token ids [rows, time], None if only embeddings were given.
        prompted: as many rows of nothing as the decoder is given tokens to start from.
        mask: the mask of the prompt, as given or as ``generate`` makes it of padding; None where all of it exists.
        first_mask: the two-dimensional mask of the first call of the model.
        first: the tokens that the first call read, and how many were in its cache before.
        finished: rows that have ended; None as long as none has.
        counted: as many rows of nothing as the model has read tokens of a row, those of a cache it was given included;
            None before its first call.
    """

    given: Mapping[str, Any]
    two: bool
    beams: int
    returned: int
    ends: tuple[int, ...]
    prompt: Tensor | None
    prompted: Tensor
    mask: Tensor | None
    first_mask: Tensor | None = None
    first: tuple[Tensor | None, int] = (None, 0)
    finished: Tensor | None = None
    counted: Tensor | None = None

    @classmethod
    def of(cls, model: nn.Module, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Self:
        """Read a call's settings from its arguments, its configuration, and the model's own.

        Raises:
            ValueError: a way of decoding in which a memory would be wrong.
        """
        given = _by_name(inner, args, kwargs)
        configs = [given.get("generation_config"), getattr(model, "generation_config", None)]

        def find(name: str) -> Any:
            if name in given:
                return given[name]
            found = (getattr(config, name, None) for config in configs)
            return next((value for value in found if value is not None), None)

        two = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
        prefix = "decoder_" if two else ""
        prompt = given.get("decoder_input_ids") if two else _first(given.get("inputs"), given.get("input_ids"))
        lengths = [t.shape[1] for t in (prompt, given.get(f"{prefix}inputs_embeds")) if t is not None]
        ends, mask, pad = find("eos_token_id"), given.get(f"{prefix}attention_mask"), find("pad_token_id")
        ends = () if ends is None else tuple(torch.as_tensor(ends).reshape(-1).tolist())
        if mask is None and prompt is not None and pad is not None and pad not in ends and not two:
            # As generate() does; the masks that it makes for some caches do not show it.
            mask = (prompt != pad) if bool((prompt == pad).any()) else None
        generation = cls(
            given=given,
            two=two,
            beams=int(find("num_beams") or 1),
            returned=int(find("num_return_sequences") or 1),
            ends=ends,
            prompt=prompt,
            prompted=_rows(max(lengths, default=0)),
            mask=mask,
        )
        for name, (harmless, why) in _REFUSED.items():
            value = find(name)
            if value is not None and not any(value is h or value == h for h in harmless):
                raise ValueError(f"generate({name}={_short(value)}) in a session: {why}")
        if find("cache_implementation") == "paged":
            raise ValueError(
                "generate(cache_implementation='paged') in a session is continuous batching, in which a memory cannot "
                "tell whose tokens it reads; use another cache"
            )
        generation._require_possible(own_stops=find("stop_strings") is not None or bool(find("stopping_criteria")))
        return generation

    @property
    def expand(self) -> int:
        """Rows of the batch per row of the session: beams, or samples."""
        return max(self.beams, self.returned)

    @property
    def prompt_time(self) -> int:
        """Length of what the decoder is given to start from, in tokens."""
        return self.prompted.shape[0]

    @property
    def read(self) -> int | None:
        """How many tokens of a row the model has read; None before its first call."""
        return None if self.counted is None else self.counted.shape[0]

    def select(self, rows: Any) -> None:
        """Follow rows that change places."""
        if self.finished is not None:
            self.finished = self.finished[rows]

    def before(self, mask: Any, tokens: Tensor | None, past: int | None, time: int) -> Any:
        """Return the mask of a call of the model, without the tokens that come after an end.

        Args:
            mask: of that call; it may come prepared for attention.
            tokens: that the decoder reads in it, if it is given tokens.
            past: how many its cache holds, if it can tell; None without a cache.
            time: how many it reads now.
        """
        if self.read is not None and not past:
            raise ValueError(
                "generate() without a cache reads the whole text again for every token, and a memory would count it "
                "again; leave use_cache=True. A model that keeps no cache can be called in a session, a text at once"
            )
        two = isinstance(mask, Tensor) and mask.ndim == 2
        before = self.read
        if before is None:
            before = past if past is not None and past >= 0 else max(0, self.prompt_time - time)
            self.first = tokens, before
            self.prompted = _rows(max(self.prompt_time, before + time))
            self.first_mask = mask if two else self._given(0, self.prompt_time)
        self.counted = _rows(before + time)
        if mask is not None and not two:
            # Static caches, and models whose layers differ: the mask comes prepared for attention.
            mask = self._given(before, before + time)
        if tokens is None or not self.ends:
            return mask
        return self._alive(mask, tokens, before)

    def require_read_once(self, answer: Any) -> None:
        """ValueError where the model has not read the text that it returns, each token once: so has no memory."""
        sequences = answer if isinstance(answer, Tensor) else answer.sequences
        tokens, past = self.first
        if tokens is not None:
            began, begins = tokens[:: self.expand], sequences[:: self.returned, past : past + tokens.shape[1]]
            if not torch.equal(began, begins.to(began.device)):
                raise ValueError(
                    "generate() returned a text that does not begin with what the model began to read, so that a "
                    "memory cannot tell what it has read; generate outside a session, and read the text in one call "
                    "inside"
                )
        embedded = 0 if self.two or self.prompt is not None else self.prompt_time
        # The last token is never fed to the model. Beams may go on after the text that wins has ended.
        wanted = embedded + sequences.shape[1] - 1
        if self.beams == 1 and self.read != wanted:
            raise ValueError(
                f"generate() let the model read {self.read} tokens for a text of {wanted}, which a memory would take "
                "for another text; generate outside a session, and read the text in one call inside"
            )

    def texts(self, answer: Any) -> list[dict[str, Any]]:
        """Return what each row's model reads again, alone: its prompt and its first reply, without padding.

        And without the reply's last token, which is never fed to a model by ``generate``, with or without beams.
        """
        sequences = answer if isinstance(answer, Tensor) else answer.sequences
        ends = torch.tensor(self.ends, dtype=torch.long, device=sequences.device)
        texts, start = [], self.prompt_time
        for row in range(len(sequences) // self.returned):
            prompt, reply = sequences[row * self.returned].tensor_split([start])
            last = torch.isin(reply, ends).nonzero()
            reply = reply[: int(last[0]) if len(last) else -1]
            if self.first_mask is not None:
                prompt = prompt[self.first_mask[row * self.expand, :start].bool()]
            text = torch.cat([prompt, reply])[None]
            texts.append(self._beside(row) | {"decoder_input_ids": text} if self.two else {"input_ids": text})
        return texts

    def _beside(self, row: int) -> dict[str, Any]:
        """Return what the encoder of a row reads."""
        source = _first(self.given.get("inputs"), self.given.get("input_ids"), self.given.get("input_features"))
        beside = {"attention_mask": self.given.get("attention_mask")}
        if source is not None:
            beside["input_features" if source.is_floating_point() else "input_ids"] = source
        return {name: value[row : row + 1] for name, value in beside.items() if value is not None}

    def _alive(self, mask: Tensor | None, tokens: Tensor, past: int) -> Tensor | None:
        time = tokens.shape[1]
        if past + time <= self.prompt_time:
            return mask
        if self.finished is None and not torch.compiler.is_compiling():
            # Nearly always none has, and to see that costs less than to count.
            replied = tokens[:, max(0, self.prompt_time - past) :]
            if set(self.ends).isdisjoint(replied.flatten().tolist()):
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

    def _require_possible(self, *, own_stops: bool) -> None:
        cache = self.given.get("past_key_values")
        if self.beams > 1:
            again = self.prompt is not None or self.two
            if not again or (cache is not None and int(cache.get_seq_length())):
                raise ValueError(
                    f"num_beams={self.beams} in a session needs the prompt as input_ids and no past_key_values, since "
                    "the text that wins is read again; or use num_beams=1"
                )
            beside = sorted(n for n, v in self.given.items() if isinstance(v, Tensor) and n not in _READ_AGAIN)
            if beside:
                raise ValueError(
                    f"num_beams={self.beams} with {', '.join(beside)} in a session: the text that wins is read again, "
                    "row by row, and which part of these belongs to a row is not known; use num_beams=1"
                )
        several = (self.prompt is None and not self.two) or self.returned > 1 or self._num_rows > 1
        if own_stops and several and self.beams == 1:
            raise ValueError(
                "stop_strings or stopping_criteria in a session of several rows: a memory cannot tell when a row has "
                "ended, and would read the padding behind it. Generate one row at a time, or stop at tokens "
                "with eos_token_id"
            )

    @property
    def _num_rows(self) -> int:
        tensors = [v for n, v in self.given.items() if n in _READ_AGAIN and isinstance(v, Tensor) and v.ndim > 1]
        return max((len(t) for t in tensors), default=1)


_READ_AGAIN = ("inputs", "input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask", "input_features")
_READ_AGAIN += ("eos_token_id", "pad_token_id", "bos_token_id")


def _by_name(inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name; those that are None count as not given."""
    bound = signature(inner).bind_partial(*args, **kwargs)
    named = {}
    for name, value in bound.arguments.items():
        named |= value if bound.signature.parameters[name].kind.name == "VAR_KEYWORD" else {name: value}
    return {name: value for name, value in named.items() if value is not None}


def _rows(number: int) -> Tensor:
    """Return so many rows of nothing.

    Compiled code takes the size of a tensor for what varies, and a number that it finds in a session for a constant: by
    a plain count a model would be compiled anew for every token.
    """
    return torch.empty(number, 0, device="cpu")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, int | float | str | bool) else f"<{type(value).__name__}>"
    return text if len(text) <= 60 else f"{text[:60]}..."
