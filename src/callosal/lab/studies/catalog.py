"""The studies by name: their layouts, their runs, and the reports on folders of runs."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from callosal.lab import studies
from callosal.lab.report.build import Report
from callosal.lab.report.layout import Layout
from callosal.lab.studies import BENCHMARK, NAMES


def study(name: str) -> ModuleType:
    """Return the package of a study, which declares its layout.

    Raises:
        ValueError: there is no such study.
    """
    if name not in (*NAMES, BENCHMARK):
        raise ValueError(f"there is no study {name!r}; there are {', '.join(NAMES)}")
    return import_module(f"{studies.__name__}.{name}")


def configs(name: str, seeds: Sequence[int] | None = None) -> Sequence[Any]:
    """Return the runs of a study, of its own seeds if none are given."""
    seeds = study(name).LAYOUT.seeds if seeds is None else seeds
    return _recipe(name).configs(seeds)


def run_of(name: str) -> Callable[..., Any] | None:
    """Return what makes a record of a study's configuration; None for the runner's own."""
    return getattr(_recipe(name), "run", None)


def layout_of(recipe: str) -> Layout:
    """Return the layout of the report on a recipe's or study's runs."""
    return study(recipe if recipe in NAMES else BENCHMARK).LAYOUT


def read_report(folder: Path) -> Report:
    """Read and judge the runs of a folder; see :meth:`callosal.lab.report.build.Report.read`."""
    return Report.read(folder, layout_of)


def _recipe(name: str) -> ModuleType:
    return import_module(f"{studies.__name__}.{name}.recipe")
