"""The write rules: what a segment's tokens send to the slots, and what the slots make of it."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from callosal.memory.config import MemoryConfig, WriteRule
from callosal.ops import gram


def sending(
    config: MemoryConfig,
    touch: Float[Tensor, "batch seg time bank slot"],
    observed: Float[Tensor, "batch seg time width"] | None,
    salience: Float[Tensor, "batch seg time"] | None,
    maps: Float[Tensor, "bank width width"],
    *,
    whole: bool,
) -> gram.Sending:
    """Return what tokens send but for what the slots hold, of all segments at once and with these in front.

    Args:
        config: its write rule; where it normalises what was retrieved, rms(A V) of each bank stands for A V.
        touch: A, each token's attention over the slots times its banks' shares, mean over heads.
        observed: what tokens are, X U.
        salience: how much each token weighs, but for what it retrieves.
        maps: W.
        whole: whether what is sent is written at once; in pieces of a segment W waits for the commit.
    """
    # In memory too, so that every segment's products find their matrices side by side.
    touch = rearrange(touch, "batch seg time bank slot -> seg batch bank time slot").contiguous()
    observed, salience = (
        None if one is None else one.to(touch.dtype).transpose(0, 1)[:, :, None] for one in (observed, salience)
    )
    maps = maps.to(touch.dtype)
    delta, normalised = config.write == "delta", config.normalised == "retrieved"
    given, transformed, orders = observed is not None, whole or delta, gram.ORDERS
    if delta:
        # It compares, token by token, what is written with what is read.
        orders = ("tokens",)
    elif normalised or config.salience == "retrieved":
        # A Gram matrix would have summed over tokens before it is known what they retrieve.
        orders = ("slots", "tokens")
    (num_tokens, num_slots), width = touch.shape[-2:], maps.shape[-1]
    order = gram.cheapest_order(num_tokens, num_slots, width, orders, observed=given, transformed=transformed)
    return gram.sending(touch, observed, salience, maps if transformed else None, order, normalised=normalised)


def transformed(
    rule: WriteRule, consolidated: Float[Tensor, "batch bank slot width"], maps: Float[Tensor, "bank width width"]
) -> Float[Tensor, "batch bank slot width"]:
    """Return what a segment in pieces writes, from the sum of what was :func:`sent`."""
    return consolidated if rule == "delta" else gram.transform(consolidated, maps)


def written(
    rule: WriteRule,
    trace: Float[Tensor, "batch bank slot width"],
    update: Float[Tensor, "batch bank slot width"],
    usage: Float[Tensor, "batch bank slot"],
    inertia: Float[Tensor, ""],
) -> Float[Tensor, "batch bank slot width"]:
    """Return the memory after a segment's update is written."""
    if rule == "additive":
        return gram.additive_write(trace, update)
    write = gram.delta_write if rule == "delta" else gram.bounded_write
    return write(trace, update, usage, inertia)


def stepped(
    rule: WriteRule,
    trace: Float[Tensor, "batch bank slot width"],
    sent: Float[Tensor, "batch bank slot width"],
    usage: Float[Tensor, "batch bank slot"],
    inertia: Float[Tensor, ""],
) -> Float[Tensor, "batch bank slot width"]:
    """Return the memory as :func:`written` does, of what was sent with each slot's step taken (no additive rule)."""
    return gram.step(trace, sent, usage, inertia) if rule == "bounded" else gram.additive_write(trace, sent)
