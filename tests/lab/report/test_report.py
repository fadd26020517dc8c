"""The report of clearly synthetic runs: what it holds, and what it does with half a study."""

import base64
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from callosal.lab.report.drawing import ARM_COLOURS, spread
from callosal.lab.report.figures import KINDS, retention_sentence
from callosal.lab.report.training_figures import modes_of
from rich.console import Console
from tests.lab.synthetic import synthetic_run, synthetic_runs

from callosal.lab.report import build_report, show_report
from callosal.lab.report.build import fill_tables
from callosal.lab.report.claims import CLAIMS, judge
from callosal.lab.report.records import ARMS, RecordError, RunRecord, append_record
from callosal.lab.report.study import load_study, make_study
from callosal.lab.report.tables import claims_table, number, study_tables, to_markdown
from callosal.lab.studies.benchmark import recipe as recipes


def write_runs(folder: Path, runs: list[RunRecord]) -> Path:
    for run in runs:
        append_record(folder, run)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_report_never_imports_torch(tmp_path):
    write_runs(tmp_path, [synthetic_run("inhibitory", 0)])
    code = (
        "import sys; from pathlib import Path; from callosal.lab.report import build_report;"
        f"build_report(Path({str(tmp_path)!r}));"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'torch']"
    )
    # A process of its own, because here the rest of the suite has imported torch already.
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A report on a study that lacks nothing."""
    folder = write_runs(tmp_path_factory.mktemp("whole"), synthetic_runs())
    build_report(folder)
    return folder


def test_a_whole_study_gives_every_file(whole):
    claims = json.loads((whole / "claims.json").read_text())
    assert [claim["id"] for claim in claims] == [claim.id for claim in CLAIMS]
    names = "id claim source reported measured low high seeds per_seed verdict criterion"
    assert all(" ".join(claim) == names for claim in claims)
    assert [claim["verdict"] for claim in claims] == [v.verdict for v in judge(synthetic_runs())]
    assert {path.stem for path in (whole / "figures").iterdir()} == {kind.name for kind in KINDS}
    for path in (whole / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 150_000, path
    assert not list(whole.rglob("*.part"))


def test_the_same_runs_give_the_same_bytes(tmp_path):
    write_runs(tmp_path, synthetic_runs(2))
    build_report(tmp_path)
    before = files_of(tmp_path)
    build_report(tmp_path)
    assert files_of(tmp_path) == before


def test_the_page_needs_nothing_but_itself(whole):
    page = " ".join((whole / "report.html").read_text().split())
    for word in ("<script", "<link", "@import"):
        assert word not in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == len(KINDS)
    for source in sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    assert page.index("<figure>") < page.index("Reported against measured")
    for word in ("2603.03355", "2603.07217", "other scales"):
        assert word in page
    for claim in CLAIMS:
        assert (claim.source == "ours") or claim.reported.replace(">", "&gt;") in page
    assert "callosal reproduce --recipe synthetic --seeds 0-2" in page


def test_text_of_the_runs_cannot_break_the_page(tmp_path):
    run = synthetic_run("inhibitory", 0, versions={"torch": "<b>&"})
    write_runs(tmp_path, [run])
    build_report(tmp_path)
    assert "<b>&" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("arm", ["no-memory", "excitatory"])
def test_one_run_alone_is_a_report(tmp_path, arm):
    write_runs(tmp_path, [synthetic_run(arm, 4)])
    verdicts = build_report(tmp_path)
    assert all(verdict.verdict != "reproduced" for verdict in verdicts)
    assert all(verdict.low is None for verdict in verdicts)
    assert (tmp_path / "report.html").exists()


def test_an_absent_arm_leaves_its_claims_undecided(tmp_path):
    write_runs(tmp_path, [run for run in synthetic_runs() if run.arm != "no-memory"])
    by_id = {verdict.id: verdict for verdict in build_report(tmp_path)}
    for name in ("baseline-at-chance", "inhibitory-cipher-ratio", "inhibitory-arithmetic"):
        assert by_id[name].verdict == "undecided"
        assert by_id[name].seeds == by_id[name].per_seed == []
        assert by_id[name].measured is None
    assert by_id["inhibitory-separation"].verdict == "reproduced"
    assert "No runs of: no-memory" in (tmp_path / "report.html").read_text()


def test_runs_without_snapshot_or_curve_draw_the_rest(tmp_path):
    write_runs(tmp_path, [synthetic_run("inhibitory", 0)])
    build_report(tmp_path)
    (tmp_path / "runs.jsonl").unlink()
    write_runs(tmp_path, [synthetic_run("inhibitory", 0, snapshot=None, curve=[])])
    build_report(tmp_path)
    # Figures of the earlier report that can no longer be drawn would lie about these runs.
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"retention", "shares"}


def test_more_than_two_banks_are_drawn(tmp_path):
    run = synthetic_run("inhibitory", 0)
    shares = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    measures = run.evaluation["specialization"] | {"shares": shares}
    coupling = np.full((3, 3), -0.5) + 1.5 * np.eye(3)
    curve = [point | {"coupling": coupling.tolist()} for point in run.curve]
    snapshot = {"norms": np.ones((5, 3, 4)).tolist(), "domains": [0, 1, 0, 1], "bound": 9.0}
    evaluation = run.evaluation | {"specialization": measures}
    write_runs(
        tmp_path,
        [synthetic_run("inhibitory", 0, evaluation=evaluation, curve=curve, snapshot=snapshot)],
    )
    build_report(tmp_path)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {kind.name for kind in KINDS}


def test_runs_off_their_recipe_are_listed_apart(tmp_path):
    runs = [*synthetic_runs(), synthetic_run("inhibitory", 9, changed=["memory.gain=6"])]
    write_runs(tmp_path, runs)
    assert all(9 not in verdict.seeds for verdict in build_report(tmp_path))
    text = (tmp_path / "tables.md").read_text()
    assert "1 run with settings changed by hand left out" in text
    assert "memory.gain=6" in text


def test_a_folder_of_nothing_but_changed_runs_is_a_report_too(tmp_path):
    write_runs(tmp_path, [synthetic_run("inhibitory", 0, changed=["memory.gain=6"])])
    assert {verdict.verdict for verdict in build_report(tmp_path)} == {"undecided"}
    assert "memory.gain=6" in (tmp_path / "report.html").read_text()


def test_two_recipes_in_one_folder_are_refused(tmp_path):
    runs = [synthetic_run("inhibitory", 0), synthetic_run("inhibitory", 1, recipe="other")]
    write_runs(tmp_path, runs)
    with pytest.raises(ValueError, match="other, synthetic"):
        build_report(tmp_path)
    assert not (tmp_path / "claims.json").exists()


def test_a_folder_without_runs_says_so(tmp_path):
    with pytest.raises(RecordError, match=r"runs\.jsonl"):
        build_report(tmp_path)


def test_the_console_shows_every_verdict(whole):
    stream = io.StringIO()
    show_report(whole, Console(file=stream, width=200, color_system=None))
    text = stream.getvalue()
    assert "Reported against measured" in text
    assert text.count("reproduced") >= len(CLAIMS) - 1
    for word in ("124x", "Every seed", "met by"):
        assert word in text


@pytest.mark.parametrize("width", [80, 110, 160])
def test_the_console_never_breaks_a_number(whole, width):
    stream = io.StringIO()
    show_report(whole, Console(file=stream, width=width, color_system=None))
    text = stream.getvalue()
    study = load_study(whole)
    for table in study_tables(study, judge(study.records)):
        for row in table.rows:
            for word in " ".join(row[table.num_labels :]).split():
                assert word in text


def test_markdown_tables_have_as_many_cells_as_headers():
    study = make_study("synthetic", synthetic_runs())
    tables = study_tables(study, judge(study.records))
    for table in tables:
        assert all(len(row) == len(table.headers) for row in table.rows)
    for line in to_markdown(tables, study.notes).splitlines():
        if line.startswith("|"):
            assert line.endswith(" |")
    counts = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in to_markdown(tables[:1], []).splitlines()
        if line.startswith("|")
    }
    assert counts == {len(tables[0].headers) + 1}


def test_an_interval_of_one_seed_is_not_written():
    study = make_study("synthetic", [synthetic_run("inhibitory", 0)])
    for table in study_tables(study, judge(study.records)):
        for row in table.rows:
            assert not {"inf", "nan"} & set(re.findall(r"[a-z]+", " ".join(row))), row


def test_the_table_gives_the_mean_of_the_seeds():
    runs = synthetic_runs()
    table = claims_table(judge(runs))
    row = next(row for row in table.rows if row[1] == "124x")
    losses = {(run.arm, run.seed): run.evaluation["cipher_loss"] for run in runs}
    logs = [math.log(losses["no-memory", s] / losses["inhibitory", s]) for s in range(3)]
    assert row[3].startswith(number(math.exp(sum(logs) / 3)) + "x")


def test_the_retention_title_says_what_the_runs_say():
    kept = {"distractors": [0, 50], "recall": [1.0, 0.62], "loss": [0.0, 1.0]}
    study = make_study("synthetic", [synthetic_run("inhibitory", 0, retention=kept)])
    sentence = " ".join(retention_sentence(study).split())
    assert sentence.endswith("after 50 further segments: inhibitory 62 % (chance 12.5 %)")


def test_modes_of_the_coupling_are_its_eigenvalues():
    for num_banks, sign in [(2, -1.0), (3, 0.5), (4, 1.0)]:
        coupling = np.eye(num_banks) + sign * (1 - np.eye(num_banks))
        common, differential = modes_of(coupling[None, None])
        eigenvalues = np.sort(np.linalg.eigvalsh(coupling))
        wanted = np.sort([common.item(), *[differential.item()] * (num_banks - 1)])
        np.testing.assert_allclose(eigenvalues, wanted, atol=1e-12)


def test_labels_are_spread_and_keep_their_order():
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = rng.random(5).tolist()
        moved = spread(wanted, 0.1)
        assert min(np.diff(np.sort(moved))) > 0.1 - 1e-9
        assert np.argsort(moved).tolist() == np.argsort(wanted).tolist()
    assert spread([0.2, 0.8], 0.1) == [0.2, 0.8]


def test_arms_have_one_colour_each_and_the_recipes_names():
    # There is one list of arms now; what the recipes add to it are the signs.
    assert {"no-memory", *recipes.SIGNS} == set(ARMS)
    assert tuple(ARM_COLOURS) == ARMS
    assert len(set(ARM_COLOURS.values())) == len(ARMS)


PAGE = """# A page
before <!-- table: FOLDER / The arms -->
old figures
<!-- end of table --> between
<!-- table: FOLDER / Reported against measured --><!-- end of table -->
<!-- table: another / The arms -->
kept
<!-- end of table -->
after
"""


def test_tables_are_put_between_their_marks_and_nowhere_else(whole, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("FOLDER", whole.name))
    fill_tables(page, whole)
    filled = page.read_text()
    assert filled.startswith(f"# A page\nbefore <!-- table: {whole.name} / The arms -->\n| mean")
    assert filled.endswith("<!-- end of table -->\nafter\n")
    assert "old figures" not in filled
    assert f"<!-- end of table --> between\n<!-- table: {whole.name} / Reported" in filled
    assert "<!-- table: another / The arms -->\nkept\n<!-- end of table -->" in filled
    fill_tables(page, whole)
    assert page.read_text() == filled


@pytest.mark.parametrize(
    "text",
    [
        "<!-- table: FOLDER / Nothing --><!-- end of table -->",
        "<!-- table: FOLDER / The arms --> end",
    ],
)
def test_a_mark_that_leads_nowhere_is_named_and_the_page_kept(whole, tmp_path, text):
    page = tmp_path / "page.md"
    text = text.replace("FOLDER", whole.name)
    page.write_text(text)
    with pytest.raises(ValueError, match="names none of: Reported against measured, The arms"):
        fill_tables(page, whole)
    assert page.read_text() == text
