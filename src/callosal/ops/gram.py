"""A^T A V W: read slots, re-ground what was read into them, and write without ever growing."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Literal, NamedTuple, get_args

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from callosal.ops import address
from callosal.ops.precision import whole

Order = Literal["gram", "slots", "tokens"]
ORDERS: tuple[Order, ...] = get_args(Order)


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


def cheapest_order(
    num_tokens: int,
    num_slots: int,
    width: int,
    orders: Sequence[Order] = ORDERS,
    *,
    observed: bool = False,
    transformed: bool = False,
) -> Order:
    r"""Return the order of products with the fewest multiplications, the first of equals.

    "gram" is $((A^\top A) V + A^\top X) W$, "slots" $(A^\top (A V + X)) W$, "tokens" $A^\top ((A V + X) W)$.

    Args:
        num_tokens: tokens of a segment.
        num_slots: slots of a bank.
        width: of a slot.
        orders: what there is to choose from.
        observed: whether there are observations X.
        transformed: whether W is applied as well; in an open segment it waits for the commit.
    """
    one_way, per_row = num_tokens * num_slots * width, width**2 if transformed else 0
    costs = {
        "gram": num_slots**2 * (num_tokens + width) + (one_way if observed else 0) + num_slots * per_row,
        "slots": 2 * one_way + num_slots * per_row,
        "tokens": 2 * one_way + num_tokens * per_row,
    }
    best = orders[0]
    for order in orders[1:]:  # the compiler knows no min with a key where a size varies
        best = order if costs[order] < costs[best] else best
    return best


class Sending(NamedTuple):
    r"""What tokens send to the slots, but for what these hold: the parts of $B (F V + X) W$.

    Attributes:
        usage: column sums of diag(s) A.
        forth: from slots to tokens, A; or back to the slots at once, the Gram matrix.
        observed: what is added to what was retrieved; None is the paper's form.
        early: W, where it comes before ``back``.
        back: from tokens to slots, A^T diag(s); None behind a Gram matrix.
        late: W, where it comes last.
        normalised: whether what was retrieved, F V, is brought to root-mean-square one.
    """

    usage: Float[Tensor, "*batch slot"]
    forth: Float[Tensor, "*batch row slot"]
    observed: Float[Tensor, "*#batch row width"] | None
    early: Float[Tensor, "bank width out"] | None
    back: Float[Tensor, "*batch slot time"] | None
    late: Float[Tensor, "bank width out"] | None
    normalised: bool = False

    def segments(self) -> "Iterator[Sending]":
        """Return the parts of the first axis."""
        # unbind, not indexing: the backward pass of an index fills a whole tensor for every segment.
        usage, forth, observed, back = (
            repeat(None) if one is None else one.unbind() for one in (self.usage, self.forth, self.observed, self.back)
        )
        rest = repeat(self.late), repeat(self.normalised)
        return map(Sending, usage, forth, observed, repeat(self.early), back, *rest)

    def weighed(self, salience: Float[Tensor, "*#batch time"]) -> "Sending":
        """Let each token weigh so much; not behind a Gram matrix, which has summed over tokens."""
        assert self.back is not None
        back = self.back * salience[..., None, :]
        return self._replace(back=back, usage=_totals(back))

    def stepped(self, inertia: Float[Tensor, ""]) -> "Sending":
        r"""Take the steps that the slots move by, $1 / (n + \kappa)$, on the way to them; see :func:`step`."""
        steps = (1.0 / (self.usage + inertia))[..., None]

        def taken(rows: Tensor | None) -> Tensor | None:
            return None if rows is None else (rows * steps).to(rows.dtype)

        if self.back is not None:
            return self._replace(back=taken(self.back))
        return self._replace(forth=self.forth * steps.to(self.forth.dtype), observed=taken(self.observed))


def sending(
    weights: Float[Tensor, "*batch time slot"],
    observed: Float[Tensor, "*#batch time width"] | None,
    salience: Float[Tensor, "*#batch time"] | None,
    maps: Float[Tensor, "bank width out"] | None,
    order: Order,
    *,
    normalised: bool = False,
) -> Sending:
    """Return what does not depend on what the slots hold, of any number of segments; see :func:`consolidate`."""
    back = _weighed(weights, salience).mT
    usage, early, late = _totals(back), *((None, maps) if order == "slots" else (maps, None))
    if order == "gram":
        assert not normalised, "what is retrieved is normalised token by token"
        observed = None if observed is None else send(weights, observed, salience)
        return Sending(usage, co_activation(weights, salience), observed, early, None, None)
    return Sending(usage, weights, observed, early, back, late, normalised)


def sent(
    sending: Sending,
    values: Float[Tensor, "*batch slot width"],
    trace: Float[Tensor, "*batch slot width"] | None = None,
    onto: Float[Tensor, "*batch slot out"] | None = None,
) -> Float[Tensor, "*batch slot out"]:
    """Multiply through; less what tokens read of a ``trace`` for the delta rule, whose W comes early.

    What pieces before have sent, ``onto``, is added in its own precision. It runs once a segment, so without einsum,
    whose overhead is several times a small product.
    """
    payload = sending.forth @ values
    if sending.normalised:
        payload = address.rms_norm(payload)
    if sending.observed is not None:
        payload = payload + sending.observed
    if sending.early is not None:
        payload = transform(payload, sending.early)
    if trace is not None:
        payload = payload - sending.forth @ trace.to(payload.dtype)
    back = sending.back
    if back is not None and back.shape[-1] == 1 and onto is not None and sending.late is None:
        # Of many users these numbers are many megabytes: multiplied and added in one pass.
        return torch.addcmul(onto, back.to(onto.dtype), payload.to(onto.dtype))
    if back is not None:
        # Of one token, as in generation, there is nothing to sum over: a product of matrices takes three times as long.
        payload = back * payload if back.shape[-1] == 1 else back @ payload
    payload = payload if sending.late is None else transform(payload, sending.late)
    return payload if onto is None else onto + payload


def consolidate(
    weights: Float[Tensor, "*batch time slot"],
    values: Float[Tensor, "*batch slot width"],
    observed: Float[Tensor, "*#batch time width"] | None = None,
    salience: Float[Tensor, "*#batch time"] | None = None,
    maps: Float[Tensor, "bank width out"] | None = None,
    *,
    order: Order | None = None,
) -> Float[Tensor, "*batch slot out"]:
    r"""Write what the tokens retrieved back into the slots they retrieved it from.

    $$C = A^\top \mathrm{diag}(s) (A V + X U)$$   $A^\top A V$: arXiv 2603.03355 (the update, before W). The rest: ours.

    A sum over tokens, and a token of salience 0 adds nothing to it.

    Args:
        weights: attention of the tokens over the slots, A.
        values: the slots' values, V.
        observed: what the tokens are, X U, written beside what they retrieved; None is the paper's form.
        salience: how much each token weighs, s in [0, 1]; None is one.
        maps: W of each bank, to return C W; None returns C.
        order: in which order to multiply; None takes the cheapest.

    >>> import torch
    >>> weights, values = torch.rand(5, 3), torch.rand(3, 4)
    >>> torch.allclose(consolidate(weights, values), weights.T @ weights @ values)
    True
    """
    if order is None:
        (num_slots, width), given = values.shape[-2:], observed is not None
        order = cheapest_order(weights.shape[-2], num_slots, width, observed=given, transformed=maps is not None)
    return sent(sending(weights, observed, salience, maps, order), values)


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
    by_bank = consolidated.movedim(-3, 0)
    return (by_bank.flatten(1, -2) @ maps).unflatten(1, by_bank.shape[1:-1]).movedim(0, -3)


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
    return step(trace, update / (usage + inertia)[..., None], usage, inertia)


def step(
    trace: Float[Tensor, "*batch slot width"],
    stepped: Float[Tensor, "*batch slot width"],
    usage: Float[Tensor, "*batch slot"],
    inertia: Float[Tensor, ""],
) -> Float[Tensor, "*batch slot width"]:
    r"""Move each slot as :func:`bounded_write` does, given what was sent with the steps taken already.

    $$M \leftarrow \frac{\kappa}{n + \kappa} M + S, \qquad S = \mathrm{diag}\big(\tfrac{1}{n + \kappa}\big)\, C W$$

    Ours. The steps are taken where tokens send, whose rows are shorter than a slot is wide, so little is left over the
    memory. A slot with n = 0 keeps every bit here too.
    """
    # The memory first: a state lies in memory as the one before, or compiled code would be compiled again for it.
    return trace * (inertia / (usage + inertia))[..., None] + stepped


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


def _totals(back: Float[Tensor, "*batch slot time"]) -> Float[Tensor, "*batch slot"]:
    return back.sum(-1, dtype=whole(back.dtype))


def _weighed(
    weights: Float[Tensor, "*batch time slot"], salience: Float[Tensor, "*#batch time"] | None
) -> Float[Tensor, "*batch time slot"]:
    return weights if salience is None else weights * salience[..., None]
