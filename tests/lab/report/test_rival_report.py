"""The reports of the rivals, the learning rates, the banks and the capacity, on synthetic runs."""

import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from callosal.lab.report.bank_figures import banks_sentence, capacity_sentence
from callosal.lab.report.bank_tables import (
    banks_table,
    capacity_table,
    cells_by_shape,
    domain_names,
    domains_table,
    sorted_shares,
)
from callosal.lab.report.drawing import CEILING, FLOOR, LABEL_GAP, keep_inside
from callosal.lab.report.layouts import LAYOUTS
from callosal.lab.report.rival_figures import COLOURS, VARIANTS, rivals_sentence
from callosal.lab.report.rival_tables import (
    best_rates,
    by_recall,
    dissociation_table,
    doing_table,
    rates_table,
    rivals_table,
    settings_table,
    swap_table,
)
from callosal.lab.studies.rivals.claims import BANK_CLAIMS, RIVAL_CLAIMS
from callosal.lab.studies.rivals.lesions import lesions
from rich.console import Console
from tests.lab.synthetic_rivals import (
    LETTERS,
    RIVALS,
    bank_run,
    bank_runs,
    capacity_run,
    capacity_runs,
    rate_run,
    rate_runs,
    rival_run,
    rival_runs,
)

from callosal.lab.report import build_report, show_report
from callosal.lab.report.claims import Claim, judge
from callosal.lab.report.records import RunRecord, append_record
from callosal.lab.report.study import make_study
from callosal.lab.report.tables import Table

STUDIES: dict[str, Callable[[], list[RunRecord]]] = {
    "rivals": rival_runs,
    "rates": rate_runs,
    "banks": bank_runs,
    "capacity": capacity_runs,
}


def report_on(folder: Path, runs: list[RunRecord]) -> dict[str, str]:
    """Build a report and return the verdict on every claim."""
    for run in runs:
        append_record(folder, run)
    return {verdict.id: verdict.verdict for verdict in build_report(folder)}


def figures_in(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "figures").iterdir()}


def retained(run: RunRecord, recall: float, loss: float = 0.1) -> RunRecord:
    """Give a run another recall after the most segments, and another cipher loss."""
    kept = [*run.retention["recall"][:-1], recall]
    evaluation = run.evaluation | {"cipher_loss": loss}
    return replace(run, retention=run.retention | {"recall": kept}, evaluation=evaluation)


def intervened(run: RunRecord, **changes: object) -> RunRecord:
    """Give a run other interventions."""
    found = run.probes["interventions"] | changes
    return replace(run, probes=run.probes | {"interventions": found})


def column(table: Table, header: str) -> list[str]:
    place = table.headers.index(header)
    return [row[place] for row in table.rows]


@pytest.fixture(scope="module", params=STUDIES)
def whole(request, tmp_path_factory) -> tuple[str, Path]:
    """A report on each study, with nothing missing."""
    folder = tmp_path_factory.mktemp(request.param)
    report_on(folder, STUDIES[request.param]())
    return request.param, folder


def test_a_whole_study_gives_every_file(whole):
    name, folder = whole
    layout = LAYOUTS[name]
    claims = json.loads((folder / "claims.json").read_text())
    assert [claim["id"] for claim in claims] == [claim.id for claim in layout.claims]
    assert figures_in(folder) == {kind.name for kind in layout.figures}
    for path in (folder / "figures").iterdir():
        assert path.stat().st_size < 150_000, path
    assert not re.search(r"\b(nan|inf)\b", (folder / "tables.md").read_text())
    study = make_study(name, STUDIES[name]())
    for table in layout.tables(study, judge(study.records, layout.claims)):
        assert all(len(row) == len(table.headers) for row in table.rows)
        assert table.rows


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_console_never_breaks_a_number(whole, width):
    name, folder = whole
    stream = io.StringIO()
    show_report(folder, Console(file=stream, width=width, color_system=None))
    assert "\N{HORIZONTAL ELLIPSIS}" not in stream.getvalue()
    assert name


