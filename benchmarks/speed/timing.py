"""What all parts share: sides timed in turn, medians with quartiles, peak memory, and the record of a part."""

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "benchmarks"
# A sample shorter than this is the clock's and the interpreter's as much as the side's.
LEAST_SAMPLE = 0.003
Rows = list[dict[str, Any]]


def in_turn(
    sides: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    least: int = 5,
    most: int = 41,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time every side once a round, so that what else the machine does touches all of them alike.

    Args:
        sides: what is timed, by name.
        seconds: rounds are added until so long has been measured, from ``least`` to ``most`` of them.
        least: fewest rounds.
        most: most rounds.
        clock: what a sample is timed by; ``time.process_time`` where other processes run beside it.

    Returns:
        For every side its seconds a call, round by round. Quick sides are called many times a sample.
    """
    calls = {}
    for name, side in sides.items():
        side()  # once to warm up
        calls[name] = max(1, round(LEAST_SAMPLE / max(_seconds(side, 1, clock), 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in sides}
    names, begun = list(sides), time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for number in range(most):
            if number >= least and time.perf_counter() - begun > seconds:
                break
            # Another one begins each round, so that none always follows the same.
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                samples[name].append(_seconds(sides[name], calls[name], clock) / calls[name])
    finally:
        gc.enable()
    return samples


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Return the median, the quartiles and how many samples there are.

    >>> spread([1.0, 2.0, 3.0, 4.0, 9.0])
    {'median': 3.0, 'low': 2.0, 'high': 4.0, 'rounds': 5}
    """
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [samples[0]] * 3
    return {"median": middle, "low": low, "high": high, "rounds": len(samples)}


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Return the spread of the ratios, round by round."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def rate(samples: Sequence[float], amount: float) -> dict[str, float]:
    """Return the spread of how much is done in a second."""
    return spread([amount / seconds for seconds in samples])


def backward(outputs: Tensor, inputs: Sequence[Tensor]) -> None:
    """Do a backward pass that leaves no gradient behind."""
    torch.autograd.grad(outputs, inputs, torch.ones_like(outputs), allow_unused=True)


def peak_mib(*, anew: bool = False) -> float:
    """Return the most memory that this process has held; ``anew`` counts it from now on, where the system can."""
    if anew and (marks := Path("/proc/self/clear_refs")).exists():
        marks.write_text("5")
    for line in _lines("/proc/self/status"):
        # What getrusage says begins, in a process that was started by another, with what that one held.
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024**2 if sys.platform == "darwin" else 1024)


def held_mib() -> float:
    """Return the memory that this process holds now; its peak where that cannot be read."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak_mib()
    return int(status.read_text().split()[1]) * resource.getpagesize() / 1024**2


def apart(*arguments: str) -> dict[str, Any]:
    """Run ``python -m`` in a process of its own, and return the JSON of its last line."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, Any]:
    """Return what a figure depends on beside the code."""
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu": names[0].partition(": ")[2] if names else platform.machine(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
    }


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return what every part takes."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--quick", action="store_true", help="a few small cells in seconds, no evidence")
    return made


def told(part: str, measure: Callable[[bool], dict[str, Any]], quick: bool) -> None:
    """Measure a part on one thread, and print its record as the last line."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    begun, before = time.perf_counter(), machine()
    record = {"part": part, "quick": quick, "machine": before, **measure(quick)}
    record["seconds"] = round(time.perf_counter() - begun, 1)
    print(json.dumps(rounded(record)))


def rounded(value: Any) -> Any:
    """Keep four digits of every float: the fifth is noise, and records are read by people too."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _seconds(side: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    begun = clock()
    for _ in range(calls):
        side()
    return clock() - begun
