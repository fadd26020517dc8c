"""Interventions: what a memory that is known by construction must give under each condition."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.lab.tiny import EPISODES as CONFIG
from tests.lab.tiny import tiny_model, unmoved
from torch import Generator, Tensor

from callosal.lab.measures import interventions
from callosal.lab.measures.interventions import measure_interventions
from callosal.lab.models.transformer import Transformer, TransformerConfig
from callosal.memory import LateralMemory, RowState


@dataclass(frozen=True, kw_only=True, eq=False)
class Notebook(RowState):
    """What followed each letter, as written down: [batch, letter], zero where nothing was."""

    trace: Tensor


class PerfectModel(Transformer):
    """A model that writes the cipher down, and has arithmetic built in."""

    def __init__(self) -> None:
        super().__init__(TransformerConfig(num_tokens=10, max_time=8, width=4, num_heads=1))

    def blank(self, batch_size: int) -> dict[int, Notebook]:
        return {0: Notebook(trace=torch.zeros(batch_size, 4, dtype=torch.long))}

    def forward(self, tokens: Tensor, states: dict) -> tuple[Tensor, dict]:
        notes = states[0].trace.clone()
        logits = torch.zeros(*tokens.shape, CONFIG.vocabulary)
        for (row, index, time), token in np.ndenumerate(tokens.numpy()):
            segment = tokens[row, index].tolist()
            if token < 4:
                if time % 2 == 0 and segment[time + 1] < 4:
                    notes[row, token] = segment[time + 1]
                logits[row, index, time, notes[row, token]] = 1.0
            elif time and token != CONFIG.blank:
                logits[row, index, time, (2 * token - segment[time - 1] - 4) % 5 + 4] = 1.0
        return logits, {0: Notebook(trace=notes)}


def test_a_perfect_memory_loses_the_cipher_and_only_the_cipher_when_it_is_taken_away() -> None:
    measured = measure_interventions(PerfectModel(), CONFIG, 60, Generator().manual_seed(0))
    assert measured.domains == ["cipher", "arithmetic"]
    assert measured.warm == [1.0, 1.0]
    # A blank notebook answers with letter zero: right for one letter in four.
    assert measured.fresh == measured.frozen == [0.25, 1.0]
    assert measured.swapped == [pytest.approx(0.25, abs=0.1), 1.0]
    assert measured.lesioned == measured.silenced == measured.swapped_banks == []


def test_every_bank_is_tried_and_the_model_stays_as_it_was() -> None:
    model = tiny_model()
    with unmoved(model):
        measured, again = (measure_interventions(model, CONFIG, 8, Generator().manual_seed(0)) for _ in range(2))
    assert again == measured
    for per_bank in (measured.lesioned, measured.silenced, measured.swapped_banks):
        assert [len(values) for values in per_bank] == [2, 2]


def test_a_silenced_bank_neither_reads_out_nor_holds_anything() -> None:
    model = tiny_model()
    without = interventions._silence(model, 1)
    memory, original = without.memory_at(0), model.memory_at(0)
    assert isinstance(memory, LateralMemory)
    assert isinstance(original, LateralMemory)
    hidden = torch.randn(2, 3, 4, 16)
    trace = memory(hidden, memory.blank(2))[1].trace
    assert (trace[:, 1] == 0.0).all()
    assert (memory.values(trace)[:, 1] == 0.0).all()
    # The other bank's first write does not depend on it.
    one, other = (m(hidden[:, 0], m.blank(2))[1].trace for m in (memory, original))
    torch.testing.assert_close(one[:, 0], other[:, 0])
    assert (other[:, 1] != 0.0).any()
    # One episode has no neighbour to swap with.
    with pytest.raises(ValueError, match="at least 2"):
        measure_interventions(tiny_model(), CONFIG, 1, Generator())
