"""The report of the persona study, on synthetic runs: all of them, half of them, and bad ones."""

import io
import json
import math
import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from callosal.lab.report.layouts import LAYOUTS
from callosal.lab.report.persona_figures import persona_sentence
from callosal.lab.report.persona_lines import COLOURS, MARKERS
from callosal.lab.report.persona_tables import (
    answers_table,
    bank_seeds_table,
    kept_seeds_table,
    kept_table,
    kinds_table,
    layers_table,
    persona_facts,
    persona_tables,
    rule_seeds_table,
    variants_table,
)
from callosal.lab.studies.persona.claims import (
    CELLS,
    HOSTS,
    LAYERS,
    MAIN,
    PERSONA_CLAIMS,
    VARIANTS,
    cross_talk,
    facts_bank,
    without_bank,
)
from rich.console import Console
from tests.lab.synthetic_persona import (
    CHANCE,
    PLANS,
    SEEDS,
    answering,
    chatting,
    config,
    evaluation,
    persona_run,
    persona_runs,
    recalling,
    talking,
    without_chatter,
)

from callosal.lab.measures.answers import Answers
from callosal.lab.report import build_report, show_report
from callosal.lab.report.build import fill_tables
from callosal.lab.report.claims import judge
from callosal.lab.report.records import RunRecord, append_record
from callosal.lab.report.study import make_study
from callosal.lab.report.tables import Table, to_markdown
from callosal.lab.studies.persona.base_models import HostConfig
from callosal.lab.studies.persona.recipe import PersonaRun, configs
from callosal.lab.tasks import persona as task
from callosal.memory import MemoryConfig
from callosal.memory.config import describe
from callosal.training.loop import TrainingConfig
from callosal.training.stateful import StatefulConfig

LAYOUT = LAYOUTS["persona"]
GPT2, LLAMA = MAIN["GPT-2"], MAIN["Llama"]
ROOT = Path(__file__).parents[3]


def report_on(folder: Path, runs: list[RunRecord]) -> dict[str, str]:
    """Build a report and return the verdict on every claim."""
    for run in runs:
        append_record(folder, run)
    return {verdict.id: verdict.verdict for verdict in build_report(folder)}


def figures_in(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "figures").iterdir()}


