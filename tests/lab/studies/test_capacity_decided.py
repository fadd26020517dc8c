"""The study of capacity: what its counts say is so of the update itself, and what is run is what they are about."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from tests.lab import recorded
from tests.tolerances import EXACT
from torch import Tensor

from callosal.lab.runs import small_memory
from callosal.lab.studies import catalog
from callosal.lab.studies.capacity_decided.cells import CELLS, NAMED, WIDTH
from callosal.lab.studies.capacity_decided.measures import pairs_held, slot_each, told_apart
from callosal.ops import gram
from callosal.training.loop import cycle_ends

PAIRS = 3
MAPPINGS = list(permutations(range(PAIRS)))


def told(asked: Tensor, answers: Tensor | None, mapping: tuple[int, ...], *, observed: bool = False) -> Tensor:
    """Write a mapping, and return what is read at each letter.

    A token touches what was asked and what it answers, or what was asked alone; slots and answers have dimensions of
    their own.
    """
    weights = asked if answers is None else (asked + answers[list(mapping)]) / 2
    slots = asked.shape[-1]
    own = torch.eye(slots + PAIRS, dtype=torch.float64)
    return asked @ gram.consolidate(weights, own[:slots], own[slots:][list(mapping)] if observed else None)


def apart(asked: Tensor, answers: Tensor | None, *, observed: bool = False) -> bool:
    """Whether what is read at a letter tells its answer, and nothing of the others' answers comes in."""
    for letter in range(PAIRS):
        read: dict[int, list[Tensor]] = {}
        for mapping in MAPPINGS:
            read.setdefault(mapping[letter], []).append(told(asked, answers, mapping, observed=observed)[letter])
        firsts = torch.stack([found[0] for found in read.values()])
        others = torch.stack([found[1] for found in read.values()])
        if (firsts - others).abs().max() > EXACT or (torch.cdist(firsts, firsts) < EXACT).sum() > PAIRS:
            return False
    return True


def test_a_slot_each_for_asking_and_answering_is_enough_and_nothing_of_others_comes_in() -> None:
    slots = torch.eye(2 * PAIRS, dtype=torch.float64)
    assert slot_each(len(slots), observed=False) == PAIRS
    assert apart(slots[:PAIRS], slots[PAIRS:])


def test_answers_may_share_two_slots() -> None:
    slots = torch.eye(PAIRS + 2, dtype=torch.float64)
    assert told_apart(len(slots), observed=False, width=1) == PAIRS
    split = torch.linspace(0.0, 1.0, PAIRS, dtype=torch.float64)[:, None]
    assert apart(slots[:PAIRS], split * slots[-2] + (1.0 - split) * slots[-1])
    # One slot for all of them tells none apart.
    assert not apart(slots[:PAIRS], slots[-1].expand(PAIRS, -1))


def test_with_the_payload_no_answer_needs_a_slot() -> None:
    slots = torch.eye(PAIRS, dtype=torch.float64)
    assert slot_each(PAIRS, observed=True) == told_apart(PAIRS, observed=True, width=1) == PAIRS
    assert apart(slots, None, observed=True)
    assert not apart(slots, None)


@pytest.mark.parametrize(("slots", "pairs"), [(3, 5), (4, 6)])
def test_with_the_payload_the_right_answer_scores_highest_though_slots_are_fewer_than_pairs(
    slots: int, pairs: int
) -> None:
    assert told_apart(slots, observed=True, width=pairs) == pairs > slots
    # Rows that are not negative, sum to one, are of one length, and differ: on a circle around the even split.
    angles = 2 * torch.pi * torch.arange(pairs, dtype=torch.float64) / pairs
    plane = torch.linalg.qr(torch.eye(slots, dtype=torch.float64)[:, :2] - 1 / slots).Q
    rows = 1 / slots + 0.2 * (angles.cos()[:, None] * plane[:, 0] + angles.sin()[:, None] * plane[:, 1])
    assert rows.min() > 0.0
    torch.testing.assert_close(rows.sum(-1), torch.ones(pairs, dtype=torch.float64), rtol=0.0, atol=EXACT)
    answers = torch.eye(pairs, dtype=torch.float64)
    for mapping in permutations(range(pairs)):
        held = gram.send(rows, answers[list(mapping)])
        assert (rows @ held).argmax(-1).tolist() == list(mapping)


def test_one_slot_for_a_letter_in_both_parts_cannot_tell_a_mapping_from_its_inverse() -> None:
    slots = torch.eye(PAIRS, dtype=torch.float64)
    cycle, inverse = (1, 2, 0), (2, 0, 1)
    torch.testing.assert_close(told(slots, slots, cycle), told(slots, slots, inverse), rtol=0.0, atol=EXACT)
    assert not apart(slots, slots)


@pytest.mark.parametrize("pairs", [2, 8, 24])
def test_pairs_held_are_those_known_where_the_others_are_guessed(pairs: int) -> None:
    for known in range(pairs + 1):
        recall = (known + (pairs - known) / pairs) / pairs
        assert pairs_held(recall, pairs) == pytest.approx(known, abs=EXACT)
    assert pairs_held(0.0, pairs) == 0.0


def test_cells_are_run_as_they_are_named() -> None:
    runs = catalog.configs("capacity_decided")
    seeds = catalog.layout_of("capacity_decided").seeds
    assert {(run.seed, run.arm) for run in runs} == {(seed, cell.name) for seed in seeds for cell in CELLS}
    for run in runs:
        cell, memory, episodes = NAMED[run.arm], run.memory, run.episodes
        assert (episodes.num_letters, episodes.segment_length) == (cell.pairs, 2 * cell.pairs)
        assert (memory.num_slots, memory.num_banks, memory.observe) == (cell.slots, cell.banks, cell.observed)
        assert (memory.slot_width, run.transformer.width) == (cell.width, WIDTH)
        assert run.labels == {"observed": cell.observed, "slot_width": cell.width}
        changed = {"num_slots", "num_banks", "observe", "inner_width"}
        same = {name: value for name, value in vars(memory).items() if name not in changed}
        assert same == {name: value for name, value in vars(small_memory()).items() if name not in changed}
        assert cycle_ends(run.training) == (200, 600, 1400, 3000)[: cell.cycles]
    alike = {replace(run.training, num_steps=1, checkpoint_every=1, cycles=1) for run in runs}
    assert len(alike) == len({run.retention for run in runs}) == 1
    others = {
        run.seed for folder in recorded.FOLDERS if folder != "capacity_decided" for run in recorded.records(folder)
    }
    assert not others & set(seeds)
