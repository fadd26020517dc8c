"""Every part of the speed suite runs, its record has what the page reads, and bars are judged rightly."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.speed import page
from benchmarks.speed.bars import BARS, NOT_MEASURED, verdict
from benchmarks.speed.contenders import CONTENDERS, Attention
from benchmarks.speed.quick import earlier, trunk_alone
from benchmarks.speed.timing import in_turn, ratio, spread
from tests.apart import ROOT, python
from tests.laws import assert_near

from callosal.lab.models.transformer import Transformer, TransformerConfig


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    """Every part's record, measured with --quick in a process of its own."""
    found = {}
    for part in page.PARTS:
        done = python("-m", f"benchmarks.speed.{part}", "--quick", cwd=ROOT, add={"TERM": "dumb"})
        assert done.returncode == 0, done.stderr
        found[part] = json.loads(done.stdout.splitlines()[-1])
    # One contender alone is weighed then.
    for row in found["peers"]["rows"]:
        row.setdefault("training_mib", 1.0)
    return found


def test_every_part_says_what_it_is_and_where_it_was_measured(quick: dict[str, Any]) -> None:
    for part, record in quick.items():
        assert (record["part"], record["quick"]) == (part, True)
        assert {"torch", "python", "cpu", "threads", "load"} <= record["machine"].keys()
        assert record["seconds"] > 0
    assert {row["name"] for row in quick["peers"]["rows"]} == set(CONTENDERS)
    assert quick["peers"]["rows"][0]["forward_mib"] >= 0
    assert [len(quick["scale"][name]) for name in ("stream", "attention", "users", "banks")] == [10, 1, 2, 2]
    assert len(quick["host"]["rows"]) == 6
    assert [row["variant"] for row in quick["host"]["compiled"]["rows"]] == ["alone", "1 layer", "alone, not compiled"]
    assert quick["segments"]["rows"][0]["most"]["median"] > 0
    assert quick["peers"]["rows"][0]["forward_over_floor"]["median"] > 0


def test_the_page_and_its_pictures_are_made_of_any_whole_records(quick: dict[str, Any], tmp_path: Path) -> None:
    # The pictures of the floor show the centre of the grid, which a quick run has not.
    quick["floor"]["rows"][0] |= {"width": 256, "slots": 64, "banks": 2}
    text = page.filled(page.PAGE.read_text(), quick)
    assert page.filled(text, quick) == text
    assert "no `" not in text.replace("no `store.json`", "")
    drawn = page.draw(quick, tmp_path)
    assert {path.stem for path in drawn} == set(page.FIGURES)
    before = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in page.draw(quick, tmp_path)] == before


def test_the_page_and_the_pictures_are_those_of_the_records() -> None:
    records = page.read()
    assert page.filled(page.PAGE.read_text(), records) == page.PAGE.read_text()
    drawn = {path.stem for path in page.PICTURES.glob("*.png")}
    assert drawn == {name for name, (part, _) in page.FIGURES.items() if part in records}


def one(median: float) -> dict[str, float]:
    return {"median": median, "low": median - 0.5, "high": median + 0.5, "rounds": 5}


def records() -> dict[str, Any]:
    """Some of what the bars look into."""
    stages = [{"stage": "layer", "pass": way, "ratio": one(1.2)} for way in ("forward", "training")]
    slow = [{"stage": "layer", "pass": way, "ratio": one(1.9)} for way in ("forward", "training")]
    titans = [
        {"name": "titans-pytorch", "forward_ratio": one(n), "training_ratio": one(12.0), "forward_over_floor": one(m)}
        for n, m in ((20.0, 25.0), (9.0, 9.5))
    ]
    compiled = [{"variant": "alone", "ratio": one(1.0)}, {"variant": "1 layer", "ratio": one(1.04)}]
    return {
        "peers": {"rows": [*titans, {"name": "nn.LSTM", "forward_ratio": one(0.1), "training_ratio": one(0.1)}]},
        "floor": {"rows": [{"width": 256, "stages": stages}, {"width": 64, "stages": slow}]},
        "host": {
            "rows": [{"variant": "1 layer", "users": n, "ratio": one(r)} for n, r in ((1, 1.05), (16, 1.06))],
            "compiled": {"rows": compiled},
        },
        "scale": {"stream": [{"ratio": one(1.0), "held_mib": 100.0}, {"ratio": one(1.2), "held_mib": 105.0}]},
        "segments": {
            "rows": [{"batch": n, "ratio": one(r), "most": one(m)} for n, r, m in ((1, 2.5, 6.0), (4, 1.2, 3.0))]
        },
        "quick": {
            "rows": [{"side": "step", "over_before": one(0.8)}, {"side": "multiplications", "over_before": one(0.7)}]
        },
    }


