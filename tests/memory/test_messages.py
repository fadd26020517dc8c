"""What the error for a wrong setting or a wrong shape says: the field, the value, what is allowed."""

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from tests.cases import build_memory, fill

from callosal.memory import LateralMemory, MemoryConfig

SIZES = ("width", "num_banks", "num_slots", "num_heads", "num_lags")
SCALES = ("gain", "temperature", "inertia", "write_scale")
NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "values", "allowed"),
    [
        *[(name, (0, -3), "at least 1") for name in SIZES],
        ("num_heads", (4,), r"at most num_lags \(3\)"),
        ("sign", (-1.01, 1.5, NAN), "between -1 and 1"),
        *[(name, (0.0, -2.0, NAN, INFINITE), "above 0 and finite") for name in SCALES],
        *[(name, (-0.1, 1.1, NAN), "between 0 and 1") for name in ("plasticity_rate", "recollection")],
        *[(name, (-0.1, 1.0), r"in \[0, 1\)") for name in ("momentum", "carry")],
        *[(name, (-0.1, NAN, INFINITE), "at least 0 and finite") for name in ("contrast", "balance")],
        ("drive", ("slot",), ".*'axis'.*'slots'"),
        ("write", ("boundless",), ".*'bounded'.*'additive'"),
        ("context", ("book",), ".*'segment'.*'token'"),
        ("salience", ("loud",), ".*'even'.*'learned'.*'retrieved'"),
        ("inner_width", (0, 9), r"None or from 1 to width \(8\)"),
    ],
)
def test_a_setting_out_of_range_is_named(field: str, values: tuple[Any], allowed: str) -> None:
    for value in values:
        # Past the suite's type checker, which would stop a wrong word first; a user has none.
        config = MemoryConfig(width=8)
        object.__setattr__(config, field, value)
        with pytest.raises(ValueError, match=rf"MemoryConfig\.{field} is .*must be {allowed}") as e:
            config.__post_init__()
        assert repr(value) in str(e.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"carry": 0.5, "drive": "slots"}, "carry is 0.5; it must be 0 where the drive averages"),
        ({"carry": 0.5, "context": "token"}, "carry is 0.5; it must be 0 where the drive averages"),
        ({"recollection": 0.5, "drive": "slots"}, 'recollection is 0.5; it must be 0 with drive "slots"'),
        ({"contrast": 1.0, "num_heads": 1, "num_lags": 1}, "num_lags is 1; it must be at least 2"),
        ({"context": "token", "num_heads": 1, "num_lags": 1}, "num_lags is 1; it must be at least"),
        ({"contrast": 1.0, "drive": "gradient"}, 'contrast is 1.0; it must be 0 unless drive is "ax'),
        ({"crosstalk": "received", "drive": "slots"}, "crosstalk is 'received'; it must be \"drives\" unless drive is"),
        ({"detach_context": True, "drive": "slots"}, 'detach_context is True; it must be False with drive "slots"'),
        ({"balance": 1.0, "drive": "slots"}, 'balance is 1.0; it must be 0 unless drive is "axis"'),
    ],
)
def test_settings_that_do_not_go_together_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryConfig(width=8, **fields)


@pytest.mark.parametrize(
    "edge",
    [
        {"width": 1, "num_banks": 1, "num_slots": 1, "num_heads": 1, "num_lags": 1},
        {"sign": 1.0, "plasticity_rate": 1.0, "momentum": 0.0},
        {"sign": -1.0, "plasticity_rate": 0.0},
    ],
)
def test_the_edges_of_the_ranges_work(edge: dict[str, Any]) -> None:
    memory, hidden, state, mask = fill(build_memory(**edge).train(), (2, 3), seed=3)
    y, state = memory(hidden, memory(hidden, state, mask)[1])
    assert y.isfinite().all()
    assert state.trace.isfinite().all()


def test_a_config_is_frozen_keyword_only_and_knows_no_other_key() -> None:
    config: Any = MemoryConfig(width=8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 9
    with pytest.raises(TypeError):
        MemoryConfig(8)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="num_bank"):
        MemoryConfig(width=8, num_bank=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("given", [8, "small", None, {"width": 8}])
def test_what_a_memory_is_made_of_is_said(given: Any) -> None:
    message = r"takes a MemoryConfig, such as LateralMemory\(MemoryConfig\(width=8\)\); it was given"
    with pytest.raises(TypeError, match=message) as error:
        inspect.unwrap(LateralMemory.__init__)(LateralMemory.__new__(LateralMemory), given)
    assert repr(given) in str(error.value)


MEMORY = build_memory()
BLANK = MEMORY.blank(2)
OPEN = MEMORY(torch.zeros(2, 1, 4).double(), BLANK, commit=False)[1]


@pytest.mark.parametrize(
    ("sizes", "how", "message"),
    [
        ((2, 3, 5), {}, r"shape \(2, 3, 5\); this memory takes \[batch, time, 4\]"),
        ((2, 4), {}, r"shape \(2, 4\); this memory takes"),
        ((2, 1, 1, 3, 4), {}, r"shape \(2, 1, 1, 3, 4\); this memory takes"),
        ((3, 3, 4), {}, r"3 rows .* memory of 2 rows; .*memory\.blank\(3\)"),
        ((2, 3, 4), {"mask": torch.ones(2, 4) > 0}, r"mask of shape \(2, 4\) .* of shape \(2, 3\)"),
        ((2, 2, 3, 4), {"mask": torch.ones(2, 3) > 0}, r"mask of shape \(2, 3\) .* \(2, 2, 3\)"),
        ((2, 2, 3, 4), {"commit": False}, r"several segments .* \[batch, time, width\]"),
        ((2, 2, 3, 4), {"state": OPEN}, r"open segment; .*memory\.commit\(state\)"),
        ((2, 3, 4), {"mask": torch.ones(2, 3).long()}, r"dtype torch.int64; .*mask\.bool\(\)"),
        ((2, 3, 4), {"mask": torch.ones(2, 3)}, r"dtype torch.float32; .*mask\.bool\(\)"),
        ((2, 3, 4), {"salience": torch.ones(2, 4)}, r"salience of shape \(2, 4\) .* of shape \(2, 3\)"),
        ((2, 3, 4), {"salience": torch.full((2, 3), 1.5)}, r"a salience of 1\.5; it must be from 0 to 1"),
        ((2, 3, 4), {"salience": torch.full((2, 3), NAN)}, r"a salience of nan; it must be from 0 to 1"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(sizes: tuple[int, ...], how: dict[str, Any], message: str) -> None:
    hidden = torch.zeros(sizes, dtype=torch.float64)
    # The undecorated call, since the suite's shape checker would speak first.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(LateralMemory.forward)(MEMORY, hidden, **{"state": BLANK} | how)