def test_the_best_memory_stands_first_and_ties_are_broken_by_loss():
    wanted = {
        "full history": (1.0, 0.02),
        "inhibitory": (1.0, 0.01),
        "titans-pytorch": (0.4, 0.001),
        "no memory": (0.1, math.log(LETTERS)),
    }
    runs = [retained(rival_run(arm, 0), *values) for arm, values in wanted.items()]
    # Equal in what is printed is a tie.
    runs[0] = retained(runs[0], 0.9999, 0.02)
    study = make_study("rivals", runs)
    order = ["inhibitory", "full history", "titans-pytorch", "no memory"]
    assert by_recall(study) == order
    assert column(rivals_table(study), "memory") == order
    assert rivals_sentence(study) == (
        "Recall of the cipher after 1,000 further segments: inhibitory 100\u00a0%, full history "
        "100\u00a0%, titans-pytorch 40\u00a0% and no memory 10\u00a0% (chance 12.5\u00a0%)"
    )


def test_what_was_not_measured_or_is_no_number_stands_last():
    runs = [
        retained(rival_run("Turing machine", 0), math.nan, math.nan),
        rival_run(
            "memory network", 0, retention={"distractors": [0], "recall": [1.0], "loss": [0.0]}
        ),
        retained(rival_run("inhibitory", 0), 0.01),
    ]
    assert by_recall(make_study("rivals", runs))[0] == "inhibitory"


def test_the_rivals_table_says_what_each_costs():
    runs = [
        rival_run(arm, seed, probes={"train_seconds": seconds + seed, "state_floats": floats})
        for arm, seconds, floats in [
            ("no memory", 10.0, 0),
            ("inhibitory", 21.0, 2048),
            ("full history", 31.5, None),
        ]
        for seed in (0, 1)
    ]
    table = rivals_table(make_study("rivals", runs))
    cells = {row[0]: dict(zip(table.headers, row, strict=True)) for row in table.rows}
    assert cells["inhibitory"]["training time"] == "2.0x"  # 21.5 / 10.5
    assert cells["full history"]["training time"] == "3.0x"
    assert cells["full history"]["state floats"] == "grows"
    assert cells["inhibitory"]["state floats"] == "2,048"
    assert cells["no memory"]["state floats"] == "0"
    settings = settings_table(make_study("rivals", runs))
    assert settings.rows[0][2:3] == ["0.004"]
    row = dict(zip(settings.headers, settings.rows[-1], strict=True))
    assert (row["memory"], row["P_ct"], row["smaller |D_sep|"]) == ("no memory", "-", "-")


def test_one_bank_has_no_cross_talk_to_speak_of():
    table = settings_table(make_study("rivals", [rival_run("one bank", 0)]))
    assert column(table, "P_ct") == column(table, "smaller |D_sep|") == ["-"]


def test_a_memory_without_state_is_not_asked_whether_it_does_it():
    table = doing_table(make_study("rivals", rival_runs(1)))
    assert "no memory" not in column(table, "memory")
    assert len(table.rows) == 2 * (len(RIVALS) - 1)
    cipher, arithmetic = (row for row in table.rows if row[0] == "inhibitory")
    ours = dict(zip(table.headers, cipher, strict=True))
    assert ours["reset"] == ours["unwritten"] == ours["swapped, own"] == "0.125"
    assert ours["swapped, neighbour's"] == ours["told"]
    assert arithmetic[1:] == ["arithmetic", "1.000", "1.000", "1.000", "-", "-"]


