"""A^T A V W: read slots, re-ground what was read into them, and write without ever growing."""

from einops import einsum
from jaxtyping import Float
from torch import Tensor


def read(
    weights: Float[Tensor, "*batch time head bank slot"], values: Float[Tensor, "*batch bank slot width"]
) -> Float[Tensor, "*batch time head width"]:
    """Retrieve A V, summed over slots and banks (the banks' shares are part of the weights).

    Source: arXiv 2603.03355 (retrieval); the split into lagged heads is ours.
    """
    return einsum(weights, values, "... time head bank slot, ... bank slot width -> ... time head width")


def co_activation(weights: Float[Tensor, "*batch time slot"]) -> Float[Tensor, "*batch slot slot"]:
    r"""Return how often the same tokens touched two slots: the Gram matrix $G = A^\top A$ (arXiv 2603.03355).

    It is a sum over tokens: the Gram matrices of a segment's pieces add up to the segment's.
    """
    return einsum(weights, weights, "... time slot, ... time other -> ... slot other")


def gram_is_cheaper(num_tokens: int, num_slots: int, width: int) -> bool:
    """Whether (A^T A) V takes fewer multiplications than A^T (A V).

    The first takes slots^2 * (tokens + width), the second 2 * tokens * slots * width.
    """
    return num_slots * (num_tokens + width) < 2 * num_tokens * width


def consolidate(
    weights: Float[Tensor, "*batch time slot"],
    values: Float[Tensor, "*batch slot width"],
    *,
    gram_first: bool | None = None,
) -> Float[Tensor, "*batch slot width"]:
    r"""Write what the tokens retrieved back into the slots they retrieved it from.

    $$C = A^\top A V$$   arXiv 2603.03355 (the update, before W).

    Args:
        weights: attention of the tokens over the slots, A.
        values: the slots' values, V.
        gram_first: form (A^T A) first, or (A V) first; None takes the cheaper order.

    >>> import torch
    >>> weights, values = torch.rand(5, 3), torch.rand(3, 4)
    >>> torch.allclose(consolidate(weights, values), weights.T @ weights @ values)
    True
    """
    if gram_first is None:
        gram_first = gram_is_cheaper(weights.shape[-2], *values.shape[-2:])
    if gram_first:
        gram = co_activation(weights)
        return einsum(gram, values, "... slot other, ... other width -> ... slot width")
    retrieved = einsum(weights, values, "... time slot, ... slot width -> ... time width")
    return einsum(weights, retrieved, "... time slot, ... time width -> ... slot width")


def transform(
    consolidated: Float[Tensor, "*batch bank slot width"], maps: Float[Tensor, "bank width out"]
) -> Float[Tensor, "*batch bank slot out"]:
    """Apply each bank's supervised transform: C W (arXiv 2603.03355; one W per bank is ours)."""
    return einsum(consolidated, maps, "... bank slot width, bank width out -> ... bank slot out")


def bounded_write(
    trace: Float[Tensor, "*batch slot width"],
    update: Float[Tensor, "*batch slot width"],
    usage: Float[Tensor, "*batch slot"],
    inertia: Float[Tensor, ""],
) -> Float[Tensor, "*batch slot width"]:
    r"""Move each slot towards its update by a convex step that grows with how much it was used.

    $$M \leftarrow M + \frac{C W - n M}{n + \kappa}, \qquad n_i = \sum_t A_{ti}$$   Ours.

    Since $\sum_j G_{ij} \le n_i$ and the values have norm at most sqrt(width), a slot's norm never exceeds max(norm at
    the start, sqrt(width) * ||W||_2), however long the stream. A slot with n = 0 keeps every bit.

    Args:
        trace: the memory M before the segment.
        update: A^T A V W of the segment.
        usage: column sums n of A, at least 0.
        inertia: kappa > 0, in tokens: how many touches it takes to move a slot half-way.
    """
    touched = usage[..., None]
    return trace + (update - touched * trace) / (touched + inertia)


def additive_write(
    trace: Float[Tensor, "*batch slot width"], update: Float[Tensor, "*batch slot width"]
) -> Float[Tensor, "*batch slot width"]:
    r"""Add the update as it is: $M \leftarrow M + A^\top A V W$. Not bounded; kept to compare with."""
    return trace + update


def delta_write(
    trace: Float[Tensor, "*batch slot width"],
    correction: Float[Tensor, "*batch slot width"],
    usage: Float[Tensor, "*batch slot"],
    inertia: Float[Tensor, ""],
) -> Float[Tensor, "*batch slot width"]:
    r"""Move the slots so that what tokens read comes nearer to what they would write: the delta rule.

    $$M \leftarrow M + \frac{A^\top (A V W - A M)}{n + \kappa}$$   After Widrow and Hoff; kept to compare.

    The bounded write takes $n_i M_i$ from slot i; this $\sum_j G_{ij} M_j$, what its tokens read of all. Not bounded.

    Args:
        trace: the memory M before the segment.
        correction: A^T A (V W - M) of the segment.
        usage: column sums n of A, at least 0.
        inertia: kappa > 0, in tokens.
    """
    return trace + correction / (usage[..., None] + inertia)
