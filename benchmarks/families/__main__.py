"""Try every decoder family of transformers, record what was found, and fill the table of docs/families.md.

`python -m benchmarks.families` tries all, in about five minutes on one core; with names of families it prints what it
finds of those, and records nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.families.building import families
from benchmarks.families.checks import tried
from benchmarks.families.page import filled, verdict
from rich.progress import track

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "results" / "benchmarks" / "families.json"
PAGE = ROOT / "docs" / "families.md"


def main(names: list[str]) -> None:
    """Try these families, or all and record them."""
    torch.set_num_threads(1)
    entries = []
    for kind, family, model in track([f for f in families() if not names or f[1] in names], description="families"):
        entry: dict[str, Any] = {"family": family, "model": model} | tried(kind, family)
        entries.append(entry)
        print(f"{family} {model}: {verdict(entry)}", *entry["layers"])
        for name, found in entry["checks"].items():
            if found != "right":
                print(f"    {name}: {found}")
    if not names:
        recorded = {"transformers": transformers.__version__, "torch": torch.__version__, "families": entries}
        RECORD.write_text(json.dumps(recorded, indent=1) + "\n")
        PAGE.write_text(filled(PAGE.read_text(), recorded))


if __name__ == "__main__":
    main(sys.argv[1:])