def test_the_dissociation_is_averaged_by_what_a_bank_serves():
    # The cipher has the first bank in seed 0 and the second in seed 1.
    lists = {
        "warm": [0.9, 1.0],
        "lesioned": [[0.2, 0.8], [0.7, 0.6]],
        "silenced": [[0.1, 0.9], [0.8, 0.5]],
        "swapped": [0.1, 0.9],
        "swapped_banks": [[0.15, 0.85], [0.95, 0.05]],
    }
    turned = lists | {
        key: [[value + 0.02 for value in bank] for bank in lists[key][::-1]]
        for key in ("lesioned", "silenced", "swapped_banks")
    }
    runs = [
        intervened(rival_run("inhibitory", 0), **lists),
        intervened(rival_run("inhibitory", 1), **turned),
    ]
    first = lesions(runs[0])
    assert first is not None
    assert first.zeroed == ([0.2, 0.8], [0.7, 0.6])
    study = make_study("rivals", runs)
    table = dissociation_table(study)
    assert [cell.split()[0] for cell in column(table, "cipher accuracy")] == [
        "0.900",
        "0.210",
        "0.710",
        "0.110",
        "0.810",
    ]
    assert [cell.split()[0] for cell in column(table, "arithm. accuracy")] == [
        "1.000",
        "0.810",
        "0.610",
        "0.910",
        "0.510",
    ]
    swaps = swap_table(study)
    assert [cell.split()[0] for cell in column(swaps, "own answers")] == ["0.100", "0.160", "0.960"]
    theirs = column(swaps, "the neighbour's answers")
    assert [cell.split()[0] for cell in theirs] == ["0.900", "0.860", "0.0600"]


@pytest.mark.parametrize("arm", ["full history", "one bank", "no memory"])
def test_what_has_not_two_banks_has_no_lesions(arm):
    assert lesions(rival_run(arm, 0)) is None
    assert lesions(rival_run("inhibitory", 0, probes={})) is None


@pytest.mark.parametrize(
    "runs",
    [
        [rival_run("Turing machine", 0)],
        [rival_run("no memory", 0)],
        [rival_run("uncoupled", 0), rival_run("titans-pytorch", 0)],
        [run for run in rival_runs(2) if run.arm != "no memory"],
        [rival_run("inhibitory", 0, probes={}), rival_run("full history", 0, probes={})],
        [*rival_runs(1), rival_run("inhibitory", 7, changed=["memory.gain=6"])],
        [rival_run("inhibitory", 0, changed=["memory.gain=6"])],
    ],
    ids=["one", "no state", "two", "no baseline", "no probes", "changed", "only changed"],
)
def test_a_study_that_lacks_contenders_is_a_report_all_the_same(tmp_path, runs):
    verdicts = report_on(tmp_path, runs)
    assert "reproduced" not in verdicts.values()
    assert (tmp_path / "report.html").exists()
    assert not re.search(r"\b(nan|inf)\b", (tmp_path / "tables.md").read_text())


def test_best_rates_take_the_lowest_total_loss():
    runs = [
        rate_run("inhibitory", 0.002, (0.30, 0.01)),
        rate_run("inhibitory", 0.004, (0.20, 0.20)),
        rate_run("inhibitory", 0.008, (0.25, 0.01)),
        rate_run("full history", 0.002, (0.5, 0.5)),
        rate_run("full history", 0.004, (0.5, 0.5)),
        rate_run("Turing machine", 0.002, (math.nan, 0.0)),
        rate_run("Turing machine", 0.008, (1.0, 1.0)),
        rate_run("titans-pytorch", 0.002, (math.inf, 0.0)),
    ]
    assert best_rates(runs) == {
        "inhibitory": 0.008,
        "full history": 0.002,
        "Turing machine": 0.008,
    }
    table = rates_table(make_study("rates", runs))
    assert table.headers == ["memory", "0.002", "0.004", "0.008"]
    assert table.rows == [
        ["inhibitory", "0.310", "0.400", "0.260 *"],
        ["full history", "1.000 *", "1.000", "-"],
        ["Turing machine", "-", "-", "2.000 *"],
        ["titans-pytorch", "-", "-", "-"],
    ]


def test_best_rates_average_the_seeds_of_the_grid():
    runs = [
        rate_run("inhibitory", 0.002, (0.1, 0.0), seed=100),
        rate_run("inhibitory", 0.002, (0.9, 0.0), seed=101),
        rate_run("inhibitory", 0.004, (0.4, 0.0), seed=100),
        rate_run("inhibitory", 0.004, (0.4, 0.0), seed=101),
    ]
    assert best_rates(runs) == {"inhibitory": 0.004}


def test_the_rivals_went_as_we_ask():
    verdicts = {v.id: v.verdict for v in judge(rival_runs(3), RIVAL_CLAIMS)}
    # The synthetic arithmetic needs no memory, so silencing its bank costs nothing.
    assert verdicts.pop("rivals-arithmetic-lost") == "not reproduced"
    assert set(verdicts.values()) == {"reproduced"}


