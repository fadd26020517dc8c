"""The persona study: hosts taught once and frozen, runs that go on where they stopped, complete records."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.hosts import hosts as _quiet  # noqa: F401  (imports transformers without its warnings)
from torch import Tensor

from callosal import MemoryConfig
from callosal.lab.report.records import RunRecord, append_record, read_records
from callosal.lab.runs import fingerprint
from callosal.lab.studies.catalog import read_report
from callosal.lab.studies.persona import base_models as hosts
from callosal.lab.studies.persona import run as persona_run
from callosal.lab.studies.persona.base_models import HostConfig, build_host, persona_tokenizer, text_step
from callosal.lab.studies.persona.cells import HOSTS, MAIN, Host
from callosal.lab.studies.persona.recipe import PersonaRun
from callosal.lab.tasks.persona import CHANCE, PersonaConfig
from callosal.lab.tasks.words import ATTRIBUTES, SPELLED
from callosal.memory.config import describe
from callosal.training.loop import TrainingConfig
from callosal.training.stateful import StatefulConfig, train_stateful

TOKENIZER = persona_tokenizer()


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text).ids


def tiny_run(kind: Host = "Llama", **changes: Any) -> PersonaRun:
    fields: dict[str, Any] = {
        "arm": MAIN[kind],
        "seed": 0,
        "episodes": PersonaConfig(num_facts=2, num_examples=1),
        "host": HostConfig(kind=kind, width=16, num_layers=2, num_heads=2),
        "pretraining": TrainingConfig(num_steps=2, batch_size=2, log_every=1, checkpoint_every=1),
        "layers": (1,),
        "memory": MemoryConfig(width=16, num_slots=8),
        "training": StatefulConfig(num_steps=2, log_every=1, checkpoint_every=1),
        "batch_size": 2,
        "evaluation_conversations": 2,
        "recalled_conversations": 2,
        "marks": (0, 1),
    }
    return PersonaRun(**(fields | changes))


class Run(NamedTuple):
    """A finished run: its folder and record, what it said, and the model before and after its memories learned."""

    folder: Path
    record: RunRecord
    said: list[str]
    models: list[dict[str, Tensor]]


def run(folder: Path, config: PersonaRun) -> Run:
    said, models = [], []

    def watched(memories: Any, *args: Any, **kwargs: Any) -> Any:
        models.append({name: value.clone() for name, value in memories.model.state_dict().items()})
        curve = train_stateful(memories, *args, **kwargs)
        models.append(memories.model.state_dict())
        return curve

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(persona_run, "train_stateful", watched)
        record = persona_run.run(config, folder, lambda name, share, text: said.append(text))
    return Run(folder, record, said, models)


@pytest.fixture(scope="module", autouse=True)
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A whole run with Llama. Here every run is small, and the tokenizer is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(persona_run, "TEXT", PersonaConfig(num_facts=2, num_examples=1))
        patch.setattr(persona_run, "persona_tokenizer", lambda: TOKENIZER)
        yield run(tmp_path_factory.mktemp("whole"), tiny_run())


def numbers(record: RunRecord) -> tuple[Any, ...]:
    """Return what may not differ between two runs of one configuration."""
    values = [row for row in record.values if row["measure"] != "train_seconds"]
    return values, record.curve, record.extras


@pytest.mark.parametrize("kind", HOSTS)
def test_a_run_is_recorded_with_all_that_a_report_needs(kind: Host, whole: Run, tmp_path: Path) -> None:
    config = tiny_run(kind)
    folder, record, said, _ = whole if kind == "Llama" else run(tmp_path, config)
    assert (record.recipe, record.arm, record.seed) == ("persona", MAIN[kind], 0)
    assert record.fingerprint == fingerprint(config)
    assert record.config == json.loads(json.dumps(describe(config)))
    assert record.factors["base_model"] == kind
    assert record.factors["layers"] == [1]
    host = build_host(config.host, TOKENIZER, 0)
    sizes = {"chance": CHANCE, "state_floats": 2 * 8 * 16, "vocabulary": TOKENIZER.get_vocab_size()}
    sizes["base_parameters"] = sum(p.numel() for p in host.parameters())
    assert {name: record.get(name) for name in sizes} == sizes
    assert record.get("differential mode", place=0) is not None
    conditions = {row.get("condition") for row in record.rows("accuracy")}
    assert {"no memory", "memory", "reset", "another user's", "in context", "zeroed"} == conditions
    for between in ("rules", "chatter"):
        rows = [row for row in record.rows("recall") if row["condition"] == between]
        assert [row["after"] for row in rows] == [0, 1]
    assert len(record.rows("share")) == 4
    for curve in (record.curve, record.extras["pretraining"]):
        assert [point["step"] for point in curve] == [1, 2]
    assert json.loads((folder / "runs" / config.name / "config.json").read_text())["seed"] == 0
    assert said[0].startswith("host")
    assert said[-1] == "chatter, 1 of 1 turns"
    # The file takes it, and a report is made of it.
    append_record(tmp_path, record)
    assert read_records(tmp_path) == [record]
    assert {verdict.verdict for verdict in read_report(tmp_path).verdicts} >= {"undecided"}


def test_a_run_that_was_stopped_goes_on_to_the_digit(whole: Run, tmp_path: Path) -> None:
    for where in ("host", "loss", "asking"):

        def stop(name: str, share: float, text: str, where: str = where) -> None:  # noqa: ARG001
            if text.startswith(where):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            persona_run.run(tiny_run(), tmp_path, stop)
    assert numbers(persona_run.run(tiny_run(), tmp_path)) == numbers(whole.record)


def test_cells_share_a_host_and_training_the_memories_moves_nothing_of_it(whole: Run) -> None:
    before, after = whole.models
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("callosal.") for name in moved)
    (kept,) = (whole.folder / "hosts").glob("*.pt")
    written = kept.read_bytes()
    other = run(whole.folder, tiny_run(arm="Llama, layer 0", layers=(0,)))
    assert not any(text.startswith("host") for text in other.said)
    assert kept.read_bytes() == written
    assert list((whole.folder / "hosts").glob("*.pt")) == [kept]


def test_conversations_to_train_on_are_a_function_of_their_number() -> None:
    config = tiny_run()
    data = persona_run.PersonaData(config, encode)
    assert len(data) == 4
    assert data[3] == data[3] != data[2]
    assert data[0] != persona_run.PersonaData(replace(config, seed=1), encode)[0]


@pytest.mark.parametrize("kind", HOSTS)
def test_a_host_starts_from_its_seed_alone(kind: Host) -> None:
    config = HostConfig(kind=kind, width=16, num_layers=1, num_heads=2)
    one, same, other = (build_host(config, TOKENIZER, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match=r"num_heads is 4; it must divide the width \(30\)"):
        HostConfig(kind=kind, width=30)


def test_the_tokenizer_is_the_same_every_time_and_keeps_answers_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert persona_tokenizer().get_vocab() == TOKENIZER.get_vocab()
    values = {value for attribute in ATTRIBUTES.values() for value in attribute.values}
    assert all(len(encode(value)) == 1 for value in values | set(SPELLED))
    assert len({encode(value)[0] for value in values}) == len(values)
    # Spelled letter by letter, or there would be nothing to spell.
    assert len(encode("r e v i r")) == 5
    # An answer in pieces is refused.
    monkeypatch.setattr(hosts, "TOKENIZER_TEXTS", 1)
    with pytest.raises(ValueError, match="the tokenizer cuts answers in pieces: "):
        persona_tokenizer()


@pytest.mark.parametrize("step", range(8))
def test_every_reading_gives_a_loss_and_is_drawn_from_the_step_alone(step: int) -> None:
    host = build_host(HostConfig(kind="Llama", width=16, num_layers=1, num_heads=2), TOKENIZER, 0)
    training = TrainingConfig(num_steps=8, batch_size=2)
    (loss, make_point), (again, _) = (text_step(host, PersonaConfig(), training, encode, 0, step) for _ in range(2))
    assert loss.item() == again.item()
    point = make_point()
    assert point["text_loss"] + point["answer_loss"] == pytest.approx(loss.item())
