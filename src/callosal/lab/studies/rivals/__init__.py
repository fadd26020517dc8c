"""How does this memory compare with others, and is the memory doing it?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.rivals.claims import CLAIMS
from callosal.lab.studies.rivals.figures import FIGURES, summary
from callosal.lab.studies.rivals.measures import derive
from callosal.lab.studies.rivals.tables import tables

QUESTION = "How does this memory compare with others, and is the memory doing it?"
SEEDS = (0, 1, 2, 3, 4)

LAYOUT = Layout(
    title="other memories, study {}",
    lead=(
        "The same trunk, the same streams and about as many parameters, with other memories behind "
        "the same block, each at its own learning rate. Then, of every memory: is it the memory that "
        "answers? It is reset, lesioned and swapped."
    ),
    tables=tables,
    off_recipe=RUN_COLUMNS,
    claims=CLAIMS,
    figures=FIGURES,
    summary=summary,
    remark=(
        "The other memories are our own versions, which leave out what their docstrings name; "
        "titans-pytorch is the published package. All are small and trained for the same few steps; "
        "at other sizes, or with more training, the order may be another."
    ),
    derive=derive,
    label="memory",
)
