"""A new memory fitted to the hidden states that it will see, without labels and before it is trained."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callosal.memory.lateral import LateralMemory
from callosal.memory.shared import SharedMemory
from callosal.memory.ways import Ways
from callosal.ops import address, whitening

# Of the whitening, in mean variances. On SmolLM2 the addresses of one word's tokens then overlap 36 and 31 times as
# much as those of others (layers 12 and 20), and with 0.001 only 24 and 21 times (docs/memory.md).
FLOOR = 1.0
# Of a reader's map in, in mean variances of what is whitened.
_RIDGE = 1e-3


@torch.no_grad()
def calibrate(
    memory: LateralMemory,
    hidden: Float[Tensor, "sample width"],
    elsewhere: Sequence[Float[Tensor, "sample width"]] = (),
    *,
    seed: int = 0,
) -> None:
    r"""Fit a memory, in place, to a sample of the hidden states that it will see. Ours.

    States of a pretrained model all look alike: few directions hold most of what they vary by, and a mean that says
    nothing is larger still. So mean and spread of the sample are taken out from now on, before anything else,

    $$x = \mathrm{rms}\big(W_{in}\, \Omega (h - \mu)\big)$$

    and what the memory starts with is set by the sample: a narrow memory's map in keeps the directions that vary most,
    and each bank's addresses lie where the queries do (the centres of spherical k-means). The first two are fixed, the
    others learn on; so this comes before training. Every state that the memory wrote before means nothing afterwards.
    Layers that only read a shared memory have a mean and a spread of their own, and their map in starts where it gives
    as nearly as it can, by least squares, what the layer that is written gives for the same tokens.

    Args:
        memory: its ``config`` says ``calibrated`` afterwards.
        hidden: the sample, without the attention sinks that open a sequence.
        elsewhere: of a shared memory, the same tokens behind each layer that only reads.
        seed: of the draws by which the addresses start.

    Raises:
        ValueError: the sample is of another width, smaller than that or than the number of slots, or not finite; or
            there is not one for each layer that only reads.
    """
    config, like = memory.config, memory.prototypes
    least = max(config.width, config.num_slots)
    readers = [memory.reader(n) for n in range(len(memory.readers))] if isinstance(memory, SharedMemory) else []
    if len(elsewhere) != len(readers) or any(sample.shape != hidden.shape for sample in elsewhere):
        raise ValueError(
            f"samples of shapes {[tuple(sample.shape) for sample in elsewhere]} beside one of {tuple(hidden.shape)}; "
            f"give one of the same tokens behind each of the {len(readers)} layers that only read the memory"
        )
    if hidden.ndim != 2 or hidden.shape[1] != config.width or len(hidden) < least:
        raise ValueError(
            f"a sample of shape {tuple(hidden.shape)}; it must be [tokens, {config.width}] with at least {least} tokens"
        )
    samples = [sample.to(like.device, torch.float32) for sample in (hidden, *elsewhere)]
    if not all(sample.isfinite().all() for sample in samples):
        raise ValueError("the sample holds NaN or infinity; leave such tokens out")
    directions = _whiten(memory, samples[0])
    if memory.inner_map is not None:
        memory.inner_map.copy_(directions[: config.slot_width])
    seen = memory.led_in(samples[0].to(like.dtype))
    for reader, sample in zip(readers, samples[1:], strict=True):
        _whiten(reader, sample)
        given = reader.whitened(sample.to(like.dtype)).double()
        ridge = _RIDGE * given.square().mean() * torch.eye(config.width).to(given)
        fitted = torch.linalg.solve(given.T @ given / len(given) + ridge, given.T @ seen.double() / len(given))
        assert reader.inner_map is not None
        reader.inner_map.copy_(fitted.T)
    queries = address.unit_norm(seen @ memory.query_map.T)
    generator = torch.Generator().manual_seed(seed)
    for addresses in memory.addresses:
        addresses.copy_(whitening.centres(queries, config.num_slots, generator=generator))


def _whiten(ways: Ways, sample: Float[Tensor, "sample width"]) -> Float[Tensor, "width width"]:
    """Set what is taken out of the hidden states from now on; return the directions in which they vary most, first."""
    mean = sample.mean(0)
    apart = sample - mean
    omega, directions = whitening.whitening(apart.T @ apart / len(apart), FLOOR)
    ways.config = replace(ways.config, calibrated=True)
    for name, value in (("hidden_mean", mean), ("hidden_whitening", omega)):
        dtype = ways.output.weight.dtype
        setattr(ways, name, nn.Parameter(value.to(dtype), requires_grad=False))
    return directions
