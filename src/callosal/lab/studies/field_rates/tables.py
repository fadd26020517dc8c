"""The grid of learning rates of the field's benchmarks."""

from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import Table, by_arm, columns, each, grid
from callosal.lab.studies.rates.tables import rates_table

# What a rate is chosen by.
LOSS = of("loss")


def tables(study: Study) -> list[Table]:
    """Return the loss of every model at every learning rate, and the share of right answers at each."""
    right = columns(each, {"right": of("accuracy"), "loss": LOSS})
    return [
        rates_table(study, LOSS),
        grid(study, "Right answers on the grid's seed", ["model and rate"], by_arm(study), right),
    ]
