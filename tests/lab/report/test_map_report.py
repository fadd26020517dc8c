"""The reports of the map, the sequel's setting and the hard domains, on clearly synthetic runs."""

import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from callosal.lab.report.cell_tables import cells_table, make_cell_tables
from callosal.lab.report.domain_figures import Jump, find_jump, jumps_table, lateralized_sentence
from callosal.lab.report.layouts import LAYOUTS, layout_of
from callosal.lab.report.map_data import (
    cell_name,
    initial_strength,
    learned_strength,
    means,
    opposite_separation,
    plane,
    plane_runs,
    predict_separation,
)
from callosal.lab.report.plane_figures import map_sentence
from callosal.lab.studies.study_claims import (
    BELOW_THRESHOLD,
    HARD_CLAIMS,
    LATERALIZED,
    MAP_CLAIMS,
    SATURATED,
    SATURATION,
    SEQUEL_CLAIMS,
    is_lateralized,
    largest_separation,
    least_separation,
)
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.lab.synthetic import synthetic_cell, synthetic_runs

from callosal.lab.measures.intervals import mean_interval, share_interval
from callosal.lab.report import build_report, show_report
from callosal.lab.report.claims import CLAIMS, cross_talk, judge, signed_separation
from callosal.lab.report.records import RunRecord, append_record
from callosal.lab.report.study import make_study
from callosal.lab.report.tables import MOST_ROWS, number
from callosal.lab.studies.hard import recipe as hard
from callosal.lab.studies.map import recipe as lateralization_map
from callosal.lab.studies.sequel import recipe as sequel

STUDIES = ("map", "sequel", "hard")


def map_run(
    sign: float, gain: float, seed: int, sides: tuple[float, float], variant: str = "", **changes
) -> RunRecord:
    parts = [variant] if variant else []
    parts += [f"gain={gain:g}"] if gain != 4.0 else []
    name = cell_name(sign, " ".join(parts))
    memory = {"sign": sign, "gain": gain}
    return synthetic_cell("map", name, seed, sides=sides, memory=memory, **changes)


def map_runs(num_seeds: int = 3) -> list[RunRecord]:
    """Make up runs of every cell that the map has."""
    rng = np.random.default_rng(0)
    runs = []
    for cell, seed in itertools.product(lateralization_map.cells(), range(num_seeds)):
        size = float(rng.uniform(0.2, 1.0))
        memory = {"sign": -1.0, "gain": 4.0} | cell.memory
        episodes = {"pairs_per_segment": 8} | cell.episodes
        runs.append(
            synthetic_cell(
                "map", cell.name, seed, sides=(size, -size / 2), memory=memory, episodes=episodes
            )
        )
    return runs


def study_runs(name: str, num_seeds: int = 3) -> list[RunRecord]:
    if name == "map":
        return map_runs(num_seeds)
    configs = {"sequel": sequel.configs, "hard": hard.configs}[name]
    cells = dict.fromkeys(config.arm for config in configs(range(1)))
    names = {"domains": ["recall", "counting"]} if name == "sequel" else {}
    return [
        synthetic_cell(name, cell, seed, episodes=names)
        for cell in cells
        for seed in range(num_seeds)
    ]


def write_runs(folder: Path, runs: list[RunRecord]) -> Path:
    for run in runs:
        append_record(folder, run)
    return folder


@pytest.fixture(scope="module", params=STUDIES)
def whole(request, tmp_path_factory) -> tuple[str, Path]:
    """A report on every cell of a study."""
    folder = write_runs(tmp_path_factory.mktemp(request.param), study_runs(request.param))
    build_report(folder)
    return request.param, folder


def test_a_whole_study_has_its_claims_and_figures(whole):
    name, folder = whole
    verdicts = json.loads((folder / "claims.json").read_text())
    assert [verdict["id"] for verdict in verdicts] == [claim.id for claim in LAYOUTS[name].claims]
    # Every claim asks about cells that the study has.
    assert all(verdict["seeds"] == [0, 1, 2] for verdict in verdicts)
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == {kind.name for kind in LAYOUTS[name].figures}
    assert all(path.stat().st_size < 150_000 for path in (folder / "figures").iterdir())


