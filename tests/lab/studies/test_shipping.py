"""The adapter that ships is the recorded run's: its card states the record, and a sample gives its headline again."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from tests.lab import recorded

from callosal import attach_pretrained
from callosal.hosts.shipped import FOLDER, OWNER
from callosal.hosts.smollm2 import INSTALL, PACKAGE, load_smollm
from callosal.lab.report.records import RunRecord
from callosal.lab.studies.smollm import run as smollm
from callosal.lab.studies.smollm.asking import answers_by_memory, draw_users
from callosal.lab.studies.smollm.cells import LAYER, SHIPS
from callosal.lab.studies.smollm.shipping import NAME, shown
from callosal.lab.studies.smollm.texts import Halves, read_book

USERS = 16


def record() -> RunRecord:
    (found,) = [run for run in recorded.records("smollm") if (run.arm, run.seed) == SHIPS]
    return found


def test_the_card_states_the_record() -> None:
    assert shown(record()) in (FOLDER / NAME / "README.md").read_text()


def test_a_sample_gives_the_headline_again(tmp_path: Path) -> None:
    try:
        version(PACKAGE)
    except PackageNotFoundError:
        pytest.skip(f"SmolLM2 is not installed: make model, or {INSTALL}")
    model, tokenizer = load_smollm(tmp_path / "model", torch.bfloat16)
    halves = Halves(model, LAYER)
    kind = replace(smollm.ASKED[smollm.TRAINED], num_stated=120, num_chatter=20, num_rules=4)
    held = read_book(kind, halves, tokenizer, tmp_path, "sample")
    memories = attach_pretrained(model, f"{OWNER}{NAME}", warn_outside_session=False)
    (name,) = memories
    memory = memories[name].eval()
    users = draw_users(held, USERS, smollm.USUAL, smollm._random("sample"), 2)
    found = {
        row["condition"]: row["value"]
        for row in answers_by_memory(memory, halves, users, smollm.TRAINED)
        if row["measure"] == "accuracy" and "bank" not in row
    }
    headline = record().get("accuracy", domain=smollm.TRAINED, condition="memory")
    assert headline is not None
    # Four standard errors of a share of so many questions.
    assert abs(found["memory"] - headline) < 4 * (headline * (1 - headline) / (USERS * smollm.USUAL)) ** 0.5
    assert max(found["reset"], found["another user's"]) < 0.15
