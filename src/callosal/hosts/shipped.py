"""Adapters that ship with the package: ``callosal/NAME`` is the folder NAME in ``callosal/adapters``."""

import re
from pathlib import Path
from typing import Any

from callosal.hosts import adapter

FOLDER = Path(__file__).parents[1] / "adapters"
OWNER = "callosal/"
REPO_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+")


def shipped() -> dict[str, Path]:
    """Return the folders of the adapters that ship, by the names under which they are attached."""
    return {f"{OWNER}{file.parent.name}": file.parent for file in sorted(FOLDER.glob(f"*/{adapter.CONFIG}"))}


def locate(name: str | Path, **options: Any) -> Path:
    """Return an adapter's folder: the one of this name, or one that ships, or the hub's.

    Args:
        name: a folder, ``"callosal/name"`` or ``"user/name"``.
        options: of huggingface_hub's ``snapshot_download``. What ships has no revisions: who names one asks the hub.

    Raises:
        FileNotFoundError: the hub has none of this name, or cannot be asked.
        ImportError: it is neither a folder nor ships, and huggingface_hub is not installed to ask the hub.
    """
    folder = Path(name)
    if not isinstance(name, str) or "/" not in name or folder.exists() or not REPO_ID.fullmatch(name):
        return folder
    ships = shipped()
    if name in ships and options.get("revision") is None:
        return ships[name]
    try:
        from callosal.hosts import hub  # an extra  # noqa: PLC0415

        return hub.download(name, **options)
    except (FileNotFoundError, ImportError) as error:
        if not name.startswith(OWNER):
            raise
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ImportError
        raise kind(f"with this version of callosal ship: {', '.join(ships) or 'no adapters'}; {error}") from error
