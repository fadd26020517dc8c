"""What a session has to know of ``generate``: which tokens are replies, which rows are beams, what ended."""

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Rows(Protocol):
    """What carries rows through a generation: a session."""

    def select(self, rows: Any) -> None:
        """Take these rows."""
        ...

    def start(self, generation: "Generation") -> None:
        """Begin."""
        ...

    def abandon(self) -> None:
        """Take everything back."""
        ...

    def finish(self, every: int) -> None:
        """End."""
        ...

    def read_alone(self, texts: list[Tensor]) -> None:
        """Read a text per row."""
        ...


@dataclass
class Generation:
    """One call of ``generate`` under way.

    A row that has ended is fed padding for as long as the others go on, and the model is told that the
    padding exists. A memory must not see it, nor whether the row's own end token was fed: both depend on
    the other rows. So end tokens, and whatever follows them, count as absent.

    Attributes:
        expand: rows of the batch per row of the session: beams, or samples.
        ends: the tokens that end a reply.
        prompt_time: length of the prompt, in tokens.
        mask: the mask that the caller gave.
        first_mask: the two-dimensional mask of the first call of the model.
        finished: rows that have ended.
    """

    expand: int
    ends: tuple[int, ...]
    prompt_time: int
    mask: Tensor | None
    first_mask: Tensor | None = None
    finished: Tensor | None = None
    begun: bool = False

    def select(self, rows: Any) -> None:
        """Follow rows that change places."""
        if self.finished is not None:
            self.finished = self.finished[rows]

    def before(self, mask: Any, tokens: Tensor | None, past: int | None) -> Any:
        """Return the mask of a call of the model, without the tokens that come after an end."""
        if past is None:
            raise ValueError(
                "generate() without a key-value cache reads the whole text again for every token, and "
                "a memory would count it again; leave use_cache=True"
            )
        time = 0 if tokens is None else tokens.shape[1]
        if not self.begun:
            self.begun = True
            self.prompt_time = max(self.prompt_time, past + time)
            two = isinstance(mask, Tensor) and mask.ndim == 2
            self.first_mask = mask if two else self._given(0, self.prompt_time)
        two = isinstance(mask, Tensor) and mask.ndim == 2
        if mask is not None and not two:
            # Static caches: the mask comes prepared for attention.
            if self.mask is None:
                return mask
            mask = self._given(past, past + time)
        if tokens is None or not self.ends:
            return mask
        return self._alive(mask, tokens, past)

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


def generating(model: nn.Module, session: Rows) -> Callable[[], None]:
    """Tell the session when ``model.generate`` begins and ends, until the returned function is called.

    The method is shadowed on this one object, for the time of the session: beams and ended rows cannot
    be told from the calls of the model alone.
    """
    inner: Callable[..., Any] = model.generate  # pyright: ignore[reportAssignmentType]

    def generate(_: nn.Module, *args: Any, **kwargs: Any) -> Any:
        settings = _Settings(model, kwargs)
        tokens = _prompt(args, kwargs)
        expand = max(settings.beams, settings.returned)
        settings.check(tokens, kwargs)
        generation = Generation(
            expand=expand,
            ends=settings.ends,
            prompt_time=_prompt_time(tokens, kwargs),
            mask=kwargs.get("attention_mask"),
        )
        session.start(generation)
        try:
            answer = inner(*args, **kwargs)
        except BaseException:
            session.abandon()
            raise
        if settings.beams == 1:
            session.finish(expand)
            return answer
        # The beams that are left at the end need not hold the text that won, so it is read again.
        session.abandon()
        assert tokens is not None
        session.read_alone(_texts(answer, tokens, generation, settings))
        return answer

    before = {key: model.__dict__[key] for key in ("generate",) if key in model.__dict__}
    model.__dict__["generate"] = types.MethodType(generate, model)

    def undo() -> None:
        model.__dict__.pop("generate", None)
        model.__dict__.update(before)

    return undo


