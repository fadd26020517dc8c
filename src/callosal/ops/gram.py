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


def co_activation(
    weights: Float[Tensor, "*batch time slot"], salience: Float[Tensor, "*#batch time"] | None = None
) -> Float[Tensor, "*batch slot slot"]:
    r"""Return how often the same tokens touched two slots: the Gram matrix $G = A^\top \mathrm{diag}(s) A$.

    It is a sum over tokens: the Gram matrices of a segment's pieces add up to the segment's. $A^\top A$ is arXiv
    2603.03355's; the salience s, in [0, 1] and one where it is None, is ours.
    """
    return einsum(_weighed(weights, salience), weights, "... time slot, ... time other -> ... slot other")


def gram_is_cheaper(num_tokens: int, num_slots: int, width: int) -> bool:
    """Whether (A^T A) V takes fewer multiplications than A^T (A V).

    The first takes slots^2 * (tokens + width), the second 2 * tokens * slots * width.
    """
    return num_slots * (num_tokens + width) < 2 * num_tokens * width


def consolidate(
    weights: Float[Tensor, "*batch time slot"],
    values: Float[Tensor, "*batch slot width"],
    observed: Float[Tensor, "*#batch time width"] | None = None,
    salience: Float[Tensor, "*#batch time"] | None = None,
    *,
    gram_first: bool | None = None,
) -> Float[Tensor, "*batch slot width"]:
    r"""Write what the tokens retrieved back into the slots they retrieved it from.

    $$C = A^\top \mathrm{diag}(s) (A V + X U)$$   $A^\top A V$: arXiv 2603.03355 (the update, before W). The rest: ours.

    A sum over tokens, and a token of salience 0 adds nothing to it.

    Args:
        weights: attention of the tokens over the slots, A.
        values: the slots' values, V.
        observed: what the tokens are, X U, written beside what they retrieved; None is the paper's form.
        salience: how much each token weighs, s in [0, 1]; None is one.
        gram_first: form (A^T A) first, or (A V) first; None takes the cheaper order.

    >>> import torch
    >>> weights, values = torch.rand(5, 3), torch.rand(3, 4)
    >>> torch.allclose(consolidate(weights, values), weights.T @ weights @ values)
    True
    """
    if gram_first is None:
        gram_first = gram_is_cheaper(weights.shape[-2], *values.shape[-2:])
    if gram_first:
        gram = co_activation(weights, salience)
        written = einsum(gram, values, "... slot other, ... other width -> ... slot width")
        return written if observed is None else written + send(weights, observed, salience)
    payload = einsum(weights, values, "... time slot, ... slot width -> ... time width")
    return send(weights, payload if observed is None else payload + observed, salience)


def send(
    weights: Float[Tensor, "*batch time slot"],
    payload: Float[Tensor, "*#batch time width"],
    salience: Float[Tensor, "*#batch time"] | None = None,
) -> Float[Tensor, "*batch slot width"]:
    r"""Send what each token carries to the slots it touches: $A^\top \mathrm{diag}(s) P$. Ours.

    A row of norm at most r makes that of slot i at most $r n_i$, with n the column sums of $\mathrm{diag}(s) A$.
    """
    return einsum(_weighed(weights, salience), payload, "... time slot, ... time width -> ... slot width")


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
    the start, sqrt(width) * ||W||_2), however long the stream; with an observed payload sqrt(width) * (1 + ||U||_2) *
    ||W||_2, since each row of $A^\top X$ has norm at most sqrt(width) n_i. A slot with n = 0 keeps every bit.

    Args:
        trace: the memory M before the segment.
        update: C W of the segment.
        usage: column sums n of A, each token times its salience, at least 0.
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

    $$M \leftarrow M + \frac{A^\top (A V W - A M)}{n + \kappa}$$   After Widrow and Hoff; kept to compare. With
    salience and observations $A^\top \mathrm{diag}(s) ((A V + X U) W - A M)$.

    The bounded write takes $n_i M_i$ from slot i; this $\sum_j G_{ij} M_j$, what its tokens read of all. Not bounded.

    Args:
        trace: the memory M before the segment.
        correction: A^T A (V W - M) of the segment, with its observations X U W.
        usage: column sums n of A, each token times its salience, at least 0.
        inertia: kappa > 0, in tokens.
    """
    return trace + correction / (usage[..., None] + inertia)


def _weighed(
    weights: Float[Tensor, "*batch time slot"], salience: Float[Tensor, "*#batch time"] | None
) -> Float[Tensor, "*batch time slot"]:
    return weights if salience is None else weights * salience[..., None]