def test_the_page_names_the_study_not_every_cell(whole):
    name, folder = whole
    page = (folder / "report.html").read_text()
    cells = {run.arm for run in study_runs(name, 1)}
    assert f"<dt>cells</dt><dd>{len(cells)}</dd>" in page
    assert f"callosal study {name} --seeds 0-2 --out" in page
    assert "callosal reproduce" not in page
    assert "<dt>parameters</dt><dd>120,000</dd>" in page
    assert "No runs of" not in page
    assert "other scales" in page


def test_the_console_leaves_long_tables_to_the_page(whole):
    name, folder = whole
    stream = io.StringIO()
    show_report(folder, Console(file=stream, width=140, color_system=None))
    text = stream.getvalue()
    num_runs = len(study_runs(name))
    assert (f"Every seed: losses and banks: {num_runs} rows" in text) == (num_runs > MOST_ROWS)
    assert ("<details>" in (folder / "report.html").read_text()) == (num_runs > MOST_ROWS)
    assert "The cells: banks" in text


def test_tables_have_as_many_cells_as_headers(whole):
    name, _ = whole
    study = make_study(name, study_runs(name))
    layout = layout_of(study)
    for table in layout.tables(study, judge(study.records, layout.claims)):
        assert all(len(row) == len(table.headers) for row in table.rows), table.title


@pytest.mark.parametrize("name", STUDIES)
def test_the_order_of_the_cells_is_not_that_in_which_they_ended(name):
    runs = study_runs(name, 2)
    cells = LAYOUTS[name].cells
    forwards, backwards = (
        make_study(name, list(order)).in_order(cells) for order in (runs, reversed(runs))
    )
    assert forwards.records == backwards.records
    assert set(forwards.arms) <= set(cells)


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("num_runs", [1, 4])
def test_an_incomplete_study_is_a_report(tmp_path, name, num_runs):
    runs = study_runs(name)
    chosen = np.random.default_rng(1).permutation(len(runs))[:num_runs]
    write_runs(tmp_path, [runs[place] for place in chosen])
    verdicts = build_report(tmp_path)
    assert all(verdict.verdict != "reproduced" for verdict in verdicts)
    assert (tmp_path / "report.html").exists()


def test_a_map_half_way_through_a_seed_says_how_much_is_missing(tmp_path):
    runs = [run for run in map_runs(2) if run.seed == 0 or run.arm < "s=+1"]
    write_runs(tmp_path, runs)
    build_report(tmp_path)
    num_cells = len(lateralization_map.cells())
    missing = 2 * num_cells - len(runs)
    text = (tmp_path / "tables.md").read_text()
    assert f"{missing} of {num_cells} cells lack a seed that others have, {missing} runs" in text
    assert text.count(" lacks seed ") == 0


def test_only_changed_runs_of_a_study_are_a_report_too(tmp_path):
    write_runs(tmp_path, [map_run(-1.0, 4.0, 0, (1.0, -1.0), changed=["memory.inertia=1"])])
    assert {verdict.verdict for verdict in build_report(tmp_path)} == {"undecided"}
    text = (tmp_path / "tables.md").read_text()
    assert "memory.inertia=1" in text
    assert "No runs of" not in text


def test_runs_without_a_curve_draw_the_rest(tmp_path):
    write_runs(tmp_path, [map_run(-1.0, gain, 0, (1.0, -1.0), curve=[]) for gain in (1.0, 4.0)])
    build_report(tmp_path)
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"plane", "threshold"}


