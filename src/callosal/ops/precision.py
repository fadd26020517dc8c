"""In which precision a memory computes, and in which it keeps: the rule, and all that decides by it.

- **Computed** in the precision that is asked for (:func:`computed_in`): tokens, and every product over them: queries,
  logits, A, A V, A^T A V, W, the read-out.
- **Kept** whole, in float32 or what is wider (:func:`whole`): M, and what is summed over a stream: C and n of an open
  segment, the context, the running means and axes. With them what is decided by such sums: V, which is normalised, the
  banks' shares, and the gates.

A product adds up in float32 inside the multiplication and is rounded once, so a sum over tokens is rounded once for
each call. Where both precisions are the same nothing is cast. Ours.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# What products may be asked for in.
PRECISIONS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_WHOLE = PRECISIONS[:2]


def whole(dtype: torch.dtype) -> torch.dtype:
    """Return the precision in which what belongs to numbers of ``dtype`` is kept: float32, or what is wider.

    A running mean of momentum 0.98 in bfloat16 stands still: what a step adds to it is less than half a unit.

    >>> whole(torch.bfloat16), whole(torch.float64)
    (torch.float32, torch.float64)
    """
    # Asked a dozen times a token: torch.promote_types takes ten times as long.
    return dtype if dtype in _WHOLE else torch.float32


def widened(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return a tensor in the precision in which it is kept."""
    return tensor if tensor.dtype in _WHOLE else tensor.float()


def computed_in(own: torch.dtype, asked: torch.dtype | None, device: str) -> torch.dtype:
    """Return the precision of products: what is asked for; else autocast's, where it is on; else the parameters' own.

    Autocast leaves float64 alone, here too.
    """
    if asked is not None:
        if asked not in PRECISIONS:
            raise ValueError(f"compute_dtype is {asked}; it must be one of {', '.join(map(str, PRECISIONS))}, or None")
        return asked
    return torch.get_autocast_dtype(device) if own != torch.float64 and torch.is_autocast_enabled(device) else own


def explicit(device: str) -> AbstractContextManager[Any]:
    """Return what keeps autocast from casting by its own lists inside."""
    # Entering it costs as much as three operations of a token, and is for nothing nearly always.
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
