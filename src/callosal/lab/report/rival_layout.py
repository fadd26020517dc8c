"""The reports of the rivals and of the grid that their learning rates were chosen from."""

from callosal.lab.report.layout import Layout
from callosal.lab.report.rival_figures import RIVAL_KINDS, rivals_sentence
from callosal.lab.report.rival_tables import rate_tables, rival_tables
from callosal.lab.studies.rivals.claims import RATE_CLAIMS, RIVAL_CLAIMS

RIVAL_LAYOUTS: dict[str, Layout] = {
    "rivals": Layout(
        title="other memories, study {}",
        lead=(
            "The same trunk, the same streams and about as many parameters, with other memories behind "
            "the same block, each at its own learning rate. Then, of every memory: is it the memory that "
            "answers? It is reset, lesioned and swapped."
        ),
        claims=RIVAL_CLAIMS,
        tables=rival_tables,
        figures=RIVAL_KINDS,
        summary=rivals_sentence,
        remark=(
            "The other memories are our own versions, which leave out what their docstrings name; "
            "titans-pytorch is the published package. All are small and trained for the same few steps; "
            "at other sizes, or with more training, the order may be another."
        ),
    ),
    "rates": Layout(
        title="learning rates, study {}",
        lead=(
            "Which learning rate suits each memory? Each is trained at three, on one seed that no other "
            "result is reported of, and compared at the one with the lowest loss."
        ),
        claims=RATE_CLAIMS,
        tables=rate_tables,
        figures=(),
        summary=lambda study: f"Learning rates of {len(study.arms)} cells",
    ),
}
