"""Training: it learns, guards against NaN and labels, and a run that was killed goes on to the digit."""

import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lab.tiny import EPISODES, tiny
from tests.laws import assert_near
from tests.tolerances import SINGLE
from torch import Tensor

from callosal.lab import training
from callosal.lab.measures.evaluation import domain_losses
from callosal.lab.report.records import ARMS, Arm
from callosal.lab.runs import RunConfig, build_model
from callosal.lab.tasks import Episodes, arithmetic, sample_episodes
from callosal.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from callosal.training.loop import Curve, TrainingDivergedError

ROOT = Path(__file__).parents[2]
Outcome = tuple[Curve, dict[str, Tensor]]


def trained(config: RunConfig, checkpoint: Path | None = None, **arguments: Any) -> Outcome:
    model = build_model(config)
    settled = (config.episodes, config.training, config.seed)
    curve = training.train(model, *settled, checkpoint=checkpoint, fingerprint="mine", **arguments)
    assert not model.training
    return curve, model.state_dict()


@cache
def whole(num_steps: int) -> Outcome:
    """Train without interruption."""
    torch.set_num_threads(1)
    return trained(tiny(num_steps=num_steps, log_every=1))


def assert_same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def assert_same_run(checkpoint: Path, num_steps: int) -> None:
    saved, (curve, weights) = load_checkpoint(checkpoint, "mine"), whole(num_steps)
    assert saved["step"] == num_steps
    assert saved["curve"] == curve
    assert_same_weights(saved["model"], weights)


# What is learned, and from what.


@pytest.mark.parametrize("arm", ["inhibitory", "no-memory"])
def test_arithmetic_is_learned_from_fresh_episodes(arm: Arm) -> None:
    curve, _ = trained(tiny(arm, num_steps=80, batch_size=32, learning_rate=0.02))
    assert curve[0]["rule_loss"] > arithmetic.chance_loss(EPISODES.modulus)
    assert curve[-1]["rule_loss"] < 0.5 * arithmetic.chance_loss(EPISODES.modulus)


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
    assert {key for point in curve for key in point} == {"step", "episodic_loss", "rule_loss"}


def test_watching_more_closely_changes_no_number_but_another_seed_does() -> None:
    often, seldom = (trained(tiny(log_every=every)) for every in (1, 4))
    assert [point for point in often[0] if point["step"] % 4 == 0] == seldom[0]
    assert_same_weights(often[1], seldom[1])
    again, other = (trained(tiny(log_every=1, seed=seed))[0] for seed in (0, 1))
    assert again == often[0] != other


def test_a_training_ends_where_its_curve_is_enough_and_measures_at_the_end_of_each_cycle(tmp_path: Path) -> None:
    config = tiny(num_steps=7, cycles=3, log_every=5, checkpoint_every=7)
    whole_curve, _ = trained(config, measure=lambda: {"worth": 1})
    assert [point["step"] for point in whole_curve] == [1, 3, 5, 7]
    assert [point["step"] for point in whole_curve if "worth" in point] == [1, 3, 7]
    for place in (tmp_path / "checkpoint.pt", None):
        curve, weights = trained(config, place, is_enough=lambda curve: len(curve) == 2, measure=lambda: {"worth": 1})
        assert curve == whole_curve[:2]
    # What has ended stays ended, and only then.
    again = trained(config, tmp_path / "checkpoint.pt", is_enough=lambda curve: len(curve) >= 2)
    assert again[0] == curve
    assert_same_weights(again[1], weights)
    on, _ = trained(config, tmp_path / "checkpoint.pt", measure=lambda: {"worth": 1})
    assert on == whole_curve


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
        assert_same_weights(state, memories[0])


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
    assert_same_weights(state, other_state)
    for point, other in zip(curve, other_curve, strict=True):
        assert point["episodic_loss"] == other["rule_loss"]
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
    message = r"^step 8: the loss is .*; lower the learning rate \(0.004\) or clip_norm \(1\)$"
    with pytest.raises(TrainingDivergedError, match=message):
        trained(config, checkpoint)
    saved = load_checkpoint(checkpoint, "mine")
    assert saved["step"] == 6
    assert all(tensor.isfinite().all() for tensor in saved["model"].values())
    # The cause removed, the run goes on from there as if nothing had been.
    monkeypatch.undo()
    (curve, state), (whole_curve, whole_state) = trained(config, checkpoint), trained(config)
    assert curve == whole_curve
    assert_same_weights(state, whole_state)


def test_a_rate_beyond_reason_diverges() -> None:
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        trained(tiny(learning_rate=1e30, warmup_steps=0))


# Killed or stopped, and started again.

