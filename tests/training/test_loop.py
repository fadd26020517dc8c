"""Training: it learns, it guards against NaN, and no domain label reaches it."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.lab.tiny import EPISODES, tiny
from torch import Tensor

from callosal.lab import training
from callosal.lab.measures.evaluation import domain_losses
from callosal.lab.report.records import ARMS, Arm
from callosal.lab.runs import RunConfig, build_model
from callosal.lab.tasks import Episodes, arithmetic, sample_episodes
from callosal.training.checkpoint import load_checkpoint
from callosal.training.loop import Curve, TrainingConfig, TrainingDivergedError, learning_rate_at
from callosal.training.stateful import StatefulConfig


def trained(config: RunConfig, **arguments: Any) -> tuple[Curve, dict[str, Tensor]]:
    model = build_model(config)
    curve = training.train(model, config.episodes, config.training, config.seed, **arguments)
    assert not model.training
    return curve, model.state_dict()


@given(num_steps=st.integers(1, 300), warmup=st.integers(0, 50), peak=st.floats(1e-5, 1.0), floor=st.floats(0.0, 1.0))
def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine(
    num_steps: int, warmup: int, peak: float, floor: float
) -> None:
    config = TrainingConfig(num_steps=num_steps, learning_rate=peak, warmup_steps=warmup, final_fraction=floor)
    rates = [learning_rate_at(step, config) for step in range(num_steps)]
    assert all(0.0 < rate <= peak * (1 + 1e-12) for rate in rates)
    for step, rate in enumerate(rates):
        # The half-angle form of the cosine.
        fall = math.cos(math.pi * step / (2 * num_steps)) ** 2
        full = peak * (floor + (1 - floor) * fall)
        assert rate == pytest.approx(full * min(1.0, (step + 1) / max(1, warmup)))
    after = rates[max(warmup, 1) - 1 :]
    assert all(one >= other for one, other in pairwise(after))
    if warmup <= 1:
        assert rates[0] == pytest.approx(peak)


COUNTS = ("num_steps", "log_every", "checkpoint_every")
WRONG = [
    *((TrainingConfig, name, 0, "at least 1") for name in (*COUNTS, "batch_size", "num_threads")),
    *((StatefulConfig, name, -1, "at least 1") for name in (*COUNTS, "truncate")),
    *((kind, "learning_rate", 0.0, "above 0") for kind in (TrainingConfig, StatefulConfig)),
    (TrainingConfig, "learning_rate", math.nan, "above 0"),
    (TrainingConfig, "clip_norm", -1.0, "above 0"),
    (StatefulConfig, "clip_norm", math.nan, "above 0"),
    (StatefulConfig, "truncate", 0, "at least 1"),
]


@pytest.mark.parametrize(("kind", "name", "value", "allowed"), WRONG)
def test_a_wrong_setting_is_refused_with_what_is_allowed(kind: type, name: str, value: float, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{name} is {value}; .* {allowed}$"):
        kind(**({"num_steps": 1} | {name: value}))


@pytest.mark.parametrize("arm", ["inhibitory", "no-memory"])
def test_arithmetic_is_learned_from_fresh_episodes(arm: Arm) -> None:
    curve, _ = trained(tiny(arm, num_steps=80, batch_size=32, learning_rate=0.02))
    assert curve[0]["arithmetic_loss"] > arithmetic.chance_loss(EPISODES.modulus)
    assert curve[-1]["arithmetic_loss"] < 0.5 * arithmetic.chance_loss(EPISODES.modulus)


def test_the_curve_has_a_point_where_one_is_due_and_at_the_end() -> None:
    seen = []
    config = tiny(num_steps=7, log_every=3)
    curve, state = trained(config, on_progress=lambda step, point: seen.append((step, point)))
    assert [point["step"] for point in curve] == [3, 6, 7]
    assert seen == [(point["step"], point) for point in curve]
    for point in curve:
        assert len(point["separation"]) == 2
        assert 0.0 <= point["cross_talk"] <= 1.0
    assert curve[-1]["coupling"] == state["memories.0.coupling"].tolist()
    curve, _ = trained(tiny("no-memory"))
    assert {key for point in curve for key in point} == {"step", "cipher_loss", "arithmetic_loss"}


def test_watching_more_closely_changes_no_number_but_another_seed_does() -> None:
    often, seldom = (trained(tiny(log_every=every)) for every in (1, 4))
    assert [point for point in often[0] if point["step"] % 4 == 0] == seldom[0]
    assert all(torch.equal(tensor, seldom[1][name]) for name, tensor in often[1].items())
    again, other = (trained(tiny(log_every=1, seed=seed))[0] for seed in (0, 1))
    assert again == often[0] != other


@pytest.mark.parametrize("seed", [0, 3])
def test_the_trunk_starts_alike_in_every_arm(seed: int) -> None:
    baseline = build_model(tiny("no-memory", seed)).state_dict()
    memories = []
    for arm in ARMS[1:]:
        state = build_model(tiny(arm, seed)).state_dict()
        for name, tensor in baseline.items():
            assert torch.equal(state.pop(name), tensor)
        state.pop("memories.0.coupling")
        memories.append(state)
    # Beside the cross-talk matrix the memories start alike too.
    for state in memories[1:]:
        assert all(torch.equal(state[name], memories[0][name]) for name in memories[0])


def test_steps_see_training_episodes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def spy(*arguments: Any) -> Episodes:
        assert arguments[-1] == "training"
        episodes = sample_episodes(*arguments)
        seen.extend(episodes.tokens.unbind(0))
        return episodes

    monkeypatch.setattr(training, "sample_episodes", spy)
    trained(tiny())
    assert len(torch.stack(seen).unique(dim=0)) == len(seen) == 8 * 4


def test_domain_labels_do_not_reach_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it, plasticity and homeostasis included: only the names in the curve are swapped."""
    curve, state = trained(tiny())

    def renamed(*arguments: Any) -> Episodes:
        episodes = sample_episodes(*arguments)
        return replace(episodes, domains=1 - episodes.domains)

    monkeypatch.setattr(training, "sample_episodes", renamed)
    other_curve, other_state = trained(tiny())
    assert all(torch.equal(tensor, other_state[name]) for name, tensor in state.items())
    for point, other in zip(curve, other_curve, strict=True):
        assert point["cipher_loss"] == other["arithmetic_loss"]
        assert point["separation"] == other["separation"][::-1]


