"""What a wrong setting or a wrong shape is told: the field, the value, what is allowed."""

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from tests.cases import build_memory, fill

from callosal.memory import LateralMemory, MemoryConfig


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        *[(n, 0, "at least 1") for n in ("width", "num_banks", "num_slots", "num_heads")],
        ("num_lags", 0, "at least 1"),
        ("num_slots", -3, "at least 1"),
        ("num_heads", 4, r"at most num_lags \(3\)"),
        *[("sign", value, "between -1 and 1") for value in (-1.01, 1.5, float("nan"))],
        *[(n, 0.0, "above 0") for n in ("gain", "temperature", "inertia", "write_scale")],
        *[(n, -2.0, "above 0") for n in ("gain", "temperature", "inertia", "write_scale")],
        ("gain", float("nan"), "above 0"),
        *[("plasticity_rate", value, "between 0 and 1") for value in (-0.1, 1.1)],
        *[("momentum", value, r"in \[0, 1\)") for value in (-0.1, 1.0)],
        ("drive", "slot", ".*'axis'.*'slots'"),
        ("write", "boundless", ".*'bounded'.*'additive'"),
    ],
)
def test_a_setting_out_of_range_is_named(field: str, value: Any, allowed: str) -> None:
    # Past the suite's type checker, which would stop a wrong word first; a user has none.
    config = MemoryConfig(width=8)
    object.__setattr__(config, field, value)
    with pytest.raises(ValueError, match=rf"MemoryConfig\.{field} is .*must be {allowed}") as error:
        config.__post_init__()
    assert repr(value) in str(error.value)


@pytest.mark.parametrize(
    "edge",
    [
        {"width": 1, "num_banks": 1, "num_slots": 1, "num_heads": 1, "num_lags": 1},
        {"sign": 1.0, "plasticity_rate": 1.0, "momentum": 0.0},
        {"sign": -1.0, "plasticity_rate": 0.0},
    ],
)
def test_the_edges_of_the_ranges_work(edge: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"width": 4, "num_slots": 2} | edge
    memory = build_memory(MemoryConfig(**fields)).train()
    case = fill(memory, (2, 3), seed=3)
    y, state = memory(case.hidden, case.state, case.mask)
    y, state = memory(case.hidden, state)
    assert y.isfinite().all()
    assert state.trace.isfinite().all()


def test_a_config_is_frozen_keyword_only_and_knows_no_other_key() -> None:
    config = MemoryConfig(width=8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 9  # type: ignore[misc]
    with pytest.raises(TypeError):
        MemoryConfig(8)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="num_bank"):
        MemoryConfig(width=8, num_bank=2)  # type: ignore[call-arg]


MEMORY = build_memory(MemoryConfig(width=4, num_slots=3))
BLANK = MEMORY.blank(2)
OPEN = MEMORY(torch.zeros(2, 1, 4).double(), BLANK, commit=False)[1]


@pytest.mark.parametrize(
    ("sizes", "state", "mask_sizes", "commit", "message"),
    [
        ((2, 3, 5), BLANK, None, True, r"shape \(2, 3, 5\); this memory takes \[batch, time, 4\]"),
        ((2, 4), BLANK, None, True, r"shape \(2, 4\); this memory takes"),
        ((2, 1, 1, 3, 4), BLANK, None, True, r"shape \(2, 1, 1, 3, 4\); this memory takes"),
        ((3, 3, 4), BLANK, None, True, r"3 rows .* memory of 2 rows; .*memory\.blank\(3\)"),
        ((2, 3, 4), BLANK, (2, 4), True, r"mask of shape \(2, 4\) .* must be of shape \(2, 3\)"),
        ((2, 2, 3, 4), BLANK, (2, 3), True, r"mask of shape \(2, 3\) .* of shape \(2, 2, 3\)"),
        ((2, 2, 3, 4), BLANK, None, False, r"several segments .* \[batch, time, width\]"),
        ((2, 2, 3, 4), OPEN, None, True, r"open segment; .*memory\.commit\(state\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(
    sizes: tuple[int, ...],
    state: Any,
    mask_sizes: tuple[int, ...] | None,
    commit: bool,
    message: str,
) -> None:
    hidden = torch.zeros(sizes, dtype=torch.float64)
    mask = None if mask_sizes is None else torch.ones(mask_sizes, dtype=torch.bool)
    # The undecorated call, since the suite's shape checker would speak first.
    forward = inspect.unwrap(LateralMemory.forward)
    with pytest.raises(ValueError, match=message):
        forward(MEMORY, hidden, state, mask, commit=commit)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_mask_that_is_not_bool_is_named(dtype: torch.dtype) -> None:
    forward = inspect.unwrap(LateralMemory.forward)
    hidden = torch.zeros(2, 3, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"dtype {dtype}; it must be torch.bool.*mask\.bool\(\)"):
        forward(MEMORY, hidden, BLANK, torch.ones(2, 3, dtype=dtype))
