"""Many runs, seeds side by side: lines of what was logged in training and of recall, and recall by size of state."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from callosal.lab.report.marks import ARM_COLOURS, INK, Line, Points
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import SIGN_LABELS, percentage
from callosal.lab.report.upgrade import BENCHMARK_DOMAINS

# A logarithmic axis has no zero: losses below this are drawn at it.
LEAST_LOSS = 1e-6
# States whose logarithms differ by less are drawn side by side.
ALIKE = 0.3


def has_curve(study: Study, arm: str, key: str) -> bool:
    """Whether an arm has runs, and all of them logged ``key``."""
    runs = study.records_of(study.where(arm=arm))
    return bool(runs) and all(any(key in point for point in run.curve) for run in runs)


def curve(study: Study, arm: str, key: str) -> tuple[list[int], Float[np.ndarray, "seed point *rest"]]:
    """Return the steps that all of an arm's runs have a point for, and a line of ``key`` for each run."""
    runs = study.records_of(study.where(arm=arm))
    curves = [{p["step"]: p[key] for p in run.curve if key in p} for run in runs]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return steps, np.array([[curve[step] for step in steps] for curve in curves], dtype=float)


def eigenvalues(
    coupling: Float[np.ndarray, "seed point bank bank"],
) -> tuple[Float[np.ndarray, "seed point"], Float[np.ndarray, "seed point"]]:
    """Return the common and the differential mode of W_s, averaged over the banks."""
    num_banks = coupling.shape[-1]
    diagonal = np.einsum("spbb->sp", coupling) / num_banks
    if num_banks == 1:
        return diagonal, diagonal
    others = num_banks - 1
    off = (coupling.sum((-1, -2)) / num_banks - diagonal) / others
    return diagonal + others * off, diagonal - off


def training_lines(
    study: Study, arms: Sequence[str], key: str, part: Callable[[Any], Any] = lambda found: found, **look: Any
) -> list[Line]:
    """Return a line for each arm whose runs logged ``key``; ``part`` takes from it what is drawn."""
    lines = []
    for arm in (arm for arm in arms if has_curve(study, arm, key)):
        steps, found = curve(study, arm, key)
        own: dict[str, Any] = {"colour": ARM_COLOURS.get(arm, INK), "name": SIGN_LABELS.get(arm, arm).partition(",")[0]}
        lines.append(Line(x=steps, seeds=part(found), **(own | look)))
    return lines


def drawable(losses: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Return losses as a logarithmic axis can show them; a ``part`` of :func:`training_lines`."""
    return np.maximum(losses, LEAST_LOSS)


def recall_lines(
    study: Study,
    runs: Mapping[str, pd.DataFrame],
    colours: Mapping[str, str],
    markers: Mapping[str, str],
    *,
    main: str = "",
    domain: str | None = None,
    condition: str | None = None,
) -> list[Line]:
    """Return a line of recall over further segments or turns for each name; with a main one, its seeds show."""
    lines = []
    for name, own in runs.items():
        found = {
            mark: study.values(of("recall", domain, condition, after=mark), own)
            for mark in study.marks(condition=condition)
        }
        found = {mark: values for mark, values in found.items() if values}
        if found:
            lines.append(
                Line(
                    x=list(found),
                    seeds=np.array(list(found.values())).T,
                    name=SIGN_LABELS.get(name, name),
                    colour=colours.get(name, INK),
                    marker=markers.get(name, "."),
                    is_main=name == main,
                    shows_seeds=main in ("", name),
                )
            )
    return lines


def recall_by_size(
    study: Study,
    runs: Mapping[str, pd.DataFrame],
    after: int,
    colours: Mapping[str, str],
    markers: Mapping[str, str],
    *,
    beside: float = 1.09,
) -> dict[str, Points]:
    """Return for each name a point for every seed: recall after so many segments, over the floats of state by then.

    Those of nearly equal size stand side by side, to either side in turn, ``beside`` times as far to the right as their
    neighbour. Who holds nothing, or was not asked, is left out.
    """
    marks: dict[str, Points] = {}
    sizes: list[float] = []
    for name, own in runs.items():
        asked = study.having(of("recall", after=after), own)
        floats = _state_after(study, asked, after)
        if not floats:
            continue
        crowd = sum(abs(math.log(floats / other)) < ALIKE for other in sizes)
        sizes.append(floats)
        place = floats * beside ** ((crowd + 1) // 2 * (-1) ** crowd)
        found = study.values(of("recall", after=after), asked)
        marks[name] = Points(x=[place] * len(found), y=found, colour=colours[name], marker=markers[name])
    return marks


def _state_after(study: Study, runs: pd.DataFrame, after: int) -> float:
    """Return what a row's state holds after so many segments; what grows holds a key and a value of every token."""
    found = study.values(of("state_floats"), runs)
    if not found or math.isfinite(found[0]):
        return found[0] if found else 0.0
    config = study.records_of(runs)[0].config
    told = config["episodes"]["num_rounds"] * len(BENCHMARK_DOMAINS)
    return (told + after) * config["transformer"]["max_time"] * 2.0 * config["transformer"]["width"]


def recall_sentence(study: Study, arms: Sequence[str], chance: float) -> str:
    """Say in one sentence what is recalled after the most further segments, from the means over seeds."""
    most = max(study.marks(), default=0)
    found = {arm: study.values(of("recall", after=most), study.where(arm=arm)) for arm in arms}
    parts = [f"{arm} {percentage(float(np.mean(values)))}" for arm, values in found.items() if values]
    guess = f"chance {percentage(chance, '.3g')}"
    if not parts:
        return f"Without a memory the cipher is recalled at chance ({guess})"
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"Recall of the cipher after {most:,} further segments: {listed} ({guess})"