def spoil_lists(key: str, bank_of_cipher: bool, domain: int, value: float):
    """Return what sets one accuracy of one bank, whichever serves the cipher."""

    def spoil(run: RunRecord) -> RunRecord:
        banks = [list(pair) for pair in run.probes["interventions"][key]]
        own = int(np.argmax(run.evaluation["specialization"]["shares"][0]))
        banks[own if bank_of_cipher else 1 - own][domain] = value
        return intervened(run, **{key: banks})

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("rivals-retention", lambda run: retained(run, 0.5)),
        ("rivals-reset", lambda run: intervened(run, fresh=[0.3, 1.0])),
        ("rivals-swap", spoil_lists("swapped_banks", True, 1, 0.5)),
        ("rivals-cipher-lost", spoil_lists("silenced", True, 0, 0.3)),
        ("rivals-cipher-kept", spoil_lists("silenced", False, 0, 0.9)),
        ("rivals-arithmetic-kept", spoil_lists("silenced", True, 1, 0.9)),
    ],
)
def test_a_claim_turns_red_on_bad_runs(name, spoil):
    runs = [spoil(rival_run("inhibitory", seed)) for seed in range(3)]
    verdicts = {v.id: v.verdict for v in judge(runs, RIVAL_CLAIMS)}
    assert verdicts[name] == "not reproduced"
    good = [rival_run("inhibitory", seed) for seed in range(2)]
    spoilt = [*good, spoil(rival_run("inhibitory", 2))]
    assert {v.id: v.verdict for v in judge(spoilt, RIVAL_CLAIMS)}[name] != "reproduced"


def test_arithmetic_that_falls_with_its_bank_bears_its_claim_out():
    spoil = spoil_lists("silenced", False, 1, 0.1)
    runs = [spoil(rival_run("inhibitory", seed)) for seed in range(3)]
    verdicts = {v.id: v.verdict for v in judge(runs, RIVAL_CLAIMS)}
    assert verdicts["rivals-arithmetic-lost"] == "reproduced"


def test_a_memory_that_learnt_nothing_bears_nothing_out():
    chance = 1 / LETTERS
    at_chance = {
        "warm": [chance, chance],
        "fresh": [chance, chance],
        "silenced": [[chance, chance], [chance, chance]],
        "swapped_banks": [[chance, 1.0], [chance, 1.0]],
    }
    runs = []
    for seed in range(3):
        run = intervened(rival_run("inhibitory", seed), **at_chance)
        recall = [chance] * len(run.retention["recall"])
        runs.append(replace(run, retention=run.retention | {"recall": recall}))
    for verdict in judge(runs, RIVAL_CLAIMS):
        assert verdict.verdict == "not reproduced", verdict.id
        assert verdict.per_seed == [None, None, None]


def test_names_of_claims_are_unique_and_all_are_ours():
    claims: list[Claim] = [claim for layout in LAYOUTS.values() for claim in layout.claims]
    names = [claim.id for claim in claims]
    assert len(set(names)) == len(names)
    for claim in (*RIVAL_CLAIMS, *BANK_CLAIMS):
        assert claim.source == "ours"
        assert claim.claim.endswith(".")
        assert (claim.least, claim.most) != (None, None)


def test_the_banks_are_judged_cell_by_cell():
    verdicts = {v.id: v for v in judge(bank_runs(3), BANK_CLAIMS)}
    assert verdicts["banks-3-of-3"].verdict == "reproduced"
    assert verdicts["banks-8-of-8"].verdict != "reproduced"
    bad = [bank_run(3, 3, seed, own=0.6) for seed in range(3)]
    by_id = {v.id: v.verdict for v in judge(bad, BANK_CLAIMS)}
    assert by_id == {
        "banks-3-of-3": "not reproduced",
        "banks-4-of-4": "undecided",
        "banks-8-of-8": "undecided",
    }


