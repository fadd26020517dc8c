"""The write rules: what a segment's tokens send to the slots, and what the slots make of it."""

from jaxtyping import Float
from torch import Tensor

from callosal.memory.config import Normalised, WriteRule
from callosal.ops import address, gram


def sent(
    rule: WriteRule,
    normalised: Normalised,
    touch: Float[Tensor, "batch bank time slot"],
    trace: Float[Tensor, "batch bank slot width"],
    values: Float[Tensor, "batch bank slot width"],
    maps: Float[Tensor, "bank width width"],
    observed: Float[Tensor, "batch time width"] | None,
    salience: Float[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch bank slot width"]:
    """Return A^T diag(s) (A V + X U); for the delta rule what is written, A^T diag(s) ((A V + X U) W - A M).

    Where what was retrieved is normalised, rms(A V) of each bank stands for A V.
    """
    seen, weighs = (None if one is None else one[:, None] for one in (observed, salience))
    if normalised == "retrieved":
        payload = address.rms_norm(touch @ values)
        payload = payload if seen is None else payload + seen
        if rule == "delta":
            payload = gram.transform(payload, maps) - touch @ trace
        return gram.send(touch, payload, weighs)
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
