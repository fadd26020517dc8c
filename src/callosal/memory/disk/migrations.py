"""How a memory file of an old format becomes one of the next: a step per format, none ever removed.

Format 0 was never released. It is kept so that the way from an old format to the newest is walked by
tests before the first user depends on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One step, from a format to the next.

    Attributes:
        header: makes the next format's header of this one's.
        names: what tensors are called in the next format, where that changes.
    """

    header: Callable[[dict[str, Any]], dict[str, Any]]
    names: Mapping[str, str]


def _from_0(plain: dict[str, Any]) -> dict[str, Any]:
    """Time was in Unix seconds; there were no configuration, notes, user, bound or parents."""
    created = datetime.fromtimestamp(plain["created_seconds"], UTC).isoformat()
    return {
        "config_hash": plain["config_hash"],
        "config": {},
        "parameters_hash": plain["parameters_hash"],
        "shapes": {"trace": plain["shape"]},
        "created": created,
        "package_version": plain["package_version"],
        "notes": "",
        "user": None,
        "max_slot_norm": None,
        "parents": [],
    }


MIGRATIONS: Mapping[int, Migration] = {0: Migration(header=_from_0, names={"memory": "trace"})}