def test_the_matrices_are_means_over_the_seeds_of_a_cell():
    study = make_study(
        "map",
        [
            map_run(-1.0, 4.0, 0, (0.9, -0.8), kept=0.5),
            map_run(-1.0, 4.0, 1, (-1.0, 0.6), kept=0.7),
            map_run(0.5, 4.0, 0, (0.3, 0.2)),
            map_run(-1.0, 0.5, 0, (0.4, -0.5)),
            # In no plane of sign and gain.
            map_run(-1.0, 4.0, 0, (0.1, -0.1), "frozen"),
            map_run(0.5, 8.0, 0, (0.1, -0.1), "slots"),
        ],
    )
    nan = math.nan
    # Rows: gain 0.5, 4; columns: s = -1, +0.5.
    np.testing.assert_allclose(
        plane(study, signed_separation), [[0.4, nan], [(0.8 + 0.6) / 2, -0.2]], atol=1e-12
    )
    np.testing.assert_allclose(
        plane(study, cross_talk),
        [[(1 - 0.45) / 2, nan], [((1 - 0.85) / 2 + (1 - 0.8) / 2) / 2, (1 - 0.05) / 2]],
        atol=1e-12,
    )
    np.testing.assert_allclose(
        means(study, ["", "frozen", "slots gain=8"], [-1.0, 0.5], signed_separation),
        [[0.7, -0.2], [0.1, nan], [nan, 0.1]],
        atol=1e-12,
    )
    assert len(plane_runs(study)) == 4


def test_the_cells_table_gives_means_and_intervals():
    sizes = (1.0, 0.995, 0.7)
    study = make_study("map", [map_run(-1.0, 4.0, s, (d, -d)) for s, d in enumerate(sizes)])
    (row,) = cells_table(study).rows
    interval, share = mean_interval(sizes), share_interval(2, 3)
    assert row[:3] == ["s=-1", "3", f"2 of 3 [{share.low:.2f}, {share.high:.2f}]"]
    half = number((interval.high - interval.low) / 2)
    assert row[3] == f"{number(interval.estimate)} \N{PLUS-MINUS SIGN}{half}"


def test_an_interval_of_one_seed_is_not_written():
    study = make_study("map", [map_run(-1.0, 4.0, 0, (1.0, -1.0))])
    for table in make_cell_tables(study, judge(study.records, MAP_CLAIMS), MAP_CLAIMS)[1:]:
        text = " ".join(" ".join(row) for row in table.rows)
        assert "\N{PLUS-MINUS SIGN}" not in text
        assert "inf" not in text


def test_the_sentence_counts_cells_of_the_plane():
    runs = [map_run(-1.0, 4.0, seed, (1.0, -1.0)) for seed in range(2)]
    runs += [map_run(0.0, 4.0, seed, (1.0, -1.0 + seed)) for seed in range(2)]
    runs += [map_run(1.0, 4.0, 0, (0.0, 0.0)), map_run(1.0, 4.0, 0, (1.0, -1.0), "frozen")]
    sentence = map_sentence(make_study("map", runs))
    assert sentence.startswith("Of 3 cells of sign and gain, 1 lateralize in every seed and 1 in")


@given(st.floats(0.0, 1.0))
def test_below_the_threshold_nothing_is_predicted(strength):
    assert predict_separation(strength) == 0.0


@given(st.floats(1.0 + 1e-6, 100.0))
def test_the_prediction_solves_its_equation(strength):
    separation = predict_separation(strength)
    assert 0.0 < separation <= 1.0
    assert math.tanh(strength * separation) == pytest.approx(separation, abs=1e-9)


@given(st.floats(0.0, 50.0), st.floats(0.0, 50.0))
def test_the_prediction_never_falls(first, second):
    low, high = sorted((first, second))
    assert predict_separation(low) <= predict_separation(high) + 1e-9


def test_the_prediction_saturates_where_we_say():
    assert predict_separation(SATURATION) == pytest.approx(LATERALIZED, abs=1e-4)
    assert predict_separation(SATURATION) >= LATERALIZED


