"""Memories and inputs to try the laws on: hypothesis draws the sizes, a seed fills the tensors."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from hypothesis import strategies as st
from torch import Tensor

from callosal.memory import CarriedContext, LateralMemory, MemoryConfig, MemoryState

Drive = Literal["axis", "gradient", "slots"]
Write = Literal["bounded", "additive", "delta"]
SEEDS = st.integers(0, 2**20)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A memory in float64 with something in it, and what it is about to see."""

    memory: LateralMemory
    hidden: Tensor
    state: MemoryState
    mask: Tensor


@st.composite
def configs(draw: st.DrawFn, **fixed: Any) -> MemoryConfig:
    """Draw a small memory: 1 to 3 banks, any sign, every drive, context and write."""
    num_heads = draw(st.integers(1, 3))
    drawn = {
        "width": draw(st.integers(2, 5)),
        "num_banks": draw(st.integers(1, 3)),
        "num_slots": draw(st.integers(1, 4)),
        "num_heads": num_heads,
        "num_lags": draw(st.integers(num_heads, 4)),
        "sign": draw(st.sampled_from([-1.0, 0.0, 1.0, -0.4, 0.3])),
        "gain": draw(st.sampled_from([1.0, 4.0])),
        "drive": draw(st.sampled_from(["axis", "gradient", "slots"])),
        "write": draw(st.sampled_from(["bounded", "additive", "delta"])),
        "homeostasis": draw(st.booleans()),
    } | fixed
    looks_back = drawn["num_lags"] > 1
    drawn.setdefault(
        "context", draw(st.sampled_from(["segment", "token"])) if looks_back else "segment"
    )
    averages = drawn["drive"] != "slots" and drawn["context"] == "segment"
    drawn.setdefault("carry", draw(st.sampled_from([0.0, 0.7])) if averages else 0.0)
    plastic = drawn["drive"] == "axis" and looks_back
    drawn.setdefault("contrast", draw(st.sampled_from([0.0, 3.0])) if plastic else 0.0)
    drawn.setdefault("balance", draw(st.sampled_from([0.0, 0.2])) if plastic else 0.0)
    return MemoryConfig(**drawn)


def build_memory(config: MemoryConfig, seed: int = 0, *, lived: bool = True) -> LateralMemory:
    """Build a memory in float64 and evaluation mode, with no parameter at a special value.

    ``lived`` gives it a running mean, as after some training; else it is as new.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        memory = LateralMemory(config).double().eval()
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(0.3 * noise(parameter))
        if lived:
            memory.slow_weight.fill_(0.4)
            memory.slow_mean.copy_(0.1 * noise(memory.slow_mean))
            memory.slow_norm.fill_(0.3)
            if config.contrast > 0.0:
                root = noise(memory.slow_scatter)
                memory.slow_scatter.copy_(0.1 * root @ root.T)
            if config.balance > 0.0:
                memory.excitability.copy_(0.3 * noise(memory.excitability))
    return memory


@st.composite
def cases(
    draw: st.DrawFn, *, num_segments: int | None = None, num_tokens: int | None = None, **fixed: Any
) -> Case:
    """Draw a memory and its input, [batch, time, width] unless ``num_segments`` is given."""
    config, seed = draw(configs(**fixed)), draw(SEEDS)
    memory = build_memory(config, seed, lived=draw(st.booleans()))
    num_rows = draw(st.integers(1, 3))
    num_tokens = num_tokens or draw(st.integers(1, 6))
    sizes = (num_rows, *([num_segments] if num_segments else []), num_tokens)
    return fill(memory, sizes, seed)


def fill(memory: LateralMemory, sizes: tuple[int, ...], seed: int = 0) -> Case:
    """Make random hidden states, a memory that holds something, and a mask with holes."""
    generator = torch.Generator().manual_seed(seed + 1)
    width = memory.config.width
    blank = memory.blank(sizes[0])

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    hidden = torch.randn(*sizes, width, generator=generator, dtype=torch.float64)
    state = replace(blank, trace=noise(blank.trace))
    if state.context is not None:
        total, count = state.context.signal_sum, state.context.num_tokens
        carried = CarriedContext(signal_sum=noise(total), num_tokens=noise(count).abs())
        state = replace(state, context=carried)
    return Case(
        memory=memory,
        hidden=hidden,
        state=state,
        mask=torch.rand(sizes, generator=generator) < 0.6,
    )
