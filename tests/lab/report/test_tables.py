"""Tables: how numbers are written, what cells hold, what notes say, and which runs count."""

import io
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from tests.lab.synthetic import SHORT, run, runs, study

from callosal.lab.report import tables as t
from callosal.lab.report.records import RunRecord
from callosal.lab.report.render import MOST_ROWS, markdown_body, print_tables, to_markdown
from callosal.lab.report.study import evidence, make_study, of
from callosal.lab.report.tables import NOTHING, Cell, Table, count, each, mean
from callosal.lab.studies.benchmark import LAYOUT

P_CT = of("P_ct")
SPLIT = {of("D_sep", "cipher"): 1.0, of("D_sep", "arithmetic"): -0.5}
ONE_SIDE = {of("D_sep", "cipher"): 1.0, of("D_sep", "arithmetic"): 1.0}
THREE = [run("inhibitory", s, {P_CT: v}) for s, v in enumerate((0.25, 0.125, 0.375))]
LACKING = [run("inhibitory", 0, {P_CT: 0.25}), run("inhibitory", 1, {P_CT: None})]
DIVERGED = [run("inhibitory", 0, {P_CT: 0.25}), run("inhibitory", 1, {P_CT: math.nan})]


def test_a_number_has_the_digits_that_matter() -> None:
    texts = {None: "-", math.nan: "-", 0.0: "0", 99.9996: "100.000", 100.0: "100", -1234.5: "-1,234", 0.1: "0.100"}
    texts |= {-0.0999: "-0.0999", 0.001: "0.0010", 0.00099: "9.9e-4", 1e-12: "1.0e-12", math.inf: "inf"}
    assert {value: t.number(value) for value in texts} == texts


@pytest.mark.parametrize(
    ("cell", "records", "text"),
    [
        # The logit of 1/4 -+ t(2) / (3/16) * (1/8) / sqrt(3): Student's would begin below 0.
        (mean(P_CT), THREE, "0.250 [0.0598, 0.636]"),
        (mean(P_CT), THREE[:1], "0.250"),
        (mean(P_CT), LACKING, "0.250"),
        (mean(P_CT), DIVERGED, NOTHING),
        (mean(P_CT), [run("no-memory", 0)], NOTHING),
        (mean(of("D_sep", "cipher")), runs(2)[2:4], "0 [-1.000, 1.000]"),
        (mean(of("D_sep", "cipher"), of_size=True), runs(1)[1:2], "0.998"),
        (mean(of("D_sep", "cipher"), of_size=True), runs(2)[2:4], "0.998 [0.998, 0.998]"),
        (each(P_CT), THREE, "0.250, 0.125, 0.375"),
        (each(P_CT), LACKING, "0.250, -"),
        (each(P_CT), DIVERGED, "0.250, -"),
        (each(of("D_sep", "cipher"), signed=True), runs(2)[2:4], "-0.9980, +0.9980"),
        (count, THREE, "3"),
        (t.lateralized, runs(3)[3:6], "3 of 3 [0.44, 1.00]"),
        (t.lateralized, [run("inhibitory", 0, SPLIT)], "0 of 1 [0.00, 0.79]"),
        (t.lateralized, [run("no-memory", 0)], NOTHING),
        (t.opposite, [run("inhibitory", 0, SPLIT), run("inhibitory", 1, ONE_SIDE)], "1 of 2 [0.09, 0.91]"),
        (t.each_count(of("recall", after=0)), [run("inhibitory", 0), run("inhibitory", 1, SHORT)], "1, 1"),
        (t.each_count(P_CT), DIVERGED, "0, -"),
        (t.opposite, [run("no-memory", 0)], NOTHING),
    ],
)
def test_a_cell_says_what_its_runs_have(cell: Cell, records: list[RunRecord], text: str) -> None:
    made = study(*records)
    assert cell(made, made.runs) == text


def test_a_measure_of_which_nobody_says_what_it_can_be_has_no_interval() -> None:
    made = study(run("inhibitory", 0, {of("weight"): 1.0}))
    with pytest.raises(ValueError, match=r"'weight' can be, so it has no interval; give it its ends under \[scales\]"):
        mean(of("weight"))(made, made.runs)


def test_rows_and_columns_of_a_table() -> None:
    made = study(*runs(2))
    cells = {"runs": count, "P_ct": each(P_CT)}
    table = t.grid(made, "T", ["arm"], t.by_arm(made, ["inhibitory", "no-memory"]), cells, "N")
    assert (table.headers, table.num_labels) == (["arm", "runs", "P_ct"], 1)
    assert table.rows == [["inhibitory", "2", "0.0010, 0.0010"], ["no-memory", "2", "-, -"]]
    assert [row[0] for row in t.by_arm(made)] == [[arm] for arm in made.arms]
    assert [" ".join(names) for names, _ in t.every_run(made)][:3] == ["no-memory 0", "no-memory 1", "inhibitory 0"]
    columns = {arm: made.where(arm=arm) for arm in ("inhibitory", "no-memory")}
    turned = t.transposed(made, "T", [""], [([name], c) for name, c in cells.items()], columns)
    assert turned.rows == [["runs", "2", "2"], ["P_ct", "0.0010, 0.0010", "-, -"]]


