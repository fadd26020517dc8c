"""The cross-talk between banks: its matrix, the shares it makes, and the plasticity it signs."""

import torch
from einops import einsum
from jaxtyping import Bool, Float
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
    drive: Float[Tensor, "*batch bank"], coupling: Float[Tensor, "bank bank"] | None, gain: float
) -> Float[Tensor, "*batch bank"]:
    r"""Divide a token among the banks, which compete for it.

    $$p = \mathrm{softmax}(g\, W_s u)$$   Ours (the paper reports suppression of the other bank).

    Without a coupling, which then has acted on what the banks received, it is $\mathrm{softmax}(g\, u)$.

    Returns:
        Shares in [0, 1] that sum to one over the banks.
    """
    activity = drive if coupling is None else einsum(drive, coupling, "... sender, bank sender -> ... bank")
    return torch.softmax(gain * activity, dim=-1)


def signed_plasticity(
    axes: Float[Tensor, "bank width"],
    coupling: Float[Tensor, "bank bank"],
    shares: Float[Tensor, "sample bank"],
    contexts: Float[Tensor, "sample width"],
    rate: float,
    usual: Float[Tensor, "bank"] | None = None,
    present: Bool[Tensor, "sample"] | None = None,
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
        present: which segments count, the contexts of the others being finite; None takes all.
    """
    relative = shares * shares.shape[-1] if usual is None else shares / usual
    credit = einsum(relative, coupling, "sample sender, bank sender -> sample bank")
    count = len(contexts)
    if present is not None:
        contexts, count = contexts * present[:, None], present.sum().clamp_min(1)
    pull = einsum(credit, contexts, "sample bank, sample width -> bank width") / count
    return (1.0 - rate) * axes + rate * pull


def heard(won: Float[Tensor, "bank width"], coupling: Float[Tensor, "bank bank"]) -> Float[Tensor, "bank width"]:
    r"""Return what each bank receives of the others: their usual contexts, through the cross-talk.

    $$h_k = \sum_{j \ne k} W_{kj} \mu_j$$   Ours, a second reading of the paper's cross-talk.

    Args:
        won: mu, the mean context that each bank wins.
        coupling: W_s, from the others (columns) to each bank (rows).
    """
    others = coupling - torch.diag(coupling.diagonal())
    return einsum(others, won, "bank sender, sender width -> bank width")


def received_drive(
    contexts: Float[Tensor, "*batch width"],
    axes: Float[Tensor, "bank width"],
    coupling: Float[Tensor, "bank bank"],
    won: Float[Tensor, "bank width"],
) -> Float[Tensor, "*batch bank"]:
    r"""Compare what each bank receives with its axis.

    $$u_k = \langle r_k, c_k \rangle, \qquad r_k = W_{kk}\, m + \sum_{j \ne k} W_{kj} \mu_j$$   Ours: a second reading
    of the paper's cross-talk, which acts on what banks receive, not on how active they are. Inhibited, a bank receives
    the context without what the others usually win; excited, with it.

    Args:
        contexts: m, what each segment is about.
        axes: c, one context axis per bank.
        coupling: W_s.
        won: mu, the mean context that each bank wins.
    """
    usual = (heard(won, coupling) * axes).sum(-1)
    return einsum(contexts, coupling.diagonal()[:, None] * axes, "... width, bank width -> ... bank") + usual


def hebbian(
    axes: Float[Tensor, "bank width"],
    coupling: Float[Tensor, "bank bank"],
    credit: Float[Tensor, "sample bank"],
    contexts: Float[Tensor, "sample width"],
    won: Float[Tensor, "bank width"],
    rate: float,
) -> Float[Tensor, "bank width"]:
    r"""Move each bank's axis towards what it receives where it wins.

    $$c_k \leftarrow (1 - r)\, c_k + r \sum_n q_{nk}\, r_{nk}$$   Ours, by Hebb's rule: of the second reading.

    Args:
        axes: one context axis per bank.
        coupling: the cross-talk matrix, which made what banks receive; no sign enters here besides.
        credit: q, what each bank won of each segment, relative to its usual share, over the number of segments.
        contexts: each segment's context at its end.
        won: mu, the mean context that each bank wins.
        rate: r in [0, 1], per call.
    """
    own = einsum(credit, contexts, "sample bank, sample width -> bank width")
    pull = coupling.diagonal()[:, None] * own + credit.sum(0)[:, None] * heard(won, coupling)
    return (1.0 - rate) * axes + rate * pull
