"""Does a frozen language model with a memory know in a later session what its user said?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.persona.cells import CELLS
from callosal.lab.studies.persona.claims import CLAIMS
from callosal.lab.studies.persona.figures import FIGURES, summary
from callosal.lab.studies.persona.measures import derive
from callosal.lab.studies.persona.tables import RUN_COLUMNS, facts, tables

QUESTION = "Does a frozen language model with a memory know in a later session what it was told?"
# On seed 0 the number of steps was chosen (LOG.md), so it is no evidence.
SEEDS = (1, 2, 3)

LAYOUT = Layout(
    title="who remembers the user, study {}",
    lead=(
        "Users tell a small language model who they are and ask about it in a later session. The "
        "model is frozen and sees the later session only; a memory attached to it, alone trained, "
        "carries what was said. Is it this memory that answers, behind which layer, and how long?"
    ),
    claims=CLAIMS,
    tables=tables,
    off_recipe=RUN_COLUMNS,
    figures=FIGURES,
    summary=summary,
    remark=(
        "The hosts have fewer than 300,000 parameters and were taught on generated text of the task, so "
        "they know a few hundred words and nothing of the world. Answers are single words (of the "
        "rules, several in a row). One is right if it is the most probable word where it is due, "
        "with the right answers before it in the same turn in context."
    ),
    facts=facts,
    derive=derive,
    cells=CELLS,
)
