"""What a training step of the recipe ``quick`` is made of, and what it was before the work on speed.

`python -m benchmarks.speed.quick` takes steps of the inhibitory arm, of the arm without memory, and of the inhibitory
arm of the commit before that work, each in a process of its own, in turn with the multiplications of trunk and memory
alone (forward and backward). A step is all of it: drawing episodes, both passes, clipping, AdamW. Without git, or the
commit, what was before is not measured. The last line of standard output is JSON.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.floor import Stage, alone, sides_of, together
from benchmarks.speed.timing import ROOT, Rows, in_turn, parser, ratio, spread, told

from callosal.lab.models.transformer import Transformer
from callosal.lab.runs import build_model
from callosal.lab.studies.benchmark.recipe import quick as recipe
from callosal.lab.tasks import sample_episodes
from callosal.memory import LateralMemory
from callosal.training.seeding import generator_for

# The parent of the first commit of that work.
BEFORE = "7494670"
STEPS, SECONDS = 10, 60.0


def trunk_alone(model: Transformer, rows: int, time: int) -> Stage:
    """Return the trunk's multiplications for so many rows of so many tokens as one side.

    Of attention all pairs of tokens are counted: a causal one could do with half of these, a twentieth of all.
    """
    width, heads, tokens = model.config.width, model.config.num_heads, rows * time
    parts = torch.randn(rows * heads, time, width // heads)
    attention = [(parts, parts.mT.contiguous()), (torch.randn(rows * heads, time, time), parts)]
    sizes = {name: module.weight.shape for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    maps = [(torch.randn(tokens, taken), torch.randn(taken, given)) for given, taken in sizes.values()]
    pairs = [*maps, *(attention * model.config.num_blocks)]
    return together([(torch.matmul, list(pair)) for pair in pairs])


def memory_alone(model: Transformer, batch: int, segments: int, time: int) -> Stage:
    """Return the multiplications of the memory behind the first block as one side."""
    memory = model.memory_at(0)
    assert isinstance(memory, LateralMemory)
    with torch.no_grad():
        return alone(memory, torch.randn(batch, segments, time, model.config.width))


@contextmanager
def stepping(arm: str, source: Path, steps: int) -> Iterator[Callable[[], object]]:
    """Give what has a process of its own take so many steps, by the package that lies in a folder."""
    command = [sys.executable, "-m", "benchmarks.speed.stepping", arm]
    environment = os.environ | {"PYTHONPATH": str(source)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:  # noqa: S603
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def step() -> object:
            print(steps, file=asked, flush=True)
            if not (answer := answers.readline()):
                raise RuntimeError(f"the steps of {arm} ended; what they said stands above")
            return answer

        found = Path(answers.readline().strip())
        if source not in found.parents:
            raise RuntimeError(f"steps are taken by the package in {found.parent}, where that in {source} was wanted")
        yield step
        asked.close()


def earlier(commit: str, folder: Path) -> Path | None:
    """Put a commit's package into a folder, and return where it lies; None without git or the commit."""
    try:
        command = ["git", "archive", commit, "src"]
        packed = subprocess.run(command, check=True, cwd=ROOT, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder.resolve() / "src"


def measure(quick: bool) -> dict[str, Any]:
    """Time all of them in turn."""
    config, steps = recipe("inhibitory", 0), 1 if quick else STEPS
    model, generator = build_model(config), generator_for(0, "benchmark")
    episodes = sample_episodes(config.episodes, config.training.batch_size, generator, "training")
    batch, segments, time = episodes.tokens.shape
    with ExitStack() as stack:
        before = earlier(BEFORE, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        ours = {"step": ("inhibitory", ROOT / "src"), "without memory": ("no-memory", ROOT / "src")}
        ours |= {} if before is None else {"before": ("inhibitory", before)}
        sides = {name: stack.enter_context(stepping(*what, steps)) for name, what in ours.items()}
        floors = {"trunk": trunk_alone(model, batch * segments, time)}
        floors["memory"] = memory_alone(model, batch, segments, time)
        alones = {name: sides_of(name, floor)[f"{name} training"] for name, floor in floors.items()}
        samples = in_turn(sides | alones, seconds=0.1 if quick else SECONDS, least=2 if quick else 5)
    samples |= {name: [seconds / steps for seconds in samples[name]] for name in sides}
    samples["multiplications"] = [sum(parts) for parts in zip(samples["trunk"], samples["memory"], strict=True)]
    rows: Rows = []
    for name, taken in samples.items():
        row: dict[str, Any] = {"side": name, "seconds_a_step": spread(taken)}
        for other in ("step", "before"):
            row[f"over_{other}"] = ratio(taken, samples[other]) if other in samples else None
        rows.append(row)
    sizes = {"batch": batch, "segments": segments, "tokens_a_segment": time}
    return {"commit_before": BEFORE, "steps": steps, **sizes, "rows": rows}


if __name__ == "__main__":
    told("quick", measure, parser(__doc__).parse_args().quick)