def test_the_claims_name_the_cells_of_their_side_of_the_threshold():
    plane_cells = [
        cell for cell in lateralization_map.cells() if set(cell.memory) == {"sign", "gain"}
    ]
    plane_cells = [cell for cell in plane_cells if "slots" not in cell.name]
    strengths = {c.name: c.memory["gain"] * (1 - c.memory["sign"]) ** 2 for c in plane_cells}
    assert len(strengths) == 25
    assert set(BELOW_THRESHOLD) == {name for name, x in strengths.items() if x < 1.0}
    assert set(SATURATED) == {name for name, x in strengths.items() if x >= SATURATION}


def test_strengths_follow_from_gain_and_differential_mode():
    run = map_run(-0.5, 2.0, 0, (1.0, -1.0))
    assert initial_strength(run) == pytest.approx(2.0 * 1.5**2)
    # The last coupling is [[1.1, -0.6], [-0.6, 1.1]].
    assert learned_strength(run) == pytest.approx(2.0 * 1.7**2)
    assert learned_strength(map_run(-0.5, 2.0, 0, (1.0, -1.0), curve=[])) is None


def test_one_bank_for_both_domains_is_no_separation_of_the_two():
    assert opposite_separation(map_run(1.0, 4.0, 0, (0.9, 0.9))) == 0.0
    assert opposite_separation(map_run(1.0, 4.0, 0, (-0.9, 0.7))) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.5, 0.4, 0.3, 0.2, 0.1], None),
        ([0.5, 0.5, 0.0, 0.0, 0.0], Jump(step=60, width=20)),
        ([0.5, 0.4, 0.3, 0.2, 0.0], Jump(step=100, width=80)),
        # From 0.5 (at 40 for the last time above 0.45) to below 0.05 + 0.0.
        ([0.4, 0.5, 0.2, 0.04, 0.0], Jump(step=80, width=40)),
        # It rises again: the jump is the first one.
        ([0.5, 0.5, 0.01, 0.3, 0.3], Jump(step=60, width=20)),
        ([0.04, 0.01, 0.0, 0.0, 0.0], Jump(step=20, width=None)),
        ([], None),
    ],
)
def test_the_jump_is_found_by_hand(values, wanted):
    assert find_jump([20 * (place + 1) for place in range(len(values))], values) == wanted


def test_the_table_of_jumps_lists_every_seed():
    curves = {
        0: [(20, 0.5), (40, 0.02), (60, 0.0)],
        1: [(20, 0.5), (40, 0.5), (60, 0.5)],
    }
    runs = [
        synthetic_cell(
            "sequel", "our gain", seed, curve=[{"step": s, "cross_talk": p} for s, p in points]
        )
        for seed, points in curves.items()
    ]
    (row,) = jumps_table(make_study("sequel", runs)).rows
    assert row == ["our gain", "1 of 2", "40, -", "20, -", "0, 0"]


def test_the_sentence_of_a_study_names_the_cells_that_lateralize():
    runs = [synthetic_cell("hard", "easy", seed) for seed in range(2)]
    runs += [
        synthetic_cell("hard", "mixed 0.5", 0),
        synthetic_cell("hard", "mixed 0.5", 1, sides=(1, 1)),
    ]
    sentence = lateralized_sentence(make_study("hard", runs))
    assert sentence.endswith(": easy (1 of 2 cells)")


def test_what_counts_as_lateralized():
    for sides, wanted in [((0.99, -0.99), True), ((0.99, 0.99), False), ((1.0, -0.98), False)]:
        assert is_lateralized(synthetic_cell("map", "s=-1", 0, sides=sides)) == wanted
    runs = [synthetic_cell("map", "a", 0, sides=s) for s in ((0.7, -0.6), (0.9, 0.8), (0.1, -0.4))]
    assert largest_separation(*runs) == pytest.approx(0.6)
    assert least_separation(*runs) == pytest.approx(-0.8)


def test_ids_of_claims_are_unique():
    names = [claim.id for claim in (*CLAIMS, *MAP_CLAIMS, *SEQUEL_CLAIMS, *HARD_CLAIMS)]
    assert len(set(names)) == len(names)


def test_the_benchmark_keeps_its_layout():
    assert layout_of(make_study("synthetic", synthetic_runs(1))).claims is CLAIMS