# Two attempts at one run: each is a process of its own, which the imports are done for beforehand.
PROGRAM = """
import os, sys
from pathlib import Path
import torch, torch._dynamo  # which the first step of an optimiser would import
from tests.lab.tiny import tiny
from tests.lab.test_training import trained

torch.set_num_threads(1)
config = tiny(num_steps=int(sys.argv[2]), log_every=1, checkpoint_every=2)
for _ in range(2):
    if not (child := os.fork()):
        print("pid", os.getpid(), flush=True)
        trained(config, Path(sys.argv[1]), on_progress=lambda step, _: print(step, flush=True))
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class KilledError(Exception):
    """Stands in for a kill inside the process."""


def test_killed_at_a_random_moment_and_started_again(tmp_path: Path) -> None:
    """SIGKILL, a random while behind a random step: no two runs of this test try the same moment."""
    num_steps, moments = 60, random.Random(time.time_ns())
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "checkpoint.pt"), str(num_steps)]
    last = moments.randint(1, 40)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        child = int(process.stdout.readline().removeprefix("pid "))
        for step in range(1, last + 1):
            assert int(process.stdout.readline()) == step
        time.sleep(moments.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, again = process.stdout.read().split(f"ended {-signal.SIGKILL}\n")
    first, *steps, ended = again.splitlines()
    assert (first.split()[0], ended) == ("pid", "ended 0")
    # It went on from a checkpoint: of the steps that were reported, it repeats at most two.
    assert int(steps[0]) >= last - 1
    assert_same_run(tmp_path / "checkpoint.pt", num_steps)


NUM_STEPS = 9


@settings(max_examples=10)
@given(stops=st.lists(st.integers(1, NUM_STEPS), max_size=3), checkpoint_every=st.integers(1, NUM_STEPS + 1))
def test_stopped_at_any_steps_and_started_again(
    stops: list[int], checkpoint_every: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkpoint = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    config = tiny(num_steps=NUM_STEPS, log_every=1, checkpoint_every=checkpoint_every)
    for stop in [*stops, None]:

        def on_progress(step: int, _: dict[str, Any], stop: int | None = stop) -> None:
            if step == stop:
                raise KilledError

        try:
            trained(config, checkpoint, on_progress=on_progress)
        except KilledError:
            assert stop is not None
    assert_same_run(checkpoint, NUM_STEPS)


def test_a_finished_run_is_not_trained_further_and_another_s_is_not_continued(tmp_path: Path) -> None:
    checkpoint, seen = tmp_path / "checkpoint.pt", []
    curve, first = trained(tiny(), checkpoint)
    again, second = trained(tiny(seed=7), checkpoint, on_progress=lambda step, _: seen.append(step))
    assert again == curve
    assert seen == []
    assert_same_weights(first, second)
    save_checkpoint(checkpoint, {"step": 3}, "other")
    with pytest.raises(CheckpointError, match="another configuration"):
        trained(tiny(), checkpoint)


def test_labels_are_the_logarithm_of_a_domain_s_own_share_and_teach_it() -> None:
    config = tiny(num_steps=40, learning_rate=0.02)
    assert config.label_weight == 0.0
    episodes = sample_episodes(EPISODES, 3, torch.Generator().manual_seed(0), "training")
    shares = torch.softmax(torch.randn(*episodes.tokens.shape, 2, generator=torch.Generator().manual_seed(1)), dim=-1)
    own = [
        math.log(shares[row, segment, time, int(episodes.domains[segment, time])])
        for row, segment, time in itertools.product(*map(range, episodes.tokens.shape))
    ]
    assert_near(training.label_loss(shares, episodes), torch.tensor(-sum(own) / len(own)), SINGLE)
    # No bank is certain of nothing: a share of zero has a bound.
    certain = torch.zeros_like(shares)
    assert training.label_loss(certain, episodes).isfinite()

    # Axes that the gradient alone moves take sides where labels say which, and the sides that they say.
    assert config.memory is not None
    memory = replace(config.memory, drive="gradient", homeostasis=False)
    curve, _ = trained(replace(config, memory=memory), label_weight=3.0)
    left, right = curve[-1]["separation"]
    assert left > 0.5 > -0.5 > right


def test_labels_need_a_bank_for_each_domain() -> None:
    config = tiny()
    with pytest.raises(ValueError, match=r"label_weight is 1.0; it must be 0 with fewer banks \(1\) than domains"):
        replace(config, label_weight=1.0, memory=replace(config.memory, num_banks=1))
    for wrong in (-1.0, math.inf):
        with pytest.raises(ValueError, match=r"label_weight is .*at least 0 and finite"):
            replace(config, label_weight=wrong)
