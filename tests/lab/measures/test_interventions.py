"""Interventions: what a memory that is known by construction must give under each condition."""

from dataclasses import dataclass

import pytest
import torch
from tests.lab.tiny import tiny
from torch import Generator, Tensor

from callosal.lab.measures import interventions
from callosal.lab.measures.interventions import measure_interventions
from callosal.lab.models.transformer import Transformer, TransformerConfig
from callosal.lab.runs import build_model
from callosal.lab.tasks import EpisodeConfig
from callosal.memory import LateralMemory, RowState

CONFIG = EpisodeConfig(num_letters=4, pairs_per_segment=4, num_rounds=1, modulus=5)


@dataclass(frozen=True, kw_only=True, eq=False)
class Notebook(RowState):
    """What followed each letter, as written down: [batch, letter], zero where nothing was."""

    trace: Tensor


class PerfectModel(Transformer):
    """A model that writes the cipher down as it is told, and knows arithmetic."""

    def __init__(self) -> None:
        super().__init__(TransformerConfig(num_tokens=10, max_time=8, width=4, num_heads=1))

    def blank(self, batch_size: int) -> dict[int, Notebook]:
        return {0: Notebook(trace=torch.zeros(batch_size, 4, dtype=torch.long))}

    def forward(self, tokens: Tensor, states: dict) -> tuple[Tensor, dict]:
        notes = states[0].trace.clone()
        logits = torch.zeros(*tokens.shape, CONFIG.vocabulary)
        for row, segments in enumerate(tokens.tolist()):
            for index, segment in enumerate(segments):
                for time, token in enumerate(segment):
                    follows = segment[time + 1] if time + 1 < len(segment) else None
                    if token < 4 and follows is not None and follows < 4 and time % 2 == 0:
                        notes[row, token] = follows
                    known = int(notes[row, token]) if token < 4 else None
                    if token >= 4 and time and token != CONFIG.blank:
                        known = (2 * token - segment[time - 1] - 4) % 5 + 4
                    if known is not None:
                        logits[row, index, time, known] = 1.0
        return logits, {0: Notebook(trace=notes)}


def test_a_perfect_memory_loses_the_cipher_and_only_the_cipher_when_it_is_taken_away() -> None:
    measured = measure_interventions(PerfectModel(), CONFIG, 60, Generator().manual_seed(0))
    assert measured.domains == ["cipher", "arithmetic"]
    assert measured.warm == [1.0, 1.0]
    # A blank notebook answers with letter zero: right for one letter in four.
    assert measured.fresh == measured.frozen == [0.25, 1.0]
    own, neighbours = measured.swapped
    assert neighbours == 1.0
    assert own == pytest.approx(0.25, abs=0.1)
    assert measured.lesioned == measured.silenced == measured.swapped_banks == []


def test_every_bank_is_tried_and_the_model_stays_as_it_was() -> None:
    model = build_model(tiny()).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measured = measure_interventions(model, CONFIG, 8, Generator().manual_seed(0))
    for per_bank in (measured.lesioned, measured.silenced, measured.swapped_banks):
        assert [len(values) for values in per_bank] == [2, 2]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    again = measure_interventions(model, CONFIG, 8, Generator().manual_seed(0))
    assert again == measured


def test_a_silenced_bank_neither_reads_out_nor_holds_anything() -> None:
    model = build_model(tiny()).eval()
    without = interventions._silence(model, 1)
    memory, original = without.memory_at(0), model.memory_at(0)
    assert isinstance(memory, LateralMemory)
    assert isinstance(original, LateralMemory)
    hidden = torch.randn(2, 3, 4, 16)
    _, state = memory(hidden, memory.blank(2))
    assert (state.trace[:, 1] == 0.0).all()
    assert (memory.values(state.trace)[:, 1] == 0.0).all()
    _, whole = original(hidden, original.blank(2))
    # The other bank's first write does not depend on it.
    torch.testing.assert_close(
        memory(hidden[:, 0], memory.blank(2))[1].trace[:, 0],
        original(hidden[:, 0], original.blank(2))[1].trace[:, 0],
    )
    assert (whole.trace[:, 1] != 0.0).any()


def test_one_episode_has_no_neighbour() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        measure_interventions(build_model(tiny()), CONFIG, 1, Generator())
