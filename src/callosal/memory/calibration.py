"""A new memory fitted to the hidden states that it will see, without labels and before it is trained."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callosal.memory.lateral import LateralMemory
from callosal.ops import address, whitening

# Of the whitening, in mean variances. On SmolLM2 the addresses of one word's tokens then overlap 36 and 31 times as
# much as those of others (layers 12 and 20), and with 0.001 only 24 and 21 times (docs/memory.md).
FLOOR = 1.0


@torch.no_grad()
def calibrate(memory: LateralMemory, hidden: Float[Tensor, "sample width"], *, seed: int = 0) -> None:
    r"""Fit a memory, in place, to a sample of the hidden states that it will see. Ours.

    States of a pretrained model all look alike: few directions hold most of what they vary by, and a mean that says
    nothing is larger still. So mean and spread of the sample are taken out from now on, before anything else,

    $$x = \mathrm{rms}\big(W_{in}\, \Omega (h - \mu)\big)$$

    and what the memory starts with is set by the sample: a narrow memory's map in keeps the directions that vary most,
    and each bank's addresses lie where the queries do (the centres of spherical k-means). The first two are fixed, the
    others learn on; so this comes before training. Every state that the memory wrote before means nothing afterwards.

    Args:
        memory: its ``config`` says ``calibrated`` afterwards.
        hidden: the sample, without the attention sinks that open a sequence.
        seed: of the draws by which the addresses start.

    Raises:
        ValueError: the sample is of another width, smaller than that or than the number of slots, or not finite.
    """
    config, like = memory.config, memory.prototypes
    least = max(config.width, config.num_slots)
    if hidden.ndim != 2 or hidden.shape[1] != config.width or len(hidden) < least:
        raise ValueError(
            f"a sample of shape {tuple(hidden.shape)}; it must be [tokens, {config.width}] with at least {least} tokens"
        )
    hidden = hidden.to(like.device, torch.float32)
    if not hidden.isfinite().all():
        raise ValueError("the sample holds NaN or infinity; leave such tokens out")
    mean = hidden.mean(0)
    apart = hidden - mean
    omega, directions = whitening.whitening(apart.T @ apart / len(apart), FLOOR)
    memory.config = replace(config, calibrated=True)
    for name, value in (("hidden_mean", mean), ("hidden_whitening", omega)):
        setattr(memory, name, nn.Parameter(value.to(like.dtype), requires_grad=False))
    if memory.inner_map is not None:
        memory.inner_map.copy_(directions[: config.slot_width])
    queries = address.unit_norm(memory.led_in(hidden.to(like.dtype)) @ memory.query_map.T)
    generator = torch.Generator().manual_seed(seed)
    for addresses in memory.addresses:
        addresses.copy_(whitening.centres(queries, config.num_slots, generator=generator))
