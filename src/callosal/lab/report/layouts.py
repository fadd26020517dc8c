"""Which layout a recipe or study has."""

from callosal.lab.report.bank_layout import BANK_LAYOUTS
from callosal.lab.report.claims import CLAIMS
from callosal.lab.report.domain_layout import DOMAIN_LAYOUTS
from callosal.lab.report.figures import KINDS, retention_sentence
from callosal.lab.report.layout import Layout
from callosal.lab.report.map_layout import MAP_LAYOUTS
from callosal.lab.report.persona_layout import PERSONA_LAYOUTS
from callosal.lab.report.rival_layout import RIVAL_LAYOUTS
from callosal.lab.report.study import Study
from callosal.lab.report.tables import study_tables

BENCHMARK = Layout(
    title="recipe {}",
    lead=(
        "A transformer whose memory is split into two banks is told a secret code, then reads "
        "arithmetic for a long time, and is asked for the code. What differs between the arms is "
        "whether the banks inhibit or excite each other, or whether there is a memory at all."
    ),
    claims=CLAIMS,
    tables=study_tables,
    figures=KINDS,
    summary=retention_sentence,
)

# By the name of the study; every other recipe is the benchmark with its arms. A module of layouts
# holds a dictionary such as this, which is put in here.
LAYOUTS: dict[str, Layout] = {
    **MAP_LAYOUTS,
    **DOMAIN_LAYOUTS,
    **BANK_LAYOUTS,
    **RIVAL_LAYOUTS,
    **PERSONA_LAYOUTS,
}


def layout_of(study: Study) -> Layout:
    """Return the layout of a study's report."""
    return LAYOUTS.get(study.recipe, BENCHMARK)
