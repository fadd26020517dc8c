"""The write rules: what a segment's tokens send to the slots, and what the slots make of it."""

from jaxtyping import Float
from torch import Tensor

from callosal.memory.config import WriteRule
from callosal.ops import gram


def sent(
    rule: WriteRule,
    touch: Float[Tensor, "batch bank time slot"],
    trace: Float[Tensor, "batch bank slot width"],
    values: Float[Tensor, "batch bank slot width"],
    maps: Float[Tensor, "bank width width"],
    observed: Float[Tensor, "batch time width"] | None,
    salience: Float[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch bank slot width"]:
    """Return A^T diag(s) (A V + X U); for the delta rule what is written, A^T diag(s) ((A V + X U) W - A M)."""
    seen, weighs = (None if one is None else one[:, None] for one in (observed, salience))
    if rule == "delta":
        values = gram.transform(values, maps) - trace
        seen = None if seen is None else gram.transform(seen.expand(-1, len(maps), -1, -1), maps)
    return gram.consolidate(touch, values, seen, weighs)


def written(
    rule: WriteRule,
    trace: Float[Tensor, "batch bank slot width"],
    consolidated: Float[Tensor, "batch bank slot width"],
    usage: Float[Tensor, "batch bank slot"],
    maps: Float[Tensor, "bank width width"],
    inertia: Float[Tensor, ""],
) -> Float[Tensor, "batch bank slot width"]:
    """Return the memory after what was sent in a segment, :func:`sent` or a sum of such, is written."""
    if rule == "delta":
        return gram.delta_write(trace, consolidated, usage, inertia)
    update = gram.transform(consolidated, maps)
    return (
        gram.additive_write(trace, update) if rule == "additive" else gram.bounded_write(trace, update, usage, inertia)
    )
