"""Checks that all configurations share: of memories, of training, and of the laboratory."""

import math
from typing import Any


def require(config: Any, name: str, condition: bool, remedy: str) -> None:
    """Check one field of a configuration.

    Raises:
        ValueError: the condition does not hold; names the field and its value, and says what it must be.
    """
    if not condition:
        raise ValueError(f"{type(config).__name__}.{name} is {getattr(config, name)!r}; {remedy}")


def require_counts(config: Any, *names: str) -> None:
    """Check that fields are at least 1."""
    for name in names:
        require(config, name, getattr(config, name) >= 1, "it must be at least 1")


def require_positive(config: Any, *names: str) -> None:
    """Check that fields are above 0, and numbers."""
    for name in names:
        require(config, name, 0.0 < getattr(config, name) < math.inf, "it must be above 0 and finite")


def require_heads(config: Any) -> None:
    """Check that the heads divide the width among them."""
    require_counts(config, "width", "num_heads")
    divides = config.width % config.num_heads == 0
    require(config, "width", divides, f"it must be a multiple of num_heads ({config.num_heads})")
