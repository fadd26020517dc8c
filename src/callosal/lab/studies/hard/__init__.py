"""Where does lateralization break: one alphabet, unequal frequency, mixed segments?"""

from callosal.lab.report.layout import Layout
from callosal.lab.report.tables import cell_tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.hard.claims import CLAIMS
from callosal.lab.studies.hard.figures import cells, summary

QUESTION = "Where does it break: one alphabet, unequal frequency, mixed segments?"
SEEDS = (0, 1, 2, 3, 4)

LAYOUT = Layout(
    title="where does lateralization break?",
    lead=(
        "Two domains with alphabets of their own, equally frequent and never mixed, are easy to "
        "tell apart. Here they share one alphabet, one is nine times as frequent, or a part of "
        "every segment is the other domain's."
    ),
    tables=cell_tables,
    off_recipe=RUN_COLUMNS,
    claims=CLAIMS,
    figures=(cells,),
    summary=summary,
    # In the order in which the claims ask about them.
    cells=tuple(dict.fromkeys(arm for claim in CLAIMS for arm in claim.arms)),
)
