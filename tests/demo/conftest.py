"""What the demo is tried on: a tiny model to talk with, and a student that was taught for a moment."""

from pathlib import Path

import pytest
from tests.hosts.hosts import gpt2, trained
from tests.lab.tiny import tiny
from tests.talkative import talkative
from torch import nn

from callosal import MemoryConfig, attach
from callosal.demo import cipher
from callosal.demo.cipher import Student, load_student
from callosal.demo.talk import Talk, load_talk
from callosal.lab.runner import open_place
from callosal.lab.runs import build_model, fingerprint
from callosal.lab.training import train

NUM_NEW = 6


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that never ends by itself, its tokenizer, and trained memories in ``adapter``."""
    folder = tmp_path_factory.mktemp("chat")
    fill_model(folder)
    return folder


def fill_model(folder: Path) -> None:
    """Write a random model without and, in ``chat``, with a chat template, and memories with a will of their own."""
    talkative(folder)
    model = gpt2.GPT2LMHeadModel.from_pretrained(folder)
    config = MemoryConfig(width=32, num_slots=8, observe=True, salience="learned")
    memories = trained(attach(model, [0, -1], config), scale=1.0)
    for name in memories:
        memory = memories[name]
        gate = memory.salience_gate
        assert gate is not None
        nn.init.normal_(gate.weight)
        nn.init.normal_(memory.axes)
    memories.save_pretrained(folder / "adapter")


@pytest.fixture
def talk(chat_model: Path, tmp_path: Path) -> Talk:
    """A talk with short replies, and a store of its own."""
    talk = load_talk(str(chat_model), str(chat_model / "adapter"), tmp_path / "users")
    talk.generation["max_new_tokens"] = NUM_NEW
    return talk


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained for eight steps, which is enough to be wrong."""
    config = tiny()
    place = open_place(config, tmp_path_factory.mktemp("study"))
    how = {"checkpoint": place / "checkpoint.pt", "fingerprint": fingerprint(config)}
    train(build_model(config), config.episodes, config.training, config.seed, **how)
    return place


@pytest.fixture
def student(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Student:
    """A student of that run, whose curve is short."""
    monkeypatch.setattr(cipher, "MARKS", (0, 1, 3))
    return load_student(run_folder)