def test_banks_are_put_in_the_order_of_their_domains():
    for seed in range(3):
        for banks, domains in ((4, 4), (8, 4), (2, 4)):
            run = bank_run(banks, domains, seed)
            table = sorted_shares(run)
            assert table is not None
            assert sorted(table[0]) == sorted(run.evaluation["specialization"]["shares"][0])
            if banks >= domains:
                assert (table[:, :domains].argmax(1) == np.arange(domains)).all()
                own = np.diag(table[:, :domains]).mean()
                assert own == pytest.approx(1 - run.evaluation["specialization"]["cross_talk"])


def test_domains_of_one_kind_are_numbered_and_the_default_has_two():
    assert domain_names(bank_run(4, 4, 0)) == ["cipher 1", "cipher 2", "arithmetic", "reversal"]
    assert domain_names(bank_run(4, 2, 0)) == ["cipher", "arithmetic"]


def test_cells_with_as_many_banks_as_domains_stand_first_whatever_ran_first():
    runs = bank_runs(2)
    wanted = [f"{n} banks, {n} domains" for n in (3, 4, 8)]
    for order in (runs, runs[::-1]):
        study = make_study("banks", order)
        assert cells_by_shape(study)[:3] == wanted
        assert column(banks_table(study), "cell")[:3] == wanted
    assert banks_sentence(study).startswith("Mean share of a domain's own bank: 3 banks, 3 domains")


def test_fewer_banks_than_domains_are_not_asked_for_the_impossible():
    study = make_study("banks", [bank_run(2, 4, seed) for seed in range(3)])
    assert column(banks_table(study), "most possible") == ["0.50"]
    # Every domain got a bank of its own in some seed or in none; never a share of nothing.
    shares = column(domains_table(study), "own-bank share")
    assert all(cell == "-" or float(cell.split()[0]) > 0.9 for cell in shares)


def test_a_study_of_banks_that_is_not_finished_is_a_report(tmp_path):
    runs = [bank_run(2, 4, 0), bank_run(8, 8, 0), bank_run(8, 8, 3), bank_run(3, 3, 1)]
    assert set(report_on(tmp_path, runs).values()) <= {"undecided", "not reproduced"}
    assert figures_in(tmp_path) == {"own-banks", "shares"}


def test_cells_that_have_not_as_many_banks_as_domains_draw_no_diagonal(tmp_path):
    report_on(tmp_path, [bank_run(2, 4, 0)])
    assert figures_in(tmp_path) == {"own-banks"}


def test_capacity_is_ordered_by_pairs_and_slots(tmp_path):
    runs = [capacity_run(16, 8, 0), capacity_run(4, 64, 0), capacity_run(4, 8, 0)]
    table = capacity_table(make_study("capacity", runs))
    assert [row[:3] for row in table.rows] == [
        ["4", "8", "0.250"],
        ["4", "64", "0.250"],
        ["16", "8", "0.0625"],
    ]
    assert report_on(tmp_path, runs) == {}
    assert figures_in(tmp_path) == {"capacity"}
    assert "16 pairs, " in capacity_sentence(make_study("capacity", runs))


def test_every_memory_has_a_colour_of_its_own_in_its_panel():
    ours = [COLOURS[arm] for arm in VARIANTS]
    others = [COLOURS[arm] for arm in RIVALS if arm not in VARIANTS] + [COLOURS["inhibitory"]]
    assert len(set(ours)) == len(ours)
    assert len(set(others)) == len(others)
    assert set(RIVALS) <= set(COLOURS)


def test_labels_stay_on_the_page_and_apart():
    rng = np.random.default_rng(0)
    for start in (0.0, 1.0, 0.125):
        crowd = start + 0.001 * rng.random(8)
        for heights in (np.sort(crowd), crowd):
            order = np.argsort(heights)
            spread = np.empty(8)
            spread[order] = heights.mean() + LABEL_GAP * (np.arange(8) - 3.5)
            moved = np.array(keep_inside(spread.tolist()))
            assert moved.min() > FLOOR - 1e-9
            assert moved.max() < CEILING + 1e-9
            assert np.diff(np.sort(moved)).min() > LABEL_GAP - 1e-9
            assert (np.argsort(moved) == order).all()
