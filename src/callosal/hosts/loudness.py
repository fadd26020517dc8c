"""How loud a memory is: the size of what it adds to a hidden state over the size of that state. Ours."""

import torch
from jaxtyping import Float
from torch import Tensor


def loudness(
    added: Float[Tensor, "batch time width"], hidden: Float[Tensor, "batch time width"]
) -> Float[Tensor, "batch"]:
    """Return how loud a memory is at each row's last token; 0 is silence."""
    return added[:, -1].norm(dim=-1) / hidden[:, -1].norm(dim=-1)


def loud_alone(
    added: Float[Tensor, "batch time width"], hidden: Float[Tensor, "batch time width"], least: float
) -> Float[Tensor, "batch time width"]:
    """Return what is added, and nothing at tokens at which a memory is less loud than ``least``."""
    is_loud = added.norm(dim=-1, keepdim=True) >= least * hidden.norm(dim=-1, keepdim=True)
    return torch.where(is_loud, added, 0.0)
