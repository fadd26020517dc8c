"""The rivals are compared at the learning rates that the recorded grid chose."""

from pathlib import Path

import pytest

from callosal.report.rival_tables import best_rates
from callosal.studies.records import read_records
from callosal.studies.rivals import CONTENDERS, RATE_SEED, RATES

GRID = Path(__file__).parents[2] / "results" / "rates"


@pytest.mark.skipif(not GRID.is_dir(), reason="no grid of learning rates is on record")
def test_every_rival_has_the_rate_that_the_recorded_grid_chose():
    records = [record for record in read_records(GRID) if not record.changed]
    assert {record.seed for record in records} == {RATE_SEED}
    tried = {record.config["training"]["learning_rate"] for record in records}
    assert tried == set(RATES)
    chosen = {name: contender.learning_rate for name, contender in CONTENDERS.items()}
    assert chosen == best_rates(records)


def test_every_rate_is_one_that_was_tried():
    assert {contender.learning_rate for contender in CONTENDERS.values()} <= set(RATES)