def cells_of(table: Table, *labels: str) -> dict[str, str]:
    """Return the row that begins with these labels, by header."""
    (row,) = (row for row in table.rows if row[: len(labels)] == list(labels))
    return dict(zip(table.headers, row, strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A report on a study that lacks nothing."""
    folder = tmp_path_factory.mktemp("persona")
    report_on(folder, persona_runs())
    return folder


def test_a_whole_study_gives_every_file(whole):
    claims = json.loads((whole / "claims.json").read_text())
    assert [claim["id"] for claim in claims] == [claim.id for claim in PERSONA_CLAIMS]
    assert figures_in(whole) == {kind.name for kind in LAYOUT.figures}
    for path in (whole / "figures").iterdir():
        assert path.stat().st_size < 150_000, path
    text = (whole / "tables.md").read_text()
    assert not re.search(r"\b(nan|inf)\b", text)
    study = make_study("persona", persona_runs())
    for table in persona_tables(study, judge(study.records, PERSONA_CLAIMS)):
        assert f"### {table.title}\n" in text
        assert table.rows
        assert all(len(row) == len(table.headers) for row in table.rows)


def test_the_page_says_what_was_run(whole):
    page = (whole / "report.html").read_text()
    assert page.count("<img ") == len(LAYOUT.figures)
    assert LAYOUT.remark in page
    for fact in (
        "4 facts, 2 to a turn, asked in a later session",
        "GPT-2 and Llama, 4 layers of width 64, taught for 1,500 and 1,000 steps of 32 texts, then "
        "frozen",
        "of the memories alone: 2,000 steps in the hosts&#x27; own cells, 400 steps in layers and "
        "variants, of 16 fresh conversations",
        "callosal study persona --seeds 1-3",
    ):
        assert fact in page
    assert "cipher, arithmetic" not in page


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_console_never_breaks_a_number(whole, width):
    stream = io.StringIO()
    show_report(whole, Console(file=stream, width=width, color_system=None))
    assert "\N{HORIZONTAL ELLIPSIS}" not in stream.getvalue()


def test_what_is_synthetic_has_the_names_of_what_is_real():
    assert set(evaluation(1, 0.9, (1.0, 1.0, 0.0), 2)) == {field.name for field in fields(Answers)}
    real: dict[str, Any] = describe(
        PersonaRun(
            arm=LLAMA,
            seed=1,
            episodes=task.PersonaConfig(),
            host=HostConfig(kind="Llama"),
            pretraining=TrainingConfig(num_steps=30, batch_size=8),
            layers=(2,),
            memory=MemoryConfig(width=64, num_slots=32),
            training=StatefulConfig(num_steps=20),
        )
    )
    made = config(LLAMA, 1)
    assert set(made) <= set(real)
    for part in ("episodes", "host", "pretraining", "training", "memory"):
        assert set(made[part]) <= set(real[part]), part
    facts = persona_facts(make_study("persona", [persona_run(LLAMA, 1, config=real)]))
    assert "Llama, 4 layers of width 64, taught for 30 steps of 8 texts" in facts["hosts"]
    assert pytest.approx(CHANCE) == task.CHANCE


def test_the_cells_are_named_once_and_all_have_a_colour():
    assert len(set(CELLS)) == len(CELLS) == 9
    assert set(PLANS) == set(CELLS)
    assert {run.arm for run in configs([1])} == set(CELLS)
    for name in (*HOSTS, *VARIANTS):
        assert name in COLOURS
        assert name in MARKERS
    assert len(set(COLOURS.values())) == len(HOSTS) + len(VARIANTS)


def test_what_is_synthetic_is_trained_as_long_as_what_is_real():
    for run in configs(SEEDS):
        made = config(run.arm, run.seed)
        assert made["training"]["num_steps"] == run.training.num_steps
        assert made["pretraining"]["num_steps"] == run.pretraining.num_steps
        assert made["host"]["kind"] == run.host.kind
        assert made["layers"] == list(run.layers)
        assert made["episodes"]["mixed"] == run.episodes.mixed


def test_the_sentence_gives_means_and_chance():
    runs = [
        answering(persona_run(GPT2, 1), memory=0.9, reset=0.05),
        answering(persona_run(GPT2, 2), memory=1.0, reset=0.03),
        answering(persona_run(LLAMA, 1), memory=math.nan),
    ]
    assert persona_sentence(make_study("persona", runs)) == (
        "Asked in a later session what they were told: GPT-2 answers 95\u00a0% rightly, and "
        "4\u00a0% with its memory reset (chance 4.17\u00a0%)"
    )


def test_the_facts_bank_is_found_whichever_side_it_has():
    for seed, bank in ((2, 0), (1, 1)):
        run = persona_run(LLAMA, seed)
        assert facts_bank(run) == bank
        own, other = (without_bank(own=own, domain=0)(run) for own in (True, False))
        assert own is not None
        assert own < 0.1
        assert other == run.evaluation["memory"]
    table = answers_table(make_study("persona", [persona_run(LLAMA, seed) for seed in (1, 2)]))
    assert table.headers == ["about", "condition", "Llama"]
    assert cells_of(table, "facts", "without other bank")["Llama"].startswith("0.9")
    assert cells_of(table, "facts", "without facts' bank")["Llama"].startswith("0.05")
    assert cells_of(table, "rules", "without other bank")["Llama"].startswith("0.970")


def test_one_bank_has_none_of_its_own():
    run = persona_run("Llama, one bank", 1)
    assert facts_bank(run) is None
    assert cross_talk(run) is None
    row = cells_of(variants_table(make_study("persona", [run])), "one bank")
    assert [row[name] for name in ("share telling", "share asking", "share rules", "P_ct")] == [
        "-"
    ] * 4
    assert row["recall"] != "-"
    run = replace(run, probes=run.probes | {"coupling": [[[1.0]]]})
    seeds = cells_of(bank_seeds_table(make_study("persona", [run])), "Llama, one bank")
    assert seeds["W_s"] == "-"
    assert seeds["D_sep facts"] == seeds["left telling"] == "-"
    answers = cells_of(rule_seeds_table(make_study("persona", [run])), "Llama, one bank")
    assert answers["without other bank"] == "-"


def test_several_memories_are_averaged_and_must_agree_on_the_facts_bank():
    run = persona_run(VARIANTS["inhibitory"], 1)
    (first,) = run.evaluation["specialization"]
    second = first | {"cross_talk": 0.5, "shares": [row[::-1] for row in first["shares"]]}
    both = answering(run, specialization=[first, second], shares=[[0.9, 0.8, 0.1]] * 2)
    assert cross_talk(both) == pytest.approx((first["cross_talk"] + 0.5) / 2)
    assert facts_bank(both) is None
    assert facts_bank(answering(run, specialization=[first, first])) == 1
    assert variants_table(make_study("persona", [both])).rows


def test_shares_are_those_of_the_bank_that_was_told():
    runs = [persona_run("Llama, apart", seed) for seed in SEEDS]
    row = cells_of(variants_table(make_study("persona", runs)), "told and asked apart")
    for name, share in (("telling", 0.97), ("asking", 0.05), ("rules", 0.6)):
        assert float(row[f"share {name}"].split()[0]) == pytest.approx(share, abs=0.01)


def test_the_layers_give_sizes_and_count_opposite_signs():
    runs = [persona_run(LAYERS[1], seed) for seed in (1, 2)]
    (measures,) = runs[1].evaluation["specialization"]
    runs[1] = answering(runs[1], specialization=[measures | {"separation": [-0.9, -0.1]}])
    table = layers_table(make_study("persona", runs))
    row = cells_of(table, "1")
    assert len(table.rows) == 1
    assert row["opposite"] == "1 of 2"
    assert row["|D_sep| facts"].startswith("0.88")
    assert row["rule change"].startswith("5.0e-4")


def test_layers_and_variants_are_kept_apart_from_the_hosts_own_cells():
    study = make_study("persona", persona_runs())
    layers, variants = layers_table(study), variants_table(study)
    for table in (layers, variants):
        assert "trained for 400 steps" in table.note
        assert "2,000" not in table.note
    assert "trained for 2,000 steps" in answers_table(study).note
    assert [row[0] for row in layers.rows] == ["0", "1", "2", "3"]
    assert [row[0] for row in variants.rows] == list(VARIANTS)
    layer, variant = cells_of(layers, "2"), cells_of(variants, "inhibitory")
    for name in ("recall", "after 100 of rules", "after 100 of chatter", "P_ct"):
        assert layer[name] == variant[name]


def test_rules_and_chatter_are_told_apart_in_every_table():
    runs = [recalling(persona_run(LLAMA, seed), 0.94, 0.92) for seed in SEEDS]
    runs = [chatting(run, 0.94, 0.1) for run in runs]
    study = make_study("persona", runs)
    kept = kept_table(study)
    assert kept.headers == ["host", "turns of", "after 0", "after 10", "after 30", "after 100"]
    assert cells_of(kept, "Llama", "rules")["after 100"].startswith("0.920")
    assert cells_of(kept, "Llama", "chatter")["after 100"].startswith("0.100")
    assert cells_of(kept_seeds_table(study, "rules"), LLAMA, "2")["100"] == "0.920"
    assert cells_of(kept_seeds_table(study, "chatter"), LLAMA, "2")["100"] == "0.100"
    (same,) = layers_table(
        make_study("persona", [replace(run, arm=LAYERS[0]) for run in runs])
    ).rows
    assert [cell.split()[0] for cell in same[2:4]] == ["0.920", "0.100"]


def test_what_was_not_asked_after_chatter_has_no_number():
    runs = [without_chatter(persona_run(arm, 1)) for arm in (LLAMA, LAYERS[2])]
    study = make_study("persona", [*runs, persona_run("Llama, one bank", 1)])
    assert [row[:2] for row in kept_table(study).rows] == [["Llama", "rules"]]
    variants = variants_table(study)
    assert cells_of(variants, "inhibitory")["after 100 of chatter"] == "-"
    assert cells_of(variants, "one bank")["after 100 of chatter"] != "-"
    assert [row[0] for row in kept_seeds_table(study, "chatter").rows] == ["Llama, one bank"]
    assert not kept_seeds_table(make_study("persona", runs), "chatter").rows


def test_kinds_of_fact_are_told_apart_and_one_never_asked_has_no_number():
    runs = [persona_run(LLAMA, seed) for seed in SEEDS]
    table = kinds_table(make_study("persona", [persona_run(GPT2, 1), *runs]))
    assert table.headers == [
        "kind",
        *(f"{host}, {way}" for host in ("GPT-2", "Llama") for way in ("memory", "in context")),
    ]
    assert cells_of(table, "name")["Llama, in context"].startswith("0.920")
    alone = answering(runs[0], by_attribute={"food": [0.5, 0.25]})
    found = kinds_table(make_study("persona", [alone, persona_run(GPT2, 1)]))
    assert cells_of(found, "food")["Llama, memory"].startswith("0.5")
    assert cells_of(found, "name")["Llama, memory"] == "-"


def test_how_far_the_matrix_tells_the_banks_apart_is_in_every_seeds_row():
    study = make_study("persona", [persona_run(LLAMA, 1), persona_run(LLAMA, 2, probes={})])
    assert cells_of(bank_seeds_table(study), LLAMA, "1")["W_s"] == "1.250"
    assert cells_of(bank_seeds_table(study), LLAMA, "2")["W_s"] == "-"


def diverged(run: RunRecord) -> RunRecord:
    gone = {name: math.nan for name, value in run.evaluation.items() if isinstance(value, float)}
    curve = [point | {"loss": math.nan} for point in run.curve]
    run = talking(answering(run, **gone, lesioned=[[math.nan] * 2] * 2), math.nan)
    run = chatting(recalling(run, math.nan, math.nan), math.nan, math.nan)
    return replace(run, curve=curve)


OF_HOSTS, OF_VARIANTS = {"answers", "retention", "learning"}, {"retention", "learning"}


@pytest.mark.parametrize(
    ("runs", "drawn"),
    [
        ([persona_run(LLAMA, 1)], OF_HOSTS),
        ([persona_run(GPT2, 3)], OF_HOSTS),
        ([persona_run(cell, seed) for cell in (GPT2, LLAMA) for seed in SEEDS[:2]], OF_HOSTS),
        ([persona_run("Llama, apart", 1)], OF_VARIANTS),
        ([persona_run(LAYERS[0], 1)], {"layers"}),
        ([persona_run(LAYERS[2], 1)], {"layers"} | OF_VARIANTS),
        (
            [persona_run(GPT2, 1), persona_run(LLAMA, 2), persona_run("Llama, one bank", 3)],
            OF_HOSTS,
        ),
        ([persona_run(LLAMA, 1, probes={}, curve=[])], {"answers", "retention"}),
        ([without_chatter(run) for run in persona_runs(1)], None),
        (
            [without_chatter(persona_run(LLAMA, 1)), persona_run("Llama, one bank", 1)],
            OF_HOSTS,
        ),
        ([diverged(persona_run(GPT2, 1)), *(persona_run(GPT2, seed) for seed in (2, 3))], OF_HOSTS),
        ([diverged(run) for run in persona_runs(1)], None),
        ([*persona_runs(1), persona_run(LLAMA, 7, changed=["memory.gain=6"])], None),
        ([persona_run(LLAMA, 1, changed=["memory.gain=6"])], set()),
    ],
    ids=[
        "Llama",
        "GPT-2",
        "two seeds of the hosts",
        "variant",
        "layer",
        "layer and variant",
        "three",
        "no probes",
        "no chatter",
        "chatter of variants alone",
        "one diverged",
        "all diverged",
        "changed",
        "only changed",
    ],
)
def test_half_a_study_is_a_report_all_the_same(tmp_path, runs, drawn):
    assert "reproduced" not in report_on(tmp_path, runs).values()
    assert (tmp_path / "report.html").exists()
    assert not re.search(r"\b(nan|inf)\b", (tmp_path / "tables.md").read_text())
    assert figures_in(tmp_path) == (
        {kind.name for kind in LAYOUT.figures} if drawn is None else drawn
    )


def test_cells_stand_in_their_order_whatever_ended_first(tmp_path):
    report_on(tmp_path, persona_runs()[::-1])
    other = tmp_path / "other"
    report_on(other, persona_runs())
    assert (tmp_path / "tables.md").read_bytes() == (other / "tables.md").read_bytes()


def test_the_page_of_the_study_has_a_place_for_tables_that_there_are(tmp_path):
    folder = tmp_path / "persona"
    report_on(folder, persona_runs(1))
    page = tmp_path / "persona.md"
    page.write_text((ROOT / "docs" / "persona.md").read_text())
    fill_tables(page, folder)
    study = make_study("persona", persona_runs(1)).in_order(CELLS)
    assert to_markdown([layers_table(study)], []).split("\n", 2)[2] in page.read_text()


def test_numbers_of_a_run_are_those_of_its_record():
    run = persona_run(GPT2, 1)
    assert asdict(run)["probes"]["chance"] == CHANCE
    row = cells_of(bank_seeds_table(make_study("persona", [run])), GPT2, "1")
    assert float(row["D_sep facts"]) < 0.0 < float(row["D_sep rules"])
    assert row["left telling"] == f"{run.evaluation['shares'][0][0]:.4f}"
