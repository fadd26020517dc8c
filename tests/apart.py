"""Python in a process of its own, where nothing has been imported yet."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]
ROOT = Path(__file__).parent.parent


def python(*arguments: str | Path, add: dict[str, str] | None = None, **how: Any) -> Done:
    """Run Python with these arguments, ``add`` in the environment; return how it ended and what it printed."""
    command = [sys.executable, *map(str, arguments)]
    # One thread, as in `conftest.py`.
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | (add or {})
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, **how)  # noqa: S603
