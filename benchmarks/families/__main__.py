"""Try every decoder family of transformers, record what was found, and fill the table of docs/families.md.

`python -m benchmarks.families` tries all, in five to fifteen minutes on one core; with names of families it tries those
again and leaves the others as they were recorded.
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
    """Try these families, or all."""
    torch.set_num_threads(1)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    before = json.loads(RECORD.read_text()) if names else {"families": []}
    entries = {(entry["family"], entry["model"]): entry for entry in before["families"]}
    if names and before != versions | {"families": before["families"]}:
        raise SystemExit("recorded with other versions; try all families again")
    for kind, family, model in track([f for f in families() if not names or f[1] in names], description="families"):
        entry: dict[str, Any] = {"family": family, "model": model} | tried(kind, family)
        entries[family, model] = entry
        print(f"{family} {model}: {verdict(entry)}", *entry["layers"])
        for name, found in entry["checks"].items():
            if found != "right":
                print(f"    {name}: {found}")
    recorded = versions | {"families": list(entries.values())}
    RECORD.write_text(json.dumps(recorded, indent=1) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), recorded))


if __name__ == "__main__":
    main(sys.argv[1:])
