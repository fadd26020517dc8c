"""Runs a cell of the persona study: a host is taught and frozen, memories are attached, taught and asked."""

import time
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch
from accelerate import Accelerator
from filelock import FileLock
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from callosal.hosts.attach import attach
from callosal.hosts.memories import Memories
from callosal.lab.measures.answers import measure_answers, measure_recall
from callosal.lab.report.records import RunRecord
from callosal.lab.report.upgrade import answer_values, coupling_values, retention_values, single_values
from callosal.lab.runner import HELD_OUT_SEED, Report, num_trained, open_place, record_of
from callosal.lab.runs import digest
from callosal.lab.studies.persona.base_models import build_host, persona_tokenizer, text_step
from callosal.lab.studies.persona.recipe import PersonaRun
from callosal.lab.tasks.persona import CHANCE, Domain, Encode, PersonaConfig, sample_conversation, texts, tokenized
from callosal.memory.config import describe
from callosal.training.conversations import Turn, collate_conversations
from callosal.training.loop import Curve, optimise
from callosal.training.seeding import derive_seed, seeded
from callosal.training.stateful import train_stateful

# What is said between the sessions: first what the other bank should take.
BETWEEN: tuple[Domain, ...] = ("rule", "chatter")
# What the hosts of all cells learn from.
TEXT = PersonaConfig()


class PersonaData(Dataset[list[Turn]]):
    """Conversations to train on, each a function of the seed and its number alone."""

    def __init__(self, config: PersonaRun, encode: Encode) -> None:
        self._config = config
        self._encode = encode

    def __len__(self) -> int:
        return self._config.training.num_steps * self._config.batch_size

    def __getitem__(self, index: int) -> list[Turn]:
        random = Random(derive_seed(self._config.seed, "conversations", index))
        user = sample_conversation(self._config.episodes, random, "training")
        return [tokenized([turn], self._encode) for turn in user.turns]


def run(config: PersonaRun, folder: Path, report: Report = lambda name, share, text: None) -> RunRecord:
    """Teach the host, then the memories, and measure the answers.

    Hosts are kept in ``folder / hosts`` for all cells that share them; what is unfinished goes on. Arguments and errors
    are those of :func:`callosal.lab.runner.run`.
    """
    begun = time.monotonic()
    torch.set_num_threads(config.pretraining.num_threads)
    place = open_place(config, folder)
    tokenizer = persona_tokenizer()

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text).ids

    host, taught = taught_host(config, folder / "hosts", tokenizer, encode, report)
    host.requires_grad_(False)
    base_parameters = sum(p.numel() for p in host.parameters())
    with seeded(config.seed, "memory"):
        memories = attach(host, layers=config.layers, config=config.memory, shared=config.shared)
    if config.memory.calibrated:
        memories.calibrate(
            texts(config.episodes, Random(derive_seed(config.seed, "calibration")), "training"),
            lambda text: {"input_ids": encode(text)},
        )
    started = time.monotonic()
    curve = train_stateful(
        memories,
        DataLoader(PersonaData(config, encode), batch_size=config.batch_size, collate_fn=collate_conversations),
        config.training,
        accelerator=Accelerator(cpu=True),
        folder=place / "checkpoint",
        on_progress=lambda step, point: report(
            config.name, step / config.training.num_steps, f"loss {point['loss']:.4f}"
        ),
    )
    trained = time.monotonic()

    report(config.name, 1.0, "asking")
    random = Random(derive_seed(HELD_OUT_SEED, "answers"))
    answers = measure_answers(memories, config.episodes, encode, config.evaluation_conversations, random)
    kept = [_recall(memories, config, encode, domain, report) for domain in BETWEEN]
    return record_of(
        config,
        [
            *answer_values(asdict(answers)),
            *retention_values(kept[0], "rules"),
            *retention_values(kept[1], "chatter"),
            *single_values(
                train_seconds=trained - started,
                state_floats=sum(memories[name].state_floats for name in memories),
                vocabulary=tokenizer.get_vocab_size(),
                chance=CHANCE,
                base_parameters=base_parameters,
            ),
            *coupling_values([memories[name].coupling.tolist() for name in memories]),
        ],
        curve,
        num_parameters=num_trained(memories),
        wall_seconds=time.monotonic() - begun,
        extras={"pretraining": taught},
    )


def _recall(memories: Memories, config: PersonaRun, encode: Encode, domain: Domain, report: Report) -> dict[str, Any]:
    found = measure_recall(
        memories,
        config.episodes,
        encode,
        domain,
        (domain == "chatter" and config.chatter_marks) or config.marks,
        config.recalled_conversations,
        Random(derive_seed(HELD_OUT_SEED, "recall")),
        lambda done, all_: report(config.name, 1.0, f"{domain}, {done} of {all_} turns"),
    )
    return asdict(found)


def taught_host(
    config: PersonaRun, folder: Path, tokenizer: Tokenizer, encode: Encode, report: Report
) -> tuple[Any, Curve]:
    """Return the run's host after pretraining, and the curve of that; cells that share it wait for it."""
    parts = [describe(part) for part in (config.host, config.pretraining, TEXT)]
    mark = digest([*parts, config.seed])
    checkpoint = folder / f"{config.host.kind}-seed{config.seed}-{mark[:8]}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    host = build_host(config.host, tokenizer, config.seed)

    def on_progress(step: int, point: dict[str, Any]) -> None:
        share = step / config.pretraining.num_steps
        report(config.name, share, f"host, answers {point['answer_loss']:.3f}")

    with FileLock(checkpoint.with_suffix(".lock")):
        curve = optimise(
            host,
            lambda step: text_step(host, TEXT, config.pretraining, encode, config.seed, step),
            config.pretraining,
            checkpoint=checkpoint,
            fingerprint=mark,
            on_progress=on_progress,
        )
    return host, curve
