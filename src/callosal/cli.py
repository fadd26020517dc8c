"""The command line: verbs only, each of which calls the library."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from callosal.cli_memory import add_memory_verbs
from callosal.contract import contract_table
from callosal.lab import studies
from callosal.lab.report.build import PAGE_FILE
from callosal.lab.report.records import ARMS
from callosal.lab.runner import (
    Run,
    evaluate_held_out,
    load_trained,
    require_writable,
    run,
    run_all,
)
from callosal.lab.runs import load_config, override
from callosal.lab.studies.benchmark.recipe import RECIPES
from callosal.lab.studies.rivals.recipe import check_contenders


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def parse_seeds(text: str) -> list[int]:
    """Read ``0-4`` or ``101,102,103``, or both.

    Raises:
        ArgumentTypeError: it is neither, or names a seed twice, or a range goes down.

    >>> parse_seeds("0-2,7")
    [0, 1, 2, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r} is not like 0-4 or 101,102,103")
        if int(last or first) < int(first):
            raise argparse.ArgumentTypeError(f"{text!r} holds a range that goes down")
        seeds.extend(range(int(first), int(last or first) + 1))
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"{text!r} names a seed twice")
    return seeds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; user errors end in one line and exit code 2, a run that failed in exit code 1."""
    parsed = make_parser().parse_args(arguments)
    try:
        return parsed.verb(parsed)
    except (ValueError, OSError, ImportError) as error:
        # An optional extra that is missing says how to install it.
        # An interrupt while workers start can end in an error of what it tore apart.
        if not _was_interrupted(error):
            print(f"callosal: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
    except KeyboardInterrupt:
        pass
    print("callosal: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
    return 130


def _was_interrupted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; each sets ``verb`` to the function that carries it out."""
    parser = _Parser(
        prog="callosal", description="Lateralized, persistent memory for transformers."
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    verb = verbs.add_parser(
        "reproduce", help="train every arm of a recipe and report on the claims"
    )
    verb.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    verb.add_argument("--seeds", type=parse_seeds, default=[0, 1, 2], help="0-4 or 101,102,103")
    verb.add_argument("--out", type=Path, default=Path("runs/quick"), help="folder of the study")
    verb.add_argument("--workers", type=_positive, default=2, help="runs side by side")
    verb.set_defaults(verb=_reproduce)

    verb = verbs.add_parser("study", help="run a study, or what is left of it, and report on it")
    verb.add_argument(
        "name",
        choices=studies.names(),
    )
    verb.add_argument("--seeds", type=parse_seeds, help="0-4 or 101,102 (default: the study's own)")
    verb.add_argument("--out", type=Path, help="folder of the study (default: runs/NAME)")
    verb.add_argument("--workers", type=_positive, default=2, help="runs side by side")
    verb.set_defaults(verb=_study)

    verb = verbs.add_parser(
        "contract", help="check every memory and rival against the contract, as a Markdown table"
    )
    verb.set_defaults(verb=_contract)

    verb = verbs.add_parser("train", help="train one run, on its recipe or off it")
    verb.add_argument("--recipe", choices=sorted(RECIPES), default="quick")
    verb.add_argument("--arm", choices=ARMS, default="inhibitory")
    verb.add_argument("--seed", type=_natural, default=0)
    verb.add_argument("--out", type=Path, default=Path("runs/train"), help="folder of the study")
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field, such as memory.gain=6; the run is then no evidence for a claim",
    )
    verb.set_defaults(verb=_train)

    verb = verbs.add_parser("evaluate", help="evaluate a trained run on the held-out stream")
    verb.add_argument(
        "run", type=Path, help="a folder such as runs/quick/runs/quick-inhibitory-..."
    )
    verb.set_defaults(verb=_evaluate)

    verb = verbs.add_parser(
        "report", help="rebuild tables, figures and the page from recorded runs"
    )
    verb.add_argument("folder", type=Path, help="folder of the study")
    verb.add_argument(
        "--into",
        type=Path,
        action="append",
        default=[],
        metavar="PAGE",
        help="also put the tables into a Markdown page, between the marks that name them",
    )
    verb.set_defaults(verb=_report)

    add_memory_verbs(verbs)
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _reproduce(parsed: argparse.Namespace) -> int:
    recipe = RECIPES[parsed.recipe]
    failed = _run([recipe(arm, seed) for seed in parsed.seeds for arm in ARMS], parsed)
    parsed.folder, parsed.into = parsed.out, []
    return _report(parsed) or failed


def _study(parsed: argparse.Namespace) -> int:
    parsed.out = parsed.out or Path("runs") / parsed.name
    configs = studies.configs(parsed.name, parsed.seeds)
    failed = _run(configs, parsed, studies.run_of(parsed.name) or run)
    parsed.folder, parsed.into = parsed.out, []
    return _report(parsed) or failed


def _contract(parsed: argparse.Namespace) -> int:  # noqa: ARG001
    reports = check_contenders()
    print(contract_table(reports))
    return int(any(report.broken for report in reports.values()))


def _train(parsed: argparse.Namespace) -> int:
    config = override(RECIPES[parsed.recipe](parsed.arm, parsed.seed), parsed.set)
    failed = _run([config], parsed)
    print(parsed.out / "runs" / config.name)
    return failed


def _run(configs: Sequence[Any], parsed: argparse.Namespace, how: Run = run) -> int:
    require_writable(parsed.out)
    failures = run_all(configs, parsed.out, run=how, num_workers=getattr(parsed, "workers", 1))
    for failure in failures:
        print(f"callosal: {failure}", file=sys.stderr)
    return int(bool(failures))


def _evaluate(parsed: argparse.Namespace) -> int:
    config = load_config(parsed.run)
    evaluation = evaluate_held_out(load_trained(config, parsed.run), config)
    print(json.dumps({"run": config.name, **asdict(evaluation)}, indent=1))
    return 0


def _report(parsed: argparse.Namespace) -> int:
    if not parsed.folder.is_dir():
        raise ValueError(f"there is no folder {parsed.folder}; make one with callosal reproduce")
    require_writable(parsed.folder)
    report = studies.read_report(parsed.folder)
    report.write()
    for page in parsed.into:
        report.fill(page)
    report.show(Console())
    print(f"The page, with pictures: {parsed.folder / PAGE_FILE}")
    return 0
