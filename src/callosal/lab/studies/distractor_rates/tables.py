"""The grid of learning rates with segments in between, and what is kept at each."""

from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import Table, by_arm, each, grid, recall_columns
from callosal.lab.studies.rates.tables import tables as learning_rates
from callosal.lab.studies.rivals.tables import state_size


def tables(study: Study) -> list[Table]:
    """Return the total loss of every memory at every learning rate, and recall at each."""
    kept = grid(
        study,
        "Recall on the grid's seed",
        ["memory and rate"],
        by_arm(study),
        recall_columns(study, each, "after {:,}")
        | {"cipher loss": each(of("loss", "episodic")), "state floats": state_size},
    )
    return [*learning_rates(study), kept]
