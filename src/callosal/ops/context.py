"""What a segment has been about so far, and the slow mean that homeostasis takes away from it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from callosal.ops import address
from callosal.ops.precision import whole, widened


def causal_mean(
    hidden: Float[Tensor, "*batch time width"],
    past_sum: Float[Tensor, "*#batch width"],
    past_tokens: Float[Tensor, "*#batch"],
    place: Int[Tensor, "*batch time"] | None = None,
) -> Float[Tensor, "*batch time width"]:
    r"""Average all tokens of the segment up to and with each token.

    $$m_t = \frac{\sum_{i \le t} x_i}{t}$$   Ours.

    ``past_sum`` and ``past_tokens`` carry the pieces of the segment that came in earlier calls; ``place`` says how many
    of ``hidden`` stand before each token, where that is not its index.
    """
    # Neither a count nor a long sum fits into half precision.
    dtype = whole(hidden.dtype)
    steps = torch.arange(1, hidden.shape[-2] + 1, dtype=dtype, device=hidden.device)
    so_far = hidden.cumsum(-2, dtype=dtype)
    if place is not None:
        steps = place + 1
        so_far = pad(so_far, (0, 0, 1, 0)).take_along_dim(place[..., None], dim=-2) + hidden
    count = past_tokens[..., None] + steps
    total = so_far + past_sum[..., None, :]
    return (total / count[..., None]).to(hidden.dtype)


def running_mean(
    mean: Float[Tensor, "*shape"], sample: Float[Tensor, "*shape"], momentum: float
) -> Float[Tensor, "*shape"]:
    r"""Move a slow mean towards a sample: $\bar m \leftarrow \mu \bar m + (1 - \mu) m$.

    Starting from zero it is biased by $1 - \mu^n$ after n samples; the caller divides by the same mean of ones.
    """
    return momentum * mean + (1.0 - momentum) * sample


def unbiased(mean: Float[Tensor, "*shape"], weight: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """Divide a running mean that started from zero by the same mean of ones; zero as long as nothing was seen."""
    # In half precision 1e-12 is zero.
    return mean / weight.clamp_min(max(1e-12, torch.finfo(weight.dtype).tiny))


def contrast_metric(scatter: Float[Tensor, "width width"], contrast: float) -> Float[Tensor, "width width"]:
    r"""Weigh down the directions in which tokens differ within a segment.

    $$\Lambda = (I + \kappa \, \Sigma \, \text{width} / \mathrm{tr} \Sigma)^{-1}$$   Ours, after Fisher:
    what differs within a segment does not tell segments apart.

    Args:
        scatter: Sigma, the mean of (x - m)(x - m)^T within segments; zero gives the identity.
        contrast: kappa, at least 0.
    """
    width = len(scatter)
    # No inverse exists in half precision.
    exact = widened(scatter)
    relative = exact / (exact.trace() / width).clamp_min(1e-12)
    identity = torch.eye(width, dtype=exact.dtype, device=exact.device)
    return torch.linalg.inv(identity + contrast * relative).to(scatter.dtype)


def recollect(
    before: Float[Tensor, "*batch width"],
    retrieved_sum: Float[Tensor, "*batch width"],
    num_tokens: Float[Tensor, "*batch"],
    rate: float,
) -> Float[Tensor, "*batch width"]:
    r"""Move a slow average of what was retrieved towards what a segment retrieved.

    $$b \leftarrow (1 - r)\, b + r\, \mathrm{rms}\big(\langle A V \rangle_t\big)$$   After the buffer of arXiv
    2603.07217 as its readers describe it; the form is ours. A convex step between vectors of norm at most sqrt(width):
    b never leaves that ball.

    Args:
        before: b, zero where nothing was retrieved yet.
        retrieved_sum: what the segment's tokens retrieved, the mean of their heads, summed over tokens.
        num_tokens: their number; with none nothing moves, to the bit.
        rate: r in [0, 1]; at 1 only the last segment counts.
    """
    there = (num_tokens > 0)[..., None]
    mean = (retrieved_sum / num_tokens.clamp_min(1.0)[..., None]).to(before.dtype)
    return torch.where(there, (1.0 - rate) * before + rate * address.rms_norm(mean), before)
