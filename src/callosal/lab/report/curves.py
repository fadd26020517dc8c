"""What was logged while models learned, seeds side by side."""

import numpy as np
from jaxtyping import Float

from callosal.lab.report.study import Study


def has_curve(study: Study, arm: str, key: str) -> bool:
    """Whether an arm has runs, and all of them logged ``key``."""
    runs = study.records_of(study.where(arm=arm))
    return bool(runs) and all(any(key in point for point in run.curve) for run in runs)


def curve(
    study: Study, arm: str, key: str
) -> tuple[list[int], Float[np.ndarray, "seed point *rest"]]:
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
