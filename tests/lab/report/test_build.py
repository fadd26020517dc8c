"""From runs to files: what a report holds, and what it does with half a study."""

import base64
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.lab.synthetic import SHORT, run, runs

from callosal.lab.report import plots
from callosal.lab.report.build import Report
from callosal.lab.report.records import RecordError, RunRecord, append_record
from callosal.lab.report.study import of
from callosal.lab.studies.benchmark import LAYOUT
from callosal.lab.studies.catalog import read_report

FIGURES = {kind.name for kind in LAYOUT.figures}
DIVERGED = {of(name, domain): math.nan for name in ("loss", "D_sep") for domain in ("cipher", "rule")}
DIVERGED |= {of("P_ct"): math.nan, of("recall", after=1000): math.nan}
DIVERGED |= {of("loss", "episodic"): math.inf}


def report_of(folder: Path, *records: RunRecord) -> Report:
    for record in records:
        append_record(folder, record)
    return read_report(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module", autouse=True)
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """A report on a study that lacks nothing, with a run of another seed off its recipe; few dots are drawn quickly."""
    folder = tmp_path_factory.mktemp("whole")
    odd = run("inhibitory", 9, changed=["memory.gain=<b>6"])
    even = run("inhibitory", 2, versions={"torch": "<i>&"})
    report = report_of(folder, *(r for r in runs(3) if r.fingerprint != even.fingerprint), even, odd)
    (folder / "figures").mkdir()
    (folder / "figures" / "mine.png").write_bytes(b"not ours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "DOTS_PER_INCH", 30)
        report.write()
        yield report


def test_a_report_has_every_file_and_the_same_runs_give_the_same_bytes(whole: Report) -> None:
    files = files_of(whole.folder)
    named = {f"figures/{name}.png" for name in FIGURES} | {"figures/mine.png", "runs.jsonl"}
    assert files.keys() == named | {"claims.json", "tables.md", "report.html"}
    claims = json.loads(files["claims.json"])
    assert [claim["id"] for claim in claims] == [claim.id for claim in LAYOUT.claims]
    names = "id claim source reported measured low high seeds per_seed verdict criterion"
    assert all(" ".join(claim) == names for claim in claims)
    assert all(9 not in claim["seeds"] for claim in claims)
    assert b"memory.gain=<b>6" in files["tables.md"]
    whole.show(Console(file=(shown := io.StringIO()), width=200))
    assert all(verdict.claim in shown.getvalue() for verdict in whole.verdicts)
    read_report(whole.folder).write()
    assert files_of(whole.folder) == files


def test_the_page_needs_nothing_but_itself_and_text_of_runs_cannot_break_it(whole: Report) -> None:
    page = " ".join((whole.folder / "report.html").read_text().split())
    assert not re.search(r"<script|<link|@import|url\(|href=|<b>|<i>", page)
    assert "memory.gain=&lt;b&gt;6" in page
    assert "torch &lt;i&gt;&amp;" in page
    images = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]*)"', page)
    assert len(images) == page.count("<img ") == page.count("src=") == len(FIGURES)
    assert len({alt for alt, _ in images}) == len(FIGURES)
    assert images[0][0].startswith("Recall of the cipher after 1,000 further segments: ")
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for _, data in images)
    assert page.index("<figure>") < page.index("Reported against measured")
    assert '<p class="note warning">1 run with settings changed by hand' in page
    assert "callosal reproduce --recipe synthetic --seeds 0-2" in page
    for verdict in whole.verdicts:
        assert verdict.source == "ours" or verdict.reported.replace(">", "&gt;") in page


def three_banks() -> RunRecord:
    record = run("inhibitory", 0, {of("share", domain, bank=2): 0.1 for domain in ("cipher", "arithmetic")})
    coupling = [[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]]
    curve = [point | {"coupling": coupling} for point in record.curve]
    snapshot = {"norms": [[[1.0] * 4] * 3] * 5, "domains": [0, 1, 0, 1], "bound": 9.0}
    # In the order in which runs record them: domain by domain, bank by bank.
    values = sorted(record.values, key=lambda row: (row.get("domain", ""), row.get("bank", 0)))
    return run("inhibitory", 0, curve=curve, extras={"snapshot": snapshot}, values=values)


@pytest.mark.parametrize(
    ("records", "figures", "said"),
    [
        ([three_banks()], FIGURES, "No runs of"),
        ([run("no-memory", 4)], {"retention", "losses"}, "1 seed on record"),
        ([r for r in runs(1) if r.arm != "no-memory"], FIGURES, "No runs of: no-memory."),
        ([run("inhibitory", 0, changed=["seed=1"])], set(), "No run of this folder counts"),
        ([run("inhibitory", s, DIVERGED) for s in range(3)], FIGURES, "No runs of"),
        ([run("inhibitory", 0, SHORT, curve=[], extras={})], {"retention", "shares"}, "after 0 further"),
    ],
    ids=["three banks", "one", "absent", "changed", "diverged", "bare"],
)
def test_half_a_study_is_a_report_of_what_there_is(
    records: list[RunRecord], figures: set[str], said: str, tmp_path: Path
) -> None:
    # Figures of an earlier report that can no longer be drawn would lie about these runs.
    (tmp_path / "figures").mkdir()
    for name in FIGURES:
        (tmp_path / "figures" / f"{name}.png").touch()
    report = report_of(tmp_path, *records)
    report.write()
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == figures
    assert said in (tmp_path / "report.html").read_text()
    for verdict in report.verdicts:
        assert verdict.verdict == "undecided" or (verdict.verdict == "not reproduced" and verdict.seeds)


def test_runs_that_cannot_be_reported_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"runs\.jsonl"):
        read_report(tmp_path)
    with pytest.raises(ValueError, match="other, synthetic"):
        report_of(tmp_path, run("inhibitory", 0), run("inhibitory", 1, recipe="other"))
    damaged = tmp_path / "damaged"
    # What is missed when the runs are judged, and when they are drawn.
    for lacking in ({"episodic_loss": {}}, {"episodic_loss": 1.0, "coupling": 0.0}):
        append_record(damaged, run("inhibitory", 0, curve=[{"step": 1} | lacking]))
        with pytest.raises(ValueError, match=r"the runs in .*damaged lack what their report is made"):
            read_report(damaged).write()
        assert [path.name for path in damaged.iterdir()] == ["runs.jsonl"]
        (damaged / "runs.jsonl").unlink()


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


def test_tables_are_put_between_their_marks_and_nowhere_else(whole: Report, tmp_path: Path) -> None:
    page, name = tmp_path / "page.md", whole.folder.name
    page.write_text(PAGE.replace("FOLDER", name))
    whole.fill(page)
    filled = page.read_text()
    assert filled.startswith(f"# A page\nbefore <!-- table: {name} / The arms -->\n| mean")
    assert filled.endswith("<!-- end of table -->\nafter\n")
    assert "old figures" not in filled
    assert f"<!-- end of table --> between\n<!-- table: {name} / Reported" in filled
    assert "<!-- table: another / The arms -->\nkept\n<!-- end of table -->" in filled
    whole.fill(page)
    assert page.read_text() == filled


@pytest.mark.parametrize("mark", ["Nothing --><!-- end of table -->", "The arms --> end"])
def test_a_mark_that_leads_nowhere_is_named_and_the_page_kept(whole: Report, tmp_path: Path, mark: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- table: {whole.folder.name} / {mark}")
    with pytest.raises(ValueError, match="names none of: Reported against measured, The arms"):
        whole.fill(page)
    assert page.read_text() == f"<!-- table: {whole.folder.name} / {mark}"
