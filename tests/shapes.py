"""The run-time type checker that the import hook puts on every function of the library."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

# As PEP 484 has it: an int is welcome where a float is asked for.
_TOWER = BeartypeConf(is_pep484_tower=True)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function's arguments and result, unless it names ``Self``.

    The hook decorates methods one by one, and beartype knows ``Self`` only where it decorates the
    class; those few methods have no shapes in their signatures.
    """
    try:
        return beartype(conf=_TOWER)(function)
    except BeartypeDecorHintPep673Exception:
        return function


@contextmanager
def unchecked() -> Iterator[None]:
    """Check nothing inside: for loops so long that the checks would take most of their time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
