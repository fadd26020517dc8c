"""The cross-talk between banks: its matrix, the shares it makes, and the plasticity it signs."""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor


def coupling_matrix(num_banks: int, sign: float) -> Float[Tensor, "bank bank"]:
    r"""Build the cross-talk matrix that a scalar sign initialises.

    $$W_s = I + s (\mathbf 1 \mathbf 1^\top - I)$$   arXiv 2603.03355 reports a matrix whose
    initialisation a sign controls; this form for B banks is ours.

    Its common mode has eigenvalue 1 + s (B - 1), its B - 1 differential modes have 1 - s whatever B is: 2 with
    inhibition, 0 with excitation, so that the sign decides alike for any number of banks. For one bank it is 1.

    >>> coupling_matrix(2, -1.0)
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    identity = torch.eye(num_banks)
    others = torch.ones(num_banks, num_banks) - identity
    return identity + sign * others


def bank_shares(
    drive: Float[Tensor, "*batch bank"], coupling: Float[Tensor, "bank bank"], gain: float
) -> Float[Tensor, "*batch bank"]:
    r"""Divide a token among the banks, which compete for it.

    $$p = \mathrm{softmax}(g\, W_s u)$$   Ours (the paper reports suppression of the other bank).

    Returns:
        Shares in [0, 1] that sum to one over the banks.
    """
    activity = einsum(drive, coupling, "... sender, bank sender -> ... bank")
    return torch.softmax(gain * activity, dim=-1)


def signed_plasticity(
    axes: Float[Tensor, "bank width"],
    coupling: Float[Tensor, "bank bank"],
    shares: Float[Tensor, "sample bank"],
    contexts: Float[Tensor, "sample width"],
    rate: float,
    usual: Float[Tensor, "bank"] | None = None,
) -> Float[Tensor, "bank width"]:
    r"""Move each bank's axis towards the segments it won and away from the others, as the sign says.

    $$c_k \leftarrow (1 - r)\, c_k + r \,\langle (W_s q)_k \, m \rangle, \qquad q_k = p_k / \bar p_k$$   Ours: a
    saturating form of Oja's rule. With s = -1 what the banks share is rejected and only differences are learned; with
    s = +1 all banks learn the same mean. Divided by its usual share, an axis is the mean of what its bank wins.

    Args:
        axes: one context axis per bank.
        coupling: the cross-talk matrix.
        shares: the banks' shares at the end of each segment.
        contexts: each segment's context at its end.
        rate: r in [0, 1], per call.
        usual: each bank's usual share, above 0; None takes the even one, 1 / B.
    """
    relative = shares * shares.shape[-1] if usual is None else shares / usual
    credit = einsum(relative, coupling, "sample sender, bank sender -> sample bank")
    pull = einsum(credit, contexts, "sample bank, sample width -> bank width") / len(contexts)
    return (1.0 - rate) * axes + rate * pull
