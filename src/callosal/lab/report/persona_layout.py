"""The report of the persona study: memories attached to small language models."""

from callosal.lab.report.layout import Layout
from callosal.lab.report.persona_figures import PERSONA_KINDS, persona_sentence
from callosal.lab.report.persona_tables import persona_facts, persona_tables
from callosal.lab.studies.persona.claims import CELLS, PERSONA_CLAIMS

PERSONA_LAYOUTS: dict[str, Layout] = {
    "persona": Layout(
        title="who remembers the user, study {}",
        lead=(
            "Users tell a small language model who they are and ask about it in a later session. The "
            "model is frozen and sees the later session only; a memory attached to it, alone trained, "
            "carries what was said. Is it this memory that answers, behind which layer, and how long?"
        ),
        claims=PERSONA_CLAIMS,
        tables=persona_tables,
        figures=PERSONA_KINDS,
        summary=persona_sentence,
        remark=(
            "The hosts have fewer than 300,000 parameters and were taught on generated text of the task, so "
            "they know a few hundred words and nothing of the world. Answers are single words (of the "
            "rules, several in a row). One is right if it is the most probable word where it is due, "
            "with the right answers before it in the same turn in context."
        ),
        facts=persona_facts,
        cells=CELLS,
    ),
}
