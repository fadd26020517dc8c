"""transformers.Trainer: checkpoints, evaluation and accumulation with Conversations, and what it does without."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.hosts.hosts import make, prompts, remembering, trained
from tests.laws import assert_near
from tests.tolerances import SINGLE
from tests.training.conversations import conversations

from callosal import Conversations, Memories, MemoryConfig, attach
from callosal.hosts.hooks import OutsideSessionWarning
from callosal.training.conversations import collate_conversations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import Trainer, TrainingArguments

# What torch says of a machine without an accelerator is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument")
DATA: Any = conversations(12)


def learning(name: str = "gpt2") -> Memories:
    """Memories of a frozen model."""
    return trained(attach(make(name).requires_grad_(False), [-1], MemoryConfig(width=32, num_slots=4)))


def run(memories: Memories, folder: Path, *, resume: Any = None, **settings: Any) -> Any:
    """Train four steps, and return the trainer."""
    arguments: dict[str, Any] = {"max_steps": 4, "per_device_train_batch_size": 3, "save_steps": 2} | settings
    trainer = Trainer(
        model=Conversations(memories),
        args=TrainingArguments(
            output_dir=str(folder),
            report_to="none",
            remove_unused_columns=False,
            use_cpu=True,
            disable_tqdm=True,
            **arguments,
        ),
        data_collator=lambda batch: {"turns": collate_conversations(batch)},
        train_dataset=DATA,
        eval_dataset=DATA[:4],
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def same(one: Memories, other: Memories) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_a_run_with_tied_weights_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """With dropout, and in steps of two batches."""
    memories, again = learning(), learning()
    model: Any = memories.model
    assert model.lm_head.weight is model.transformer.wte.weight
    run(memories, tmp_path, gradient_accumulation_steps=2)
    assert not same(memories, again)
    saved = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert "model.transformer.wte.weight" in saved
    assert "model.lm_head.weight" not in saved
    Conversations(learning()).load_state_dict(saved)  # nothing is missing
    shutil.rmtree(tmp_path / "checkpoint-4")
    run(again, tmp_path, resume=str(tmp_path / "checkpoint-2"), gradient_accumulation_steps=2)
    assert same(memories, again)


def test_evaluation_finds_a_loss_and_moves_nothing(tmp_path: Path) -> None:
    plain, evaluated = learning("llama"), learning("llama")
    run(plain, tmp_path / "plain", save_strategy="no")
    often = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
    trainer = run(evaluated, tmp_path / "evaluated", save_strategy="no", **often)
    assert same(plain, evaluated)
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(losses) == 4
    with torch.no_grad():
        expected = Conversations(plain).eval()(collate_conversations(DATA[:4]))["loss"]
    assert_near(torch.tensor(losses[-1]), expected, SINGLE)


@pytest.mark.parametrize("said_before", [False, True])
def test_training_outside_a_session_is_said_to_train_no_memory(said_before: bool) -> None:
    model, memories = remembering()
    if said_before:
        memories.warn_outside_session = False
    model.train()
    with pytest.warns(OutsideSessionWarning, match=r"in training mode .* learn nothing.*callosal\.Conversations"):
        model(prompts(), labels=prompts()).loss.backward()
    model(prompts())  # it is said once
    quiet, frozen = remembering()
    frozen.requires_grad_(False)
    frozen.warn_outside_session = False
    quiet.train()(prompts())