def test_cells_that_differ_in_their_domains_share_no_column_for_one() -> None:
    other = run("uncoupled", 0, {of("D_sep", "arithmetic"): None, of("D_sep", "counting"): -0.5})
    for records, header in ((runs(1), "smaller"), (runs(1)[1:3], "D_sep cipher")):
        made = study(*records) if header != "smaller" else study(*records[:2], other)
        seeds = t.cell_tables(made)[2]
        assert any(header in name for name in seeds.headers)


CHANGED = run("inhibitory", 9, changed=["memory.gain=6"])


@pytest.mark.parametrize(
    ("records", "notes"),
    [
        (runs(3), []),
        (runs(2), ["2 seeds on record; nothing counts as reproduced with fewer than 3."]),
        (runs(3)[3:], ["No runs of: no-memory."]),
        (runs(3)[1:], ["no-memory lacks seed 0."]),
        ([*runs(3), CHANGED], ["1 run with settings changed by hand left out of every claim, table and figure."]),
        (
            [run("inhibitory", s, arm=f"cell {s}") for s in range(6)],
            ["Not finished: 6 of 6 cells lack a seed that others have, 30 runs in all."],
        ),
    ],
)
def test_notes_say_what_is_missing(records: list[RunRecord], notes: list[str]) -> None:
    assert study(*records).notes == notes


ONE = run("inhibitory", 0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (run("excitatory", 0, recipe="paper"), "several recipes lie together: paper, synthetic"),
        (replace(ONE, fingerprint="other"), "inhibitory, seed 0, is on record with two"),
        (
            run("inhibitory", 1, config=ONE.config | {"training": {"num_steps": 7}}),
            r"the arm inhibitory have different .*seed 1",
        ),
        (run("excitatory", 0, config=ONE.config | {"episodes": {"num_letters": 26}}), "different episodes"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other: RunRecord, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evidence([ONE, other])


def test_evidence_is_ordered_counts_a_run_once_and_leaves_out_what_was_changed() -> None:
    records = runs(2)
    assert evidence([*reversed(records), CHANGED, *records]) == records
    # A study's own order of cells comes first.
    ordered = make_study("x", records, ["excitatory"])
    assert ordered.arms == ["excitatory", "no-memory", "inhibitory", "uncoupled"]


@pytest.mark.parametrize("records", [runs(3), [run("inhibitory", 0, SHORT)], runs(1)[:1]])
def test_an_interval_of_one_seed_is_not_written_and_rows_are_whole(records: list[RunRecord]) -> None:
    for table in LAYOUT.tables(study(*records)):
        assert all(len(row) == len(table.headers) for row in table.rows)
        for row in table.rows:
            assert not {"inf", "nan"} & set(re.findall(r"[a-z]+", " ".join(row))), row


def test_a_bar_in_a_cell_ends_no_cell() -> None:
    table = Table(title="T", headers=["a|b", "c"], rows=[["x", "|1|"]], note="N")
    assert markdown_body(table) == "| a\\|b | c |\n| :-- | --: |\n| x | \\|1\\| |\n\nN\n"
    assert to_markdown([table], ["so"]).endswith("\n\nN\n\nNote: so\n")


def printed(tables: list[Table], width: int, **how: Any) -> str:
    stream = io.StringIO()
    print_tables(tables, ["a note"], Console(file=stream, width=width, color_system=None, **how))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 110, 160])
def test_the_console_never_breaks_a_number(width: int) -> None:
    tables = LAYOUT.tables(study(*runs(3)))
    text = printed(tables, width)
    assert text.endswith("Note: a note\n")
    for table in tables:
        for row in table.rows:
            for word in " ".join(row[table.num_labels :]).split():
                assert word in text


def test_the_console_names_a_long_table_and_takes_no_text_for_markup() -> None:
    table = Table(title="T", headers=["[red]a"], rows=[["[b]x"]] * MOST_ROWS, note="N")
    assert printed([table], 80).count("[b]x") == MOST_ROWS
    longer = replace(table, rows=[["x"]] * (MOST_ROWS + 1))
    said = printed([longer], 80)
    assert said.startswith(f"T: {MOST_ROWS + 1} rows, which tables.md and the page hold.")
