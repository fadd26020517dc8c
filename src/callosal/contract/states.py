"""States of any make taken apart, and compared with a figure where they differ."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

# Relative to the largest entry, or to one where that is smaller. float64 leaves room for another order of the same sums
# and for nothing else; float32 rounds to 6e-8, which a softmax magnifies.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}


def _parts(value: Any) -> dict[Any, Any]:
    """Return what a state is made of, by name: a dataclass, mapping, sequence or plain object."""
    if isinstance(value, Mapping):
        return dict(value.items())
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    plain = hasattr(value, "__dict__") and not callable(value)
    return dict(vars(value)) if plain else {}


def tensors_of(value: Any, name: str = "state") -> dict[str, Tensor]:
    """Return every tensor of a state under its path, such as ``state.segment.usage``."""
    if isinstance(value, Tensor):
        return {name: value}
    found: dict[str, Tensor] = {}
    for key, part in _parts(value).items():
        found |= tensors_of(part, f"{name}.{key}")
    return found


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return a state like this one with a function applied to each tensor."""
    if isinstance(value, Tensor):
        return function(value)
    parts = {key: map_tensors(part, function) for key, part in _parts(value).items()}
    if isinstance(value, tuple):
        named = hasattr(value, "_fields")
        return type(value)(*parts.values()) if named else tuple(parts.values())
    if isinstance(value, list):
        return list(parts.values())
    other: Any = copy.copy(value) if parts else value
    for key, part in parts.items():
        if isinstance(value, Mapping):
            other[key] = part
        else:
            object.__setattr__(other, key, part)  # a frozen dataclass refuses the plain way
    return other


def select_rows(state: Any, rows: list[int]) -> Any:
    """Return rows of a state: ``state[rows]``, or along the first axis of a plain container's tensors."""
    if hasattr(state, "detach"):
        return state[rows]
    return map_tensors(state, lambda tensor: tensor[rows])


def assert_near(actual: Tensor, expected: Tensor, tolerance: float, what: str = "") -> None:
    """Compare two tensors, relative to the largest entry of the expected one or to one."""
    what = what and f"{what}: "
    shapes = tuple(actual.shape), tuple(expected.shape)
    assert shapes[0] == shapes[1], f"{what}shape {shapes[0]} is not {shapes[1]}"
    if expected.numel() == 0:
        return
    error = (actual.double() - expected.double()).abs().max().item()
    size = max(1.0, expected.double().abs().max().item())
    assert error <= tolerance * size, f"{what}off by {error:.3g} where entries reach {size:.3g}"


def assert_same_bits(actual: Tensor, expected: Tensor, what: str = "") -> None:
    """Compare two tensors entry by entry without any tolerance; NaN equals NaN."""
    prefix = what and f"{what}: "
    assert actual.dtype == expected.dtype, f"{prefix}{actual.dtype} is not {expected.dtype}"
    if actual.shape == expected.shape:
        same = (actual == expected) | (actual.isnan() & expected.isnan())
        if same.all():
            return
        actual, expected = actual[~same], expected[~same]
        try:
            assert_near(actual, expected, TOLERANCES.get(actual.dtype, 0.0))
        except AssertionError:
            pass
        else:
            what = f"{prefix}only rounding, yet not the same bits"
    assert_near(actual, expected, 0.0, what)


def assert_same_state(actual: Any, expected: Any, tolerance: float | None, what: str = "state") -> None:
    """Compare two states tensor by tensor, without any tolerance if that is None."""
    found, others = tensors_of(actual, what), tensors_of(expected, what)
    assert list(found) == list(others), f"holds {list(found)} instead of {list(others)}"
    for name, tensor in found.items():
        if tolerance is None:
            assert_same_bits(tensor, others[name], name)
        else:
            assert_near(tensor, others[name], tolerance, name)
