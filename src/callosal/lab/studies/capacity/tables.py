"""The table of pairs against slots."""

from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import Table, columns, grid, mean, number, recall_columns


def tables(study: Study) -> list[Table]:
    """Return recall by pairs and slots."""
    shapes = sorted({(run.factors["num_letters"], run.factors["num_slots"]) for run in study.records})
    rows = [
        ([str(pairs), str(slots), number(1 / pairs)], study.where(num_letters=pairs, num_slots=slots))
        for pairs, slots in shapes
    ]
    shown = {"cipher loss": of("loss", "episodic"), "recall": of("accuracy", "episodic")}
    later = [mark for mark in study.marks() if mark]
    return [
        grid(
            study,
            "Capacity",
            ["pairs", "slots a bank", "chance"],
            rows,
            columns(mean, shown) | recall_columns(study, mean, "recall after {:,}", later),
            num_labels=1,
        )
    ]
