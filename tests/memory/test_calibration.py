"""Calibration on a stream like a pretrained model's: one mean, and five directions with half of what varies."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cases import normal
from tests.laws import assert_near, assert_same_bits_of
from torch import Tensor

from callosal.memory import LateralMemory, MemoryConfig, MemoryFileError, calibrate, load_memory, save_memory
from callosal.ops import address

WIDTH = 48


def stream(seed: int, num_words: int = 30, num_each: int = 20) -> tuple[Tensor, Tensor]:
    """Return hidden states of words in many places, and which word each is of."""
    spread = torch.ones(WIDTH, dtype=torch.float64)
    spread[:5] = 20.0
    words, noise = normal(1, num_words, WIDTH), normal(seed + 2, num_words * num_each, WIDTH)
    word = torch.arange(num_words).repeat_interleave(num_each)
    # The strong directions say nothing of the word, as in real models.
    words[:, :5] = 0.0
    return 30.0 * normal(0, WIDTH) + spread * (words[word] + 0.3 * noise), word


def build(**fields: Any) -> LateralMemory:
    torch.manual_seed(0)
    return LateralMemory(MemoryConfig(**{"width": WIDTH, "num_slots": 32, **fields})).double().eval()


def addresses_of(memory: LateralMemory, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return each token's query, and its attention over the slots of the first bank."""
    queries = address.unit_norm(memory.led_in(hidden) @ memory.query_map.T)
    logits = address.slot_logits(queries[:, None], memory.addresses, memory.log_temperature.exp())
    return queries, logits[:, 0, 0].softmax(-1)


@pytest.mark.parametrize("inner_width", [None, 24])
@torch.no_grad()
def test_tokens_that_all_looked_alike_are_told_apart(inner_width: int | None) -> None:
    memory = build(inner_width=inner_width)
    hidden, word = stream(seed=3)

    def measure() -> tuple[float, float]:
        """Mean cosine between queries; overlap of addresses within a word over that between words."""
        queries, attention = addresses_of(memory, hidden)
        same = word[:, None] == word
        other, itself = ~same, torch.eye(len(word), dtype=torch.bool)
        overlap = attention @ attention.T
        cosine = (queries @ queries.T)[other].mean().item()
        return cosine, (overlap[same & ~itself].mean() / overlap[other].mean()).item()

    alike, told_apart = measure()
    assert alike > 0.5
    assert told_apart < 3.0
    calibrate(memory, stream(seed=4)[0])
    alike, told_apart = measure()
    assert abs(alike) < 0.1
    assert told_apart > 10.0


def test_a_calibrated_memory_is_saved_and_built_again() -> None:
    memory = build(inner_width=24, observe=True)
    calibrate(memory, stream(seed=4)[0])
    assert memory.config == MemoryConfig(width=WIDTH, num_slots=32, inner_width=24, observe=True, calibrated=True)
    again = LateralMemory(memory.config).double().eval()
    again.load_state_dict(memory.state_dict())
    hidden = stream(seed=3)[0].view(5, -1, WIDTH)
    assert_same_bits_of(again(hidden), memory(hidden))
    # What is measured is not learned.
    frozen = [name for name, parameter in memory.named_parameters() if not parameter.requires_grad]
    assert frozen == ["hidden_mean", "hidden_whitening"]


def test_what_was_remembered_belongs_to_its_calibration(tmp_path: Path) -> None:
    memory = build(inner_width=24, observe=True, salience="retrieved")
    calibrate(memory, stream(seed=4)[0])
    _, state = memory(stream(seed=3)[0].view(5, -1, WIDTH))
    save_memory(state, tmp_path / "user", memory)
    assert_same_bits_of(load_memory(tmp_path / "user", memory), state)
    recalibrated = copy.deepcopy(memory)
    with torch.no_grad():
        recalibrated.hidden_mean.mul_(1.01)
    with pytest.raises(MemoryFileError, match="other weights of the same configuration"):
        load_memory(tmp_path / "user", recalibrated)
    with pytest.raises(MemoryFileError, match=r"calibrated True in the file, at its default here"):
        load_memory(tmp_path / "user", build(inner_width=24, observe=True, salience="retrieved"))


def test_it_is_the_same_each_time_and_depends_on_neither_scale_nor_place() -> None:
    one, other, shifted = build(), build(), build()
    hidden = stream(seed=4)[0]
    for memory, sample in ((one, hidden), (other, hidden), (shifted, 3.0 * hidden + 7.0)):
        calibrate(memory, sample)
    assert_same_bits_of(dict(one.named_parameters()), dict(other.named_parameters()))
    # The sample is single precision.
    assert_near(shifted.led_in(3.0 * hidden + 7.0), one.led_in(hidden), 1e-3)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (torch.ones(100, 7), r"shape \(100, 7\); it must be \[tokens, 48\] with at least 48 tokens"),
        (torch.ones(47, 48), r"shape \(47, 48\); it must be"),
        (torch.full((60, 48), float("nan")), "the sample holds NaN or infinity"),
    ],
)
def test_a_sample_that_will_not_do_is_refused(sample: Tensor, message: str) -> None:
    memory = build()
    with pytest.raises(ValueError, match=message):
        calibrate(memory, sample)
    assert not memory.config.calibrated
