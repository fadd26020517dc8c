"""Pictures: labels that make room for each other, marks of few or no numbers, the same bytes every time."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from tests.lab import recorded
from tests.lab.synthetic import run, runs, study

from callosal.lab.measures.intervals import AMOUNT
from callosal.lab.report import plots
from callosal.lab.report.curves import curve, eigenvalues, has_curve, recall_by_size
from callosal.lab.report.marks import ARM_COLOURS, ARM_MARKERS, Bars, Dots, Heat, Line, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, Reference, draw, style, to_png
from callosal.lab.report.records import ARMS
from callosal.lab.report.study import of
from callosal.lab.studies.benchmark import recipe

NAN = float("nan")


@pytest.fixture(autouse=True)
def styled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plots, "DOTS_PER_INCH", 40)
    with style():
        yield


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=12), st.floats(0.01, 0.2))
def test_labels_make_room_keep_their_order_and_stay_inside_where_they_fit(heights: list[float], gap: float) -> None:
    moved = plots.spread(heights, gap)
    order = np.argsort(heights, kind="stable")
    placed = np.array(moved)[order]
    assert (np.diff(placed) >= gap - 1e-9).all()
    if gap * (len(heights) - 1) <= plots.CEILING - plots.FLOOR:
        assert placed[0] >= plots.FLOOR - 1e-9
        assert placed[-1] <= plots.CEILING + 1e-9
    # Who has room already and is inside is left alone.
    inside = np.array(heights)[order]
    if (np.diff(inside) >= gap).all() and inside[0] >= plots.FLOOR and inside[-1] <= plots.CEILING:
        assert placed == pytest.approx(inside, abs=1e-9)


REFERENCES = [
    Reference(at=0.5, text="a", is_vertical=vertical, is_above=above, on_right=right)
    for vertical, above, right in product((False, True), repeat=3)
]
ONE, SEEDS, LOST = np.array([[1.0, 2.0]]), np.array([[1.0, 2.0], [2.0, 3.0]]), np.full((2, 2), NAN)


def drawn(*given: Any, **how: Any) -> Figure:
    figure = draw(*given, **how)
    assert figure is not None
    return figure


@pytest.mark.parametrize(
    "mark",
    [
        *(Line(x=[0, 1], seeds=seeds, name="a") for seeds in (ONE, SEEDS, LOST)),
        *(Line(x=[0, 1], seeds=s, name="a", mean="geometric", marker="o") for s in (ONE, LOST)),
        *(Line(x=[0, 1], seeds=SEEDS, mean=None, shows_seeds=False, marker=m) for m in ("", "o")),
        Line(x=[0, 1], seeds=np.array([[1.0, NAN], [1.0, 2.0]]), name="a", is_main=True),
        *(Dots(place=0, values=v, within=AMOUNT) for v in ([], [1.0], [1.0, 2.0], [NAN, 1.0])),
        Dots(place=0, values=[], reach=0.5, is_column=True, marker="o"),
        *(Bars(places=[0], heights=np.array([1.0]), seeds=s) for s in (None, np.ones((1, 1)))),
        Bars(places=[], heights=np.zeros(0)),
        *(Points(x=x, y=x, marker=m) for x in ([], [1.0, NAN]) for m in ("", "o", "D")),
        Points(x=[1.0], y=[2.0], is_filled=False),
        Heat(table=np.array([[0.0, NAN]]), text="{:.1f}".format, notes=[["x", "y"]], bar="b"),
        Heat(table=np.full((2, 2), NAN), gaps=False),
    ],
    ids=lambda mark: type(mark).__name__,
)
def test_a_mark_of_few_numbers_or_none_is_drawn_the_same_every_time(mark: Mark) -> None:
    panel = Panel(marks=[mark], title="t", is_labelled=True, references=[Reference(at=0.5)])
    one, other = (to_png(drawn([[panel]], (4.0, 3.0))) for _ in range(2))
    assert one == other
    assert one.startswith(b"\x89PNG")


def test_a_line_ends_where_its_seeds_that_end_do() -> None:
    ends = [Line(x=[0, 1], seeds=np.array(s)).end for s in (SEEDS, [[1.0], [NAN]], [[1.0], [np.inf]], LOST)]
    assert ends == pytest.approx([2.5, 1.0, 1.0, NAN], nan_ok=True)
    assert Line(x=[0, 1], seeds=np.array([[1.0], [4.0]]), mean="geometric").end == pytest.approx(2.0)


def test_panels_legends_axes_and_references_of_every_kind() -> None:
    lines = [Line(x=[0, 1, 10], seeds=np.array([[0.1, 0.2, 0.3]]), name="a")] * 2
    panels = [
        [
            Panel(marks=lines, x=plots.counts("n", 10), y=plots.percent("%"), is_labelled=True),
            Panel(marks=lines, y=Axis(scale="log", has_grid=True), x=plots.words("ab", angle=30)),
        ],
        [None, Panel(marks=[Points(x=[1], y=[1])], references=REFERENCES)],
    ]
    keys = [Key(name="a"), Key(name="b", marker="patch"), Key(name="c", marker="o")]
    assert draw([[None], []], (8.0, 6.0)) is None
    figure = drawn(panels, (8.0, 6.0), legend=keys, share=(False, "row"), ratios=([1, 2], [1, 1]))
    assert [axes.get_visible() for axes in figure.axes] == [True, True, False, True]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    first = figure.axes[0]
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["0", "1", "10"]
    heights = [text.get_position()[1] for text in first.texts]
    assert abs(heights[0] - heights[1]) >= plots.LABEL_GAP - 1e-9
    assert to_png(figure)


def test_modes_of_the_coupling_are_its_eigenvalues() -> None:
    for num_banks, sign in [(1, 0.0), (2, -1.0), (3, 0.5), (4, 1.0)]:
        coupling = np.eye(num_banks) + sign * (1 - np.eye(num_banks))
        common, differential = eigenvalues(coupling[None, None])
        wanted = np.sort([common.item(), *[differential.item()] * (num_banks - 1)])
        np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(coupling)), wanted, atol=1e-12)


def test_a_curve_has_the_steps_that_all_seeds_logged() -> None:
    shorter = run("inhibitory", 1)
    made = study(run("inhibitory", 0), run("inhibitory", 1, curve=shorter.curve[1:-1]), *runs(1)[:1])
    steps, losses = curve(made, "inhibitory", "episodic_loss")
    assert steps == [200, 400, 600, 800]
    assert losses.shape == (2, 4)
    assert [has_curve(made, arm, "coupling") for arm in (*ARMS[:2], "none")] == [False, True, False]


def test_arms_have_one_look_each_and_the_recipes_names() -> None:
    assert {"no-memory", *recipe.SIGNS} == set(ARMS)
    for looks in (ARM_COLOURS, ARM_MARKERS):
        assert tuple(looks) == ARMS
        assert len(set(looks.values())) == len(ARMS)


def test_recall_by_size_stands_over_what_a_state_holds_by_then_neighbours_side_by_side() -> None:
    made = recorded.report("rivals").study
    shown = {arm: made.where(arm=arm) for arm in ("inhibitory", "uncoupled", "one bank", "full history", "no memory")}
    look = dict.fromkeys(shown, "#000000"), dict.fromkeys(shown, "o")
    early, late = (recall_by_size(made, shown, after, *look, beside=1.5) for after in (30, 1000))
    # Without a memory nothing is held.
    assert list(early) == [arm for arm in shown if arm != "no memory"]
    for found, after in ((early, 30), (late, 1000)):
        places = [found[arm].x[0] / 2048 for arm in ("inhibitory", "uncoupled", "one bank")]
        assert places == pytest.approx([1.0, 1 / 1.5, 1.5])
        # A key and a value, each 32 wide, of 16 tokens of every segment: the cipher and the arithmetic, twice each.
        assert found["full history"].x == [(4 + after) * 16 * 2 * 32] * 5
        assert found["one bank"].y == made.values(of("recall", after=after), shown["one bank"])
    assert recall_by_size(made, shown, 7, *look) == {}
