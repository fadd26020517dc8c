"""The hidden states that a model gives to the memories behind its layers, sampled to calibrate these."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

# A text, the ids of one, a batch of them, or what a loader gives to the model by name.
Text = str | Sequence[int] | Tensor | Mapping[str, Any]

# Attention sinks have a norm a hundred times the median; what else there is stays within three times.
_SINK = 5.0
# Long texts go through the model in pieces: shorter than any model's limit, and longer than what a state depends on.
_PIECE = 512


class UncalibratedWarning(UserWarning):
    """Memories that were never calibrated went into a session of a pretrained model."""


class _Enough(Exception):  # noqa: N818
    """Every layer has given what it had to give: what lies above need not run."""


def sample_hidden(
    model: nn.Module,
    layers: Iterable[str | tuple[str, ...]],
    texts: Iterable[Text],
    tokenizer: Callable[[str], Mapping[str, Any]] | None,
    num_tokens: int,
) -> dict[str, Float[Tensor, "sample width"]]:
    """Return hidden states behind layers of a model, on the CPU, as it reads these texts.

    Attention sinks are left out: the first token of each sequence, and tokens of a norm far above the median. The model
    is in evaluation mode meanwhile; texts are read until there are ``num_tokens`` of them, or no more. Of layers named
    together, as those of one memory are, the tokens are the same: what is a sink behind one is left out behind all.

    Raises:
        TypeError: ``texts`` is one text.
        ValueError: a text is a string and there is no tokenizer.
    """
    together = [(layer,) if isinstance(layer, str) else layer for layer in layers]
    samples: dict[str, list[Tensor]] = {name: [] for names in together for name in names}
    first = next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))
    seen: dict[str, Tensor] = {}

    def keep(name: str, _: nn.Module, __: Any, output: Any) -> None:
        seen[name] = output if isinstance(output, Tensor) else output[0]
        if len(seen) == len(samples):
            raise _Enough

    handles = [model.get_submodule(name).register_forward_hook(partial(keep, name)) for name in samples]
    total = 0
    try:
        with torch.no_grad(), _evaluating(model):
            for inputs in _pieces(texts, tokenizer):
                if total >= num_tokens:
                    break
                given = {key: one.to(first) if isinstance(one, Tensor) else one for key, one in inputs.items()}
                seen.clear()
                with suppress(_Enough):
                    _ = model(given[""]) if "" in given else model(**given)
                mask = given.get("attention_mask")
                for names in together:
                    states = _without_sinks([seen[name] for name in names], None if mask is None else mask.bool())
                    for name, kept in zip(names, states, strict=True):
                        samples[name].append(kept)
                total += min(len(kept[-1]) for kept in samples.values())
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(kept)[:num_tokens] if kept else torch.empty(0, 0) for name, kept in samples.items()}


def _without_sinks(
    hidden: Sequence[Float[Tensor, "batch time width"]], mask: Bool[Tensor, "batch time"] | None
) -> list[Float[Tensor, "sample width"]]:
    there = torch.ones_like(hidden[0][..., 0], dtype=torch.bool) if mask is None else mask
    there = there & (there.cumsum(-1) > 1)
    states = [one[there.to(one.device)].to("cpu", torch.float32) for one in hidden]
    if not len(states[0]):
        return states
    norms = [one.norm(dim=-1) for one in states]
    kept = torch.stack([norm < _SINK * norm.median() for norm in norms]).all(0)
    return [one[kept] for one in states]


def _pieces(texts: Iterable[Text], tokenizer: Any) -> Iterator[Mapping[str, Any]]:
    """Return what to call the model with: by name, or by place under an empty name."""
    if isinstance(texts, str | Mapping) or (isinstance(texts, Tensor) and texts.ndim < 2):
        raise TypeError(f"calibrate() was given one {type(texts).__name__}; give it many: [text, ...] or a loader")
    for text in texts:
        if isinstance(text, Mapping):
            # Labels would only cost a loss.
            yield {key: value for key, value in text.items() if key != "labels"}
            continue
        if isinstance(text, str):
            if tokenizer is None:
                raise ValueError("calibrate() was given a text; pass tokenizer=... too, or the ids of its tokens")
            ids = torch.as_tensor(tokenizer(text)["input_ids"])
        else:
            ids = torch.as_tensor(text)
        if ids.is_floating_point():  # of a model that takes no ids
            yield {"": ids}
        else:
            yield from ({"": piece} for piece in torch.atleast_2d(ids).split(_PIECE, dim=1) if piece.numel())


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