def test_training_moves_what_the_config_says_and_nothing_else() -> None:
    config = tiny()
    assert config.memory is not None
    frozen = replace(config, memory=replace(config.memory, learn_crosstalk=False))
    before, (_, after) = build_model(frozen).state_dict(), trained(frozen)
    still = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    assert still == {"memories.0.coupling"}


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_number_gone_stops_the_run_and_keeps_the_last_checkpoint(
    poison: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, config = tmp_path / "checkpoint.pt", tiny(num_steps=20)
    calls = []

    def poisoned(logits: Tensor, episodes: Episodes) -> list[Tensor]:
        calls.append(1)
        losses = domain_losses(logits, episodes)
        if len(calls) == 8:
            if poison == "loss":
                losses[0] = losses[0] * math.nan
            else:
                losses[0].register_hook(lambda gradient: gradient * math.inf)
        return losses

    monkeypatch.setattr(training, "domain_losses", poisoned)
    with pytest.raises(
        TrainingDivergedError, match=r"^step 8: the loss is .*; lower the learning rate \(0.004\) or clip_norm \(1\)$"
    ):
        trained(config, checkpoint=checkpoint, fingerprint="mine")
    saved = load_checkpoint(checkpoint, "mine")
    assert saved["step"] == 6
    assert all(tensor.isfinite().all() for tensor in saved["model"].values())
    # The cause removed, the run goes on from there as if nothing had been.
    monkeypatch.undo()
    curve, state = trained(config, checkpoint=checkpoint, fingerprint="mine")
    whole_curve, whole_state = trained(config)
    assert curve == whole_curve
    assert all(torch.equal(tensor, whole_state[name]) for name, tensor in state.items())


def test_a_rate_beyond_reason_diverges() -> None:
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        trained(tiny(learning_rate=1e30, warmup_steps=0))
