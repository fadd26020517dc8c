"""How much a token weighs in what is written: learned from its hidden state, or by what it brought to mind."""

import torch
from jaxtyping import Float
from torch import Tensor


def gate(
    hidden: Float[Tensor, "*batch time width"], weight: Float[Tensor, "width"], bias: Float[Tensor, ""]
) -> Float[Tensor, "*batch time"]:
    r"""Let the loss decide what is worth keeping: $s_t = \sigma(\langle w, x_t \rangle + b)$. Ours."""
    return torch.sigmoid(hidden @ weight + bias)


def prominence(
    retrieved: Float[Tensor, "*batch time head width"], usual: Float[Tensor, ""]
) -> tuple[Float[Tensor, "*batch time"], Float[Tensor, "*batch time"]]:
    r"""Compare the size of what each token retrieved with what is usual, without labels.

    $$s_t = \min(1, \lVert (A V)_t \rVert / \bar r)$$   After arXiv 2603.07217; the limit at one is ours.

    Args:
        retrieved: what the heads read from the memory as it stood when the segment began.
        usual: running mean of the norm; 0 where nothing was seen yet, and then every token weighs one.

    Returns:
        Salience in [0, 1], and the norm itself.
    """
    # In half precision 1e-12 is zero.
    size = retrieved.square().sum((-1, -2)).clamp_min(max(1e-12, torch.finfo(retrieved.dtype).tiny)).sqrt()
    known = usual > 0
    return torch.where(known, (size / torch.where(known, usual, 1.0)).clamp_max(1.0), 1.0), size
