"""The tables of the benchmark: its arms, and every seed."""

import math
from collections.abc import Iterator

from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import (
    BANKS,
    SIGN_LABELS,
    Cell,
    Table,
    by_arm,
    columns,
    count,
    each,
    every_run,
    grid,
    mean,
    opposite,
    retention_table,
    transposed,
)
from callosal.lab.studies.benchmark.attribution import attribution_tables, derive_steps

# After how many further segments the table of the arms gives recall, beside the most.
MARKS = (0, 10, 100, 1000)
LOSSES = {
    "cipher loss": of("loss", "episodic"),
    "arithm. loss": of("loss", "rule"),
    "recall": of("accuracy", "episodic"),
}
SIDES = {"D_sep cipher": of("D_sep", "cipher"), "D_sep arithm.": of("D_sep", "arithmetic")}
# Losses and banks of single runs on the cipher and arithmetic, as far as every study has them.
RUN_COLUMNS: dict[str, Cell] = {
    **columns(each, LOSSES),
    **{name: each(side, signed=True) for name, side in SIDES.items()},
    "P_ct": each(of("P_ct")),
}


def derive(run: RunRecord) -> Iterator[Value]:
    """Give the cipher loss over ln K, 1 for a model that knows nothing of the cipher, and when 124x was crossed."""
    loss = run.get("loss", domain="episodic")
    if loss is not None:
        chance = math.log(run.config["episodes"]["num_letters"])
        yield {"measure": "loss over chance", "value": loss / chance}
    yield from derive_steps(run)


def tables(study: Study) -> list[Table]:
    """Return the arms, what the memory and what the coupling buys, and every seed."""
    coupled = by_arm(study, [arm for arm in study.arms if arm != "no-memory"])
    marks = [m for m in study.marks() if m in MARKS or m == study.marks()[-1]]
    recall = {f"recall after {mark:,}": of("recall", after=mark) for mark in marks}
    rows: list[tuple[list[str], Cell]] = [(["seeds"], count)]
    rows += [([name], mean(quantity)) for name, quantity in LOSSES.items()]
    rows += [([f"|{name}|"], mean(q, of_size=True)) for name, q in SIDES.items()]
    rows += [([name], mean(q)) for name, q in (BANKS | recall).items()]
    rows.append((["banks of opposite sign"], opposite))
    return [
        transposed(
            study,
            "The arms",
            ["mean [95 % interval]"],
            rows,
            {SIGN_LABELS.get(arm, arm): study.where(arm=arm) for arm in study.arms},
        ),
        *attribution_tables(study, coupled, baseline="no-memory", ours="inhibitory"),
        grid(
            study,
            "Every seed: losses and banks",
            ["arm", "seed"],
            every_run(study),
            RUN_COLUMNS | columns(each, BANKS),
            num_labels=1,
        ),
        retention_table(study, "arm"),
    ]
