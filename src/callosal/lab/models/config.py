"""Checks that the configurations of all models share."""

from typing import Any


def require(config: Any, name: str, condition: bool, allowed: str) -> None:
    """Check one field of a config.

    Raises:
        ValueError: the condition does not hold; names the field, its value and what is allowed.
    """
    if not condition:
        value = getattr(config, name)
        raise ValueError(f"{type(config).__name__}.{name} is {value!r}; it must be {allowed}")


def require_counts(config: Any, *names: str) -> None:
    """Check that fields are at least 1.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        require(config, name, getattr(config, name) >= 1, "at least 1")


def require_heads(config: Any) -> None:
    """Check that the heads divide the width among them.

    Raises:
        ValueError: they do not.
    """
    require_counts(config, "width", "num_heads")
    divides = config.width % config.num_heads == 0
    require(config, "width", divides, f"a multiple of num_heads ({config.num_heads})")
