"""One self-contained page: no network, no script, figures inside."""

import base64
import shlex
from collections.abc import Sequence
from html import escape

from callosal.lab.report.layout import Layout
from callosal.lab.report.pictures import Picture
from callosal.lab.report.study import SIGN_LABELS, Study, seed_range
from callosal.lab.report.tables import VERDICT_COLOURS, Table

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #5d5d63; --line: #d9d9de; --page: #ffffff;
  --card: #f5f5f7; --good: #17703a; --bad: #b3261e; --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --soft: #a5a5ad; --line: #3c3c42;
  --page: #17171a; --card: #222226; --good: #6fd195; --bad: #ff8f85; --open: #f0c05a; } }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .6rem; }
p, li { max-width: 48rem; }
.lead, figcaption, .note, dt { color: var(--soft); }
.warning { border-left: 4px solid var(--open); padding-left: .8rem; }
figure { margin: 1rem 0 2rem; }
img { display: block; width: 100%; height: auto; background: #fff; border-radius: 8px; }
figcaption, .note { font-size: .9rem; margin-top: .5rem; max-width: 48rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
table.dense { font-size: .78rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
th, td.word { white-space: normal; }
.word { text-align: left; }
td.word:first-child { min-width: 5.5rem; }
td.green { color: var(--good); } td.red { color: var(--bad); } td.yellow { color: var(--open); }
td.green, td.red, td.yellow { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: 1rem 0; }
dd { margin: 0; } code, pre { font-family: ui-monospace, Menlo, Consolas, monospace;
  font-size: .88em; } pre { background: var(--card); padding: .8rem 1rem; border-radius: 8px;
  overflow-x: auto; }
"""

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="lead">{lead}</p>
{warnings}
{first}
{remark}
<h2>What was run</h2>
{facts}
{tables}
{figures}
{definitions}
</body>
</html>
"""

_DEFINITIONS = """<h2>What is reported and what is ours</h2>
<p>The idea, the update AᵀAVW, the coupling matrix W<sub>s</sub> with its sign s, the benchmark of
a cipher beside an arithmetic progression, and the figures in the column <em>reported</em> are from
Hong Jeong, <em>Inhibitory Cross-Talk Enables Functional Lateralization in Attention-Coupled Latent
Memory</em>, arXiv 2603.03355. We know it by its abstract and summaries; no official code was found.
So every formula here, every threshold in the column <em>wanted</em>, and the retention test are
ours.</p>
<ul>
<li><strong>D<sub>sep</sub></strong> of a domain is the left bank's mean share over that domain's
tokens minus the right bank's, between -1 and +1. Opposite signs in the two domains mean opposite
banks. With more than two banks: a domain's own bank minus the largest other.</li>
<li><strong>P<sub>ct</sub></strong> is the mean over domains of the share outside the domain's own
bank, where own banks are given out one to one by the best matching. With two banks and two domains
0 is one bank each; an even split and one bank for everything both give 0.5.</li>
<li><strong>Dominance</strong>, the largest mean share of a bank over all domains, tells these two
apart: 0.5 is an even split, 1 is one bank for everything.</li>
<li><strong>I(bank; domain)</strong> is the mutual information of bank and domain as a share of the
largest possible.</li>
</ul>
<p>The sequel, <em>A Miniature Brain Transformer</em>, arXiv 2603.07217, reports
D<sub>sep</sub> ≈ 0.25 and P<sub>ct</sub> ≈ 0.25 for inhibition alone. Its two measures live on
other scales than these; the numbers cannot be compared.</p>
<p>No domain label enters the model or its loss; only the measures look at it. A claim is
<em>reproduced</em> if every seed meets it, with at least three; <em>not reproduced</em> if none
does, or the 95 % interval over seeds lies wholly on the wrong side; otherwise <em>undecided</em>. The
file claims.json beside this page holds every number of every seed.</p>"""


def write_page(
    study: Study, layout: Layout, tables: Sequence[Table], pictures: Sequence[Picture]
) -> str:
    """Return the report as HTML that needs nothing but itself."""
    first, rest = pictures[:1], pictures[1:]
    warnings = "".join(f'<p class="note warning">{escape(note)}</p>' for note in study.notes)
    # Without the sentence a reader who cannot see the picture would learn nothing from it.
    summary = layout.summary(study) if first else ""
    return _TEMPLATE.format(
        title=escape(f"callosal: {layout.title.format(study.recipe)}"),
        lead=escape(layout.lead),
        style=_STYLE,
        warnings=warnings,
        first="".join(_figure(picture, summary) for picture in first),
        remark=f'<p class="note">{escape(layout.remark)}</p>' if layout.remark else "",
        facts=_facts(study, layout),
        tables="".join(_table(table) for table in tables),
        figures="".join(
            f"<h2>{escape(picture.kind.title)}</h2>" + _figure(picture, picture.kind.title)
            for picture in rest
        ),
        definitions=_DEFINITIONS,
    )


def _figure(picture: Picture, description: str) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f'<figure><img alt="{escape(description)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(picture.kind.caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        parts = []
        for index, cell in enumerate(row):
            classes = ["word"] if index < table.num_labels else []
            classes += [VERDICT_COLOURS[cell]] if cell in VERDICT_COLOURS else []
            kind = f' class="{" ".join(classes)}"' if classes else ""
            parts.append(f"<{tag}{kind}>{escape(cell)}</{tag}>")
        return "<tr>" + "".join(parts) + "</tr>"

    shape = ' class="dense"' if len(table.headers) > 8 else ""
    body = (
        f'<div class="scroll"><table{shape}><thead>'
        f"{cells('th', table.headers)}</thead><tbody>"
        f"{''.join(cells('td', row) for row in table.rows)}</tbody></table></div>"
        f'<p class="note">{escape(table.note)}</p>'
    )
    if table.is_long:
        body = f"<details><summary>{len(table.rows)} rows</summary>{body}</details>"
    return f"<h2>{escape(table.title)}</h2>{body}"


def _facts(study: Study, layout: Layout) -> str:
    runs = study.records
    if not runs:
        return "<p>No run of this folder counts as evidence.</p>"
    if study.has_arms:
        labels = {"recipe": study.recipe, "arms": "; ".join(map(_label, study.arms))}
        command = f"callosal reproduce --recipe {study.recipe}"
    else:
        labels = {"study": study.recipe, "cells": str(len(study.arms))}
        command = f"callosal study {study.recipe}"
    minutes = sum(run.wall_seconds for run in runs) / 60
    facts = {
        **labels,
        "seeds": f"{seed_range(study.seeds)} ({len(runs)} runs)",
        **layout.facts(study),
    }
    # A layout may say it otherwise.
    facts.setdefault("wall time", f"{minutes:.0f} minutes, all runs added up")
    facts["versions"] = " / ".join(sorted({_versions(run.versions) for run in runs}))
    folder = shlex.quote(study.name)
    commands = (
        f"{command} --seeds {seed_range(study.seeds)} --out {folder}"
        f"\ncallosal report {folder}   # this page, from the recorded runs"
    )
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f"<dl>{listed}</dl><pre>{escape(commands)}</pre>"


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))


def _label(arm: str) -> str:
    return SIGN_LABELS.get(arm, arm)
