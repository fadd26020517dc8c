"""What the persona study's report derives from its runs."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import LEAST_TO_KEEP, Study, of
from callosal.lab.report.tables import number_range
from callosal.lab.report.upgrade import TURNS
from callosal.lab.studies.persona.cells import MAIN, VARIANTS

FACTS, RULES = "facts", "rules"
# What is said between the sessions.
BETWEEN = ("rules", "chatter")
BANKS = ("facts' bank", "other bank")


def derive(run: RunRecord) -> Iterator[Value]:
    """Give accuracies beside chance, the banks' measures over all memories, and lesions by the bank's name."""
    known = run.get("accuracy", domain=FACTS, condition="memory")
    guess = run.get("chance")
    for condition in ("reset", "another user's"):
        value = run.get("accuracy", domain=FACTS, condition=condition)
        if None not in (known, guess, value):
            # What was never learned cannot be lost.
            above = value - guess if known >= LEAST_TO_KEEP else math.nan  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
            yield {"measure": "above chance", "domain": FACTS, "condition": condition, "value": above}
    rules = [run.get("accuracy", domain=RULES, condition=c) for c in ("memory", "no memory")]
    if None not in rules:
        yield {"measure": "rule change", "value": rules[0] - rules[1]}  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    yield from _banks(run)
    modes = [row["value"] for row in run.rows("differential mode")]
    if modes:
        yield {"measure": "differential mode", "value": sum(modes) / len(modes)}


def _banks(run: RunRecord) -> Iterator[Value]:
    """Average over what is attached; nothing where a memory has one bank."""
    shares = [row for row in run.rows("share") if row["domain"] == FACTS]
    tables = [[row["value"] for row in shares if row["place"] == place] for place in _places(shares)]
    if not tables or any(len(table) < 2 for table in tables):
        return
    outside = _mean(run, "P_ct")
    yield {"measure": "P_ct", "value": outside}
    yield {"measure": "own-bank share", "value": 1.0 - outside}
    for domain in (FACTS, RULES):
        sides = [row["value"] for row in run.rows("D_sep") if row["domain"] == domain]
        yield {"measure": "D_sep", "domain": domain, "value": float(np.mean(sides))}
        # Which bank serves the facts is chance, so seeds average its size.
        yield {"measure": "|D_sep|", "domain": domain, "value": float(np.mean(np.abs(sides)))}
    signs = [
        [row["value"] for row in run.rows("D_sep") if row["place"] == place] for place in _places(run.rows("D_sep"))
    ]
    is_opposite = all(min(sides) < 0.0 < max(sides) for sides in signs)
    yield {"measure": "opposite banks", "value": float(is_opposite)}
    turns = {turn: _mean(run, "share of turns", domain=turn) for turn in TURNS}
    for turn, left in turns.items():
        yield {"measure": "left share", "domain": turn, "value": left}
        # Of the bank that takes most of the stating: which side that is is chance.
        own = left if turns[TURNS[0]] >= 0.5 else 1.0 - left
        yield {"measure": "stating bank's share", "domain": turn, "value": own}
    # A lesion takes the bank of the same number from all memories, so they must agree on it.
    own_banks = {table.index(max(table)) for table in tables}
    if len(own_banks) == 1 and all(len(table) == 2 for table in tables):
        bank = own_banks.pop()
        for number, name in zip((bank, 1 - bank), BANKS, strict=True):
            for domain in (FACTS, RULES):
                left = run.get("accuracy", domain=domain, condition="zeroed", bank=number)
                if left is not None:
                    where = {"domain": domain, "condition": f"without {name}"}
                    yield {"measure": "accuracy", **where, "value": left}


def _places(rows: list[Value]) -> list[int]:
    return list(dict.fromkeys(row["place"] for row in rows))


def _mean(run: RunRecord, measure: str, **where: str) -> float:
    rows = [row for row in run.rows(measure) if all(row.get(k) == v for k, v in where.items())]
    return float(np.mean([row["value"] for row in rows if "place" in row]))


def main_cells(study: Study) -> dict[str, pd.DataFrame]:
    """Return the runs of each base model's own cell, where there are any."""
    return _that_ran(study, {str(host): cell for host, cell in MAIN.items()})


def variant_cells(study: Study) -> dict[str, pd.DataFrame]:
    """Return the runs of Llama's variants, the inhibitory memory first."""
    return _that_ran(study, VARIANTS)


def chance_of(study: Study) -> float | None:
    """Return the accuracy of a guess, which is the same in all cells; None if no run says it."""
    return next(iter(study.values(of("chance"))), None)


def trained_for(runs: pd.DataFrame) -> str:
    """Say for how many steps the memories of these runs were trained."""
    return f"{number_range(runs['num_steps'].tolist())} steps"


def _that_ran(study: Study, cells: dict[str, str]) -> dict[str, pd.DataFrame]:
    found = {name: study.where(arm=cell) for name, cell in cells.items()}
    return {name: runs for name, runs in found.items() if len(runs)}