class _Settings:
    """What a call of ``generate`` was told, from its arguments, its configuration, the model's own."""

    def __init__(self, model: nn.Module, kwargs: dict[str, Any]) -> None:
        configs = [kwargs.get("generation_config"), getattr(model, "generation_config", None)]

        def find(name: str) -> Any:
            if name in kwargs:
                return kwargs[name]
            found = (getattr(config, name, None) for config in configs)
            return next((value for value in found if value is not None), None)

        self.beams = int(find("num_beams") or 1)
        self.returned = int(find("num_return_sequences") or 1)
        self.stops = find("stop_strings") is not None or bool(kwargs.get("stopping_criteria"))
        ends = find("eos_token_id")
        ends = [] if ends is None else torch.as_tensor(ends).reshape(-1).tolist()
        self.ends = tuple(int(end) for end in ends)

    def check(self, tokens: Tensor | None, kwargs: dict[str, Any]) -> None:
        """Refuse what would be wrong.

        Raises:
            ValueError: beams without token ids or with a past, or stopping rules of your own that end
                one row before another.
        """
        if self.beams > 1:
            cache = kwargs.get("past_key_values")
            if tokens is None or (cache is not None and int(cache.get_seq_length())):
                raise ValueError(
                    f"num_beams={self.beams} in a session needs the prompt as input_ids and no "
                    "past_key_values, since the text that wins is read again; or use num_beams=1"
                )
        several = tokens is None or len(tokens) > 1 or self.returned > 1
        if self.stops and several and self.beams == 1:
            raise ValueError(
                "stop_strings or stopping_criteria in a session of several rows: a memory cannot "
                "tell when a row has ended, and would read the padding behind it. Generate one row "
                "at a time, or stop at tokens with eos_token_id"
            )


class CacheWatch:
    """Follows the rows of the key-value cache that a turn of a session hands on.

    ``generate`` tells a cache, and nobody else, which beams go on. Its methods are shadowed on the one
    object, bound to it so that a copy of the cache moves nobody else's rows, and given back at the end.
    """

    def __init__(self) -> None:
        self._caches: list[Any] = []
        self._current: Any = None

    def watch(self, cache: Any, rows: Rows) -> None:
        """Follow this cache from now on; those of earlier turns may change as they like."""
        self._current = cache
        if any(cache is seen for seen in self._caches):
            return
        self._caches.append(cache)

        def reorder_cache(this: Any, beam_idx: Tensor) -> None:
            type(this).reorder_cache(this, beam_idx)
            if this is self._current:
                rows.select(beam_idx)

        def batch_select_indices(this: Any, indices: Tensor) -> None:
            type(this).batch_select_indices(this, indices)
            if this is self._current:
                rows.select(indices)

        def crop(this: Any, *args: Any, **kwargs: Any) -> None:
            if this is self._current:
                raise ValueError(
                    "a key-value cache is cropped in a session: tokens are taken back (assisted or "
                    "speculative generation) that the memory has read; generate without an assistant"
                )
            type(this).crop(this, *args, **kwargs)

        for method in (reorder_cache, batch_select_indices, crop):
            if hasattr(type(cache), method.__name__):
                setattr(cache, method.__name__, types.MethodType(method, cache))

    def release(self) -> None:
        """Give the methods back."""
        for cache in self._caches:
            for name in ("reorder_cache", "batch_select_indices", "crop"):
                cache.__dict__.pop(name, None)
        self._caches.clear()
        self._current = None


def _prompt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    given = args[0] if args else kwargs.get("inputs")
    return kwargs.get("input_ids") if given is None else given


def _prompt_time(tokens: Tensor | None, kwargs: dict[str, Any]) -> int:
    embedded = kwargs.get("inputs_embeds")
    longest = [given.shape[1] for given in (tokens, embedded) if given is not None]
    return max(longest, default=0)


def _texts(
    answer: Any, tokens: Tensor, generation: Generation, settings: _Settings
) -> list[Tensor]:
    """Return each row's prompt and its first reply, without padding and without the reply's last token.

    That token is never fed to a model by ``generate``, with or without beams.
    """
    sequences = answer if isinstance(answer, Tensor) else answer.sequences
    ends = torch.tensor(settings.ends, dtype=torch.long, device=sequences.device)
    texts = []
    for row, prompt in enumerate(tokens):
        reply = sequences[row * settings.returned, len(prompt) :]
        last = torch.isin(reply, ends).nonzero()
        reply = reply[: int(last[0]) if len(last) else -1]
        if generation.first_mask is not None:
            prompt = prompt[generation.first_mask[row * generation.expand].bool()]  # noqa: PLW2901
        texts.append(torch.cat([prompt, reply]))
    return texts