def test_bars_are_judged_by_the_worst_case() -> None:
    found = [verdict(bar, records()) for bar in BARS]
    assert found[0] == ("9.00 [8.50, 9.50]", "9.50 [9.00, 10.00]", "out of reach")
    assert found[2] == ("1.20 [0.70, 1.70]", "1.00", "met")
    assert [word for _, _, word in found] == [
        *("out of reach", "met"),
        *("met", "met", "met", "met"),
        *("met", "not met", "met"),
        *("not met", "met"),
        *("not met", "met"),
        "not met",
        NOT_MEASURED,
    ]
    assert BARS[-1].what.startswith("GPU")


def test_a_bar_without_a_floor_on_record_is_missed_and_no_more() -> None:
    known = records()
    for row in known["peers"]["rows"]:
        row.pop("forward_over_floor", None)
    for row in known["quick"]["rows"]:
        row["over_before"] = None
    assert verdict(BARS[0], known) == ("9.00 [8.50, 9.50]", "-", "not met")
    assert verdict(BARS[-2], known) == (NOT_MEASURED, "-", NOT_MEASURED)
    assert {bar.part: verdict(bar, {}) for bar in BARS}["peers"] == (NOT_MEASURED, "-", NOT_MEASURED)


def test_the_table_of_bars_says_what_each_would_be_at_the_floor() -> None:
    lines = page.bars(records()).splitlines()
    assert lines[0] == "| bar | wanted | measured | at the floor | verdict |"
    assert lines[2].endswith("| at least 10 | 9.00 [8.50, 9.50] | 9.50 [9.00, 10.00] | out of reach |")
    assert sum(line.endswith("| 1.00 | met |") for line in lines) == 4


def test_a_step_of_quick_is_told_without_the_commit_before() -> None:
    row: dict[str, Any] = {"seconds_a_step": one(0.1), "over_step": one(1.0), "over_before": None}
    rows = [{"side": name} | row for name in ("trunk", "memory", "multiplications", "without memory", "step")]
    lines = page.quick({"commit_before": "abc", "rows": rows}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| inhibitory arm", "| arm without memory"]
    assert all(line.endswith("| - |") for line in lines[2:])
    with_before = page.quick(
        {"commit_before": "abc", "rows": [*rows, {"side": "before"} | row | {"over_before": one(1.0)}]}
    )
    assert "at commit abc" in with_before


def test_the_multiplications_of_a_trunk_are_those_of_its_maps_and_of_attention() -> None:
    model = Transformer(TransformerConfig(num_tokens=10, max_time=6, width=8, num_heads=2))
    _, inputs = trunk_alone(model, 3, 6)
    pairs = list(zip(inputs[::2], inputs[1::2], strict=True))
    maps = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    found = [tuple(right.shape) for left, right in pairs if left.ndim == 2]
    assert found == [(module.in_features, module.out_features) for module in maps]
    assert all(left.shape[0] == 18 for left, _ in pairs if left.ndim == 2)
    products = [(left @ right).shape for left, right in pairs if left.ndim == 3]
    assert products == [(6, 6, 6), (6, 6, 4)] * 2


def test_another_commits_package_is_its_own(tmp_path: Path) -> None:
    assert earlier("no such commit", tmp_path) is None
    source = earlier("HEAD", tmp_path)
    assert source is None or (source / "callosal" / "__init__.py").exists()


def test_sides_take_turns() -> None:
    calls: list[str] = []

    def side(name: str) -> None:
        calls.append(name)
        torch.ones(1_000_000).exp().sum()

    samples = in_turn({"a": lambda: side("a"), "b": lambda: side("b")}, seconds=0.0, least=4, most=4)
    assert {name: len(found) for name, found in samples.items()} == {"a": 4, "b": 4}
    assert calls[-1] != calls[0] or set(calls) == {"a", "b"}
    assert ratio([2.0, 4.0], [1.0, 2.0]) == spread([2.0, 2.0])


@pytest.mark.parametrize(("window", "num_tokens"), [(4, 11), (3, 2), (None, 9)])
def test_attention_at_once_is_attention_token_by_token(window: int | None, num_tokens: int) -> None:
    peer, hidden = Attention(8, window).double(), torch.randn(2, num_tokens, 8).double()
    parts, state = [], None
    for token in hidden.split(1, dim=1):
        part, state = peer.step(token, state)
        parts.append(part)
    assert_near(torch.cat(parts, dim=1), peer(hidden))


@pytest.mark.parametrize("name", ["callosal", "Gated DeltaNet", "nn.LSTM", "attention, window"])
def test_what_a_contender_is_said_to_hold_is_what_it_holds(name: str) -> None:
    peer = CONTENDERS[name][1](16, 8)
    assert peer.state_floats(64) == {"callosal": 256, "nn.LSTM": 32, "attention, window": 256}.get(
        name, 16 * 16 + 3 * 48
    )
