"""Measure the parts that have no record yet, each in a process of its own, and fill docs/speed.md.

`python -m benchmarks.speed` goes on where it was stopped: a part whose record stands is not measured again, unless it
is named (`python -m benchmarks.speed floor host`) or ``--again`` asks for all. Stability and store are scripts beside
this folder and have records of their own form.
"""

import argparse
import json
import os
import subprocess
import sys

from benchmarks.speed import page
from benchmarks.speed.timing import RECORDS, ROOT

# What `python` is given for each part.
SCRIPTS = {part: ["-m", f"benchmarks.speed.{part}"] for part in page.PARTS}
SCRIPTS |= {name: [f"benchmarks/{name}.py"] for name in ("stability", "store")}


def due(names: list[str], again: bool) -> list[str]:
    """Return the parts that are to be measured."""
    if names or again:
        return names or list(SCRIPTS)
    done = page.read().keys() | {name for name in ("stability", "store") if (RECORDS / f"{name}.json").exists()}
    return [name for name in SCRIPTS if name not in done]


def main() -> int:
    """Measure what is due."""
    parsing = argparse.ArgumentParser(description=__doc__)
    parsing.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(SCRIPTS)}")
    parsing.add_argument("--again", action="store_true", help="measure those that have a record too")
    parsing.add_argument("--folder", help="of the converted SmolLM2, for the part host")
    parsed = parsing.parse_args()
    unknown = set(parsed.parts) - SCRIPTS.keys()
    if unknown:
        parsing.error(f"no part is called {', '.join(sorted(unknown))}; there are: {', '.join(SCRIPTS)}")
    RECORDS.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in due(parsed.parts, parsed.again):
        print(f"== {name}", file=sys.stderr, flush=True)
        extra = ["--folder", parsed.folder] if parsed.folder and name == "host" else []
        command = [sys.executable, *SCRIPTS[name], *extra]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        lines = []
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            for line in process.stdout:
                sys.stderr.write(line)
                lines.append(line)
        if process.returncode or not lines:
            failed.append(name)  # the others are measured all the same
            continue
        record = json.loads(lines[-1])
        if isinstance(record, dict) and record.get("skipped"):
            print(f"{name} is left out: {record['skipped']}", file=sys.stderr)
            continue
        part = RECORDS / f"{name}.json.part"
        part.write_text(lines[-1])
        os.replace(part, RECORDS / f"{name}.json")
    page.main()
    if failed:
        print(f"failed: {', '.join(failed)}; what was measured stands in {RECORDS}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
