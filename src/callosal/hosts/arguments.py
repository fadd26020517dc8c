"""The arguments of a model's call: which tokens it is given, and which of them exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How a model takes the text that its decoder reads.

    Attributes:
        names: of the parameters of ``forward``, in order.
        prefix: of those that are the decoder's: ``decoder_`` where there is an encoder too.
    """

    names: tuple[str, ...]
    prefix: str

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Read them off a model."""
        two = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
        return cls(names=tuple(signature(model.forward).parameters), prefix="decoder_" if two else "")

    def by_name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was given by position under its name too."""
        return dict(zip(self.names, args, strict=False)) | dict(kwargs)

    def tokens(self, arguments: Mapping[str, Any]) -> Tensor | None:
        """Return the token ids that the decoder reads, [batch, time]; None where only embeddings are given."""
        return arguments.get(f"{self.prefix}input_ids")

    def shape(self, arguments: Mapping[str, Any]) -> tuple[int, int] | None:
        """Return (batch, time) of what the decoder reads; None for a model that takes something else."""
        texts = [self.tokens(arguments), arguments.get(f"{self.prefix}inputs_embeds")]
        if self.prefix:
            texts.append(arguments.get("labels"))
        given = next((text for text in texts if text is not None), None)
        return None if given is None else (given.shape[0], given.shape[1])

    def mask(self, arguments: Mapping[str, Any]) -> Any:
        """Return the mask that came with it, in whatever form; None if there was none."""
        mask = arguments.get(f"{self.prefix}attention_mask")
        labels = arguments.get("labels")
        if self.prefix and mask is None and self.tokens(arguments) is None and isinstance(labels, Tensor):
            # An encoder-decoder makes its input of the labels: a start, then all but the last.
            return torch.cat([torch.ones_like(labels[:, :1]), labels[:, :-1] >= 0], 1)
        return mask


def newest(mask: Tensor, time: int) -> Tensor:
    """Return the part of a mask that is of a call's own tokens: in generation it covers the past too."""
    return mask[:, mask.shape[1] - time :]
