"""Memories and inputs to try the laws on: hypothesis draws the sizes, a seed fills the tensors."""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from callosal.memory import CarriedContext, LateralMemory, MemoryConfig, MemoryState

Drive = Literal["axis", "gradient", "slots"]
Write = Literal["bounded", "additive", "delta"]
SEEDS = st.integers(0, 2**20)


class Case(NamedTuple):
    """A memory in float64 that holds something, and what it sees next: what every law takes."""

    memory: LateralMemory
    hidden: Tensor
    state: MemoryState
    mask: Tensor


def normal(seed: int, *sizes: int) -> Tensor:
    """Return normal numbers in float64, others for every seed and for most sizes."""
    generator = torch.Generator().manual_seed(seed + sum(sizes))
    return torch.randn(*sizes, generator=generator, dtype=torch.float64)


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

    def perhaps(name: str, offered: bool, default: Any, other: Any) -> None:
        drawn.setdefault(name, draw(st.sampled_from([default, other])) if offered else default)

    perhaps("writers", drawn["num_heads"] > 1, "all", "lagged")
    perhaps("context", looks_back, "segment", "token")
    perhaps("carry", drawn["drive"] != "slots" and drawn["context"] == "segment", 0.0, 0.7)
    perhaps("recollection", drawn["drive"] != "slots", 0.0, 0.3)
    plastic = drawn["drive"] == "axis" and looks_back
    perhaps("contrast", plastic, 0.0, 3.0)
    perhaps("balance", plastic, 0.0, 0.2)
    perhaps("crosstalk", drawn["drive"] == "axis", "drives", "received")
    perhaps("detach_context", drawn["drive"] != "slots", False, True)
    drawn.setdefault("gates", draw(st.sampled_from(["narrowed", "hidden"])))
    drawn.setdefault("normalised", draw(st.sampled_from(["slots", "retrieved"])))
    drawn.setdefault("observe", draw(st.booleans()))
    drawn.setdefault("salience", draw(st.sampled_from(["even", "learned", "retrieved"])))
    drawn.setdefault("inner_width", draw(st.sampled_from([None, 2])))
    drawn.setdefault("calibrated", draw(st.booleans()))
    drawn.setdefault("output_gate", draw(st.booleans()))
    return MemoryConfig(**drawn)


def build_memory(
    config: MemoryConfig | None = None, seed: int = 0, *, trained: bool = True, **fields: Any
) -> LateralMemory:
    """Build a memory in float64 and evaluation mode, with no parameter at a special value.

    Without a config it is of width 4 with 3 slots, and ``fields`` say the rest. ``trained`` gives it
    slow statistics, as after some training.
    """
    config = config or MemoryConfig(**{"width": 4, "num_slots": 3, **fields})
    generator = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        memory = LateralMemory(config).double().eval()
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(0.3 * noise(parameter))
        if trained:
            memory.slow_weight.fill_(0.4)
            memory.slow_mean.copy_(0.1 * noise(memory.slow_mean))
            memory.slow_norm.fill_(0.3)
            if memory.slow_retrieved is not None:
                # So that some tokens retrieve more than is usual, and some less.
                memory.slow_retrieved.fill_(0.4 * 1.2 * memory.config.slot_width**0.5)
            if memory.slow_scatter is not None:
                root = noise(memory.slow_scatter)
                memory.slow_scatter.copy_(0.1 * root @ root.T)
            if memory.excitability is not None:
                memory.excitability.copy_(0.3 * noise(memory.excitability))
            if memory.won_context is not None and memory.won_share is not None:
                memory.won_share.copy_(0.4 * torch.softmax(noise(memory.won_share), dim=0))
                memory.won_context.copy_(memory.won_share[:, None] * noise(memory.won_context))
    return memory


@st.composite
def cases(draw: st.DrawFn, *, num_segments: int | None = None, num_tokens: int | None = None, **fixed: Any) -> Case:
    """Draw a memory and its input, [batch, time, width] unless ``num_segments`` is given."""
    config, seed = draw(configs(**fixed)), draw(SEEDS)
    memory = build_memory(config, seed, trained=draw(st.booleans()))
    num_rows = draw(st.integers(1, 3))
    num_tokens = num_tokens or draw(st.integers(1, 6))
    return fill(memory, (num_rows, *([num_segments] if num_segments else []), num_tokens), seed)


def fill(memory: LateralMemory, sizes: tuple[int, ...], seed: int = 0) -> Case:
    """Make random hidden states, a memory that holds something, and a mask with holes."""
    generator = torch.Generator().manual_seed(seed + 1)
    blank = memory.blank(sizes[0])

    def noise(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, dtype=torch.float64)

    hidden = noise(*sizes, memory.config.width)
    state = replace(blank, trace=noise(*blank.trace.shape))
    if state.context is not None:
        total, count = state.context.signal_sum, state.context.num_tokens
        carried = CarriedContext(signal_sum=noise(*total.shape), num_tokens=noise(*count.shape).abs())
        state = replace(state, context=carried)
    if state.recollected is not None:
        state = replace(state, recollected=noise(*state.recollected.shape))
    return Case(memory, hidden, state, torch.rand(sizes, generator=generator) < 0.6)
