"""The rivals are compared at the learning rates that the recorded grid chose."""

from pathlib import Path

import pytest
from callosal.lab.report.rival_tables import best_rates

from callosal.contract import contract_table
from callosal.lab.report.records import read_records
from callosal.lab.studies.rivals.recipe import (
    CONTENDERS,
    LEARNING_RATES,
    RATE_SEED,
    RATES,
    check_contenders,
)

ROOT = Path(__file__).parents[3]
GRID = ROOT / "results" / "rates"
PAGE = ROOT / "docs" / "rivals.md"


@pytest.mark.skipif(not GRID.is_dir(), reason="no grid of learning rates is on record")
def test_every_rival_has_the_rate_that_the_recorded_grid_chose():
    records = [record for record in read_records(GRID) if not record.changed]
    assert {record.seed for record in records} == {RATE_SEED}
    tried = {record.config["training"]["learning_rate"] for record in records}
    assert tried == set(RATES)
    assert best_rates(records) == LEARNING_RATES


def test_every_rate_is_one_that_was_tried():
    assert set(LEARNING_RATES) == set(CONTENDERS)
    assert set(LEARNING_RATES.values()) <= set(RATES)


def test_every_contender_keeps_the_contract_as_the_page_says():
    reports = check_contenders()
    assert set(reports) == set(CONTENDERS)
    for report in reports.values():
        report.raise_if_broken()
    assert contract_table(reports).strip() in PAGE.read_text()
