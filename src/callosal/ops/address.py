"""From hidden states to slots: lagged queries, slot logits, and the drive that slots give a bank."""

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from callosal.ops.precision import whole, widened

# Below any norm that a trained query reaches; it only keeps the gradient finite at a zero query.
_NORM_FLOOR = 1e-6


def unit_norm(vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Scale every vector to length one; a zero vector stays zero and its gradient stays finite."""
    size = vectors.square().sum(-1, keepdim=True, dtype=whole(vectors.dtype))
    # A factor that is rounded would turn all of a query's logits up or down.
    return (vectors * torch.rsqrt(size + _NORM_FLOOR)).to(vectors.dtype)


def rms_norm(vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Scale every vector to root-mean-square one, that is to a norm of at most sqrt(width)."""
    return torch.nn.functional.rms_norm(vectors, vectors.shape[-1:], eps=1e-6)


def rms_scale(vectors: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch"]:
    """Return what :func:`rms_norm` multiplies every vector with, without a copy of them."""
    size = torch.linalg.vector_norm(vectors, dim=-1, dtype=whole(vectors.dtype))
    return torch.rsqrt(size.square() / vectors.shape[-1] + 1e-6).to(vectors.dtype)


def lagged_queries(
    hidden: Float[Tensor, "*batch time width"],
    tail: Float[Tensor, "*batch tail width"],
    filters: Float[Tensor, "head lag width"],
    query_map: Float[Tensor, "query width"],
    place: Int[Tensor, "*batch time"] | None = None,
) -> Float[Tensor, "*batch time head query"]:
    r"""Give head h the token h steps back, so that one token touches two slots at once.

    $$q_{t,h} = \mathrm{unit}\big(W_q \sum_l f_{h,l} \odot x_{t-l}\big)$$   Ours.

    Args:
        hidden: hidden states of the segment's next tokens.
        tail: the ``lag - 1`` hidden states that came before them, oldest first.
        filters: one causal depthwise filter per head; ``filters[h, l]`` weighs the token l back.
        query_map: one linear map shared by all heads.
        place: how many of ``hidden`` stand before each token, where that is not its index: a token that only reads is
            behind those that others see, and no other sees it. None takes the index.

    Returns:
        One query of length one per token and head.
    """
    num_lags = filters.shape[1]
    num_tokens = hidden.shape[-2]
    history = torch.cat([tail, hidden], dim=-2)
    mixed = torch.zeros((), dtype=hidden.dtype, device=hidden.device)
    for lag in range(num_lags):
        start = num_lags - 1 - lag
        if place is None:
            back = history[..., start : start + num_tokens, :]
        else:
            back = hidden if lag == 0 else history.take_along_dim((place + start)[..., None], dim=-2)
        mixed = mixed + back[..., None, :] * filters[:, lag]
    return unit_norm(mixed @ query_map.T)


def next_tail(
    history: Float[Tensor, "batch token width"], count: Int[Tensor, "batch"], num_kept: int
) -> Float[Tensor, "batch tail width"]:
    """Return what causal filters need of the past next time: the last ``num_kept`` tokens that count. Ours.

    Args:
        history: the tail before, ``num_kept`` tokens, and behind it new ones; those that count stand first.
        count: how many of each row's new tokens count.
        num_kept: length of a tail.
    """
    places = count[:, None] + torch.arange(num_kept, device=history.device)
    # Not take_along_dim, which compiled code takes for one of a fixed number of tokens (torch 2.13).
    return history.gather(1, places[..., None].expand(-1, -1, history.shape[-1]))


def slot_logits(
    queries: Float[Tensor, "*batch head width"],
    addresses: Float[Tensor, "bank slot width"],
    temperature: Float[Tensor, ""],
) -> Float[Tensor, "*batch head bank slot"]:
    r"""Compare every query with every slot's address.

    $$\ell_{h,k,j} = \tau \, \langle q_h, K_{k,j} / \lVert K_{k,j} \rVert \rangle$$   Ours.

    The addresses are parameters, not memory: what was written does not move where tokens look, so all segments of an
    episode can be addressed in one batched call.
    """
    keys = (temperature * unit_norm(widened(addresses))).to(queries.dtype)
    return einsum(queries, keys, "... head width, bank slot width -> ... head bank slot")


def slot_drive(logits: Float[Tensor, "*batch head bank slot"]) -> Float[Tensor, "*batch bank"]:
    r"""Return how well a token matches a bank's slots: the drive of the variant without context axes.

    $$u_k = \frac{1}{H} \sum_h \log \sum_j e^{\ell_{h,k,j}}$$   Ours.
    """
    return logits.logsumexp(-1).mean(-2)
