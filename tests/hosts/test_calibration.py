"""Memories calibrated on a model's own hidden states: what is sampled, kept, said and refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.hosts.hosts import CONFIG, WIDTH, make, prompts, same_bits, trained
from tests.laws import assert_same_bits_of
from torch import Tensor, nn

from callosal import MemoryConfig, attach, attach_pretrained, unload
from callosal.hosts.calibration import UncalibratedWarning, sample_hidden

LAYERS = ["model.layers.0", "model.layers.1"]


def pretrained() -> Any:
    """Return a model as from_pretrained returns it."""
    model = make()
    model.name_or_path = "somebody/tiny-llama"
    return model


def test_what_is_sampled_is_what_the_memories_will_see_without_sinks() -> None:
    model, tokens = make(), prompts(rows=4, time=9)
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    sampled = sample_hidden(model, LAYERS, [{"input_ids": tokens, "attention_mask": mask}], None, 1000)
    states = model(tokens, attention_mask=mask, output_hidden_states=True).hidden_states
    there = mask.bool()
    there[:, 0] = there[1, 3] = False  # the first token of each
    assert_same_bits_of(sampled["model.layers.0"], states[1][there])

    class Sink(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, hidden: Tensor) -> Tensor:
            return self.layer(hidden)

    hidden = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    hidden[1, 5] *= 1000.0
    kept = sample_hidden(Sink(), ["layer"], [hidden], None, 1000)["layer"]
    expected = torch.cat([hidden[0, 1:], hidden[1, 1:5], hidden[1, 6:]])
    assert_same_bits_of(kept, expected)


def test_texts_ids_and_loaders_are_the_same_and_no_more_is_read_than_asked_for() -> None:
    model, tokens = make(), prompts(rows=6, time=12)

    def tokenizer(text: str) -> dict[str, list[int]]:
        return {"input_ids": tokens[int(text)].tolist()}

    one, *others = (
        sample_hidden(model, LAYERS, texts, tokenizer, 30)
        for texts in (
            ["0", "1", "2", "3"],
            [row.tolist() for row in tokens],
            list(tokens),
            ({"input_ids": row[None], "labels": row[None]} for row in tokens),
        )
    )
    assert {tensor.shape for tensor in one.values()} == {(30, WIDTH)}
    for other in others:
        assert_same_bits_of(other, one)


@pytest.mark.parametrize("fields", [{}, {"inner_width": 8, "observe": True, "salience": "learned"}], ids=str)
def test_calibrated_memories_start_silent_and_are_kept_in_the_adapter(tmp_path: Path, fields: dict[str, Any]) -> None:
    model, tokens = make().train(), prompts()
    before = copy.deepcopy(model.state_dict())
    memories = attach(model, layers=[0, 1], config=MemoryConfig(width=WIDTH, num_slots=6, **fields))
    memories.calibrate(prompts(rows=10, time=20))
    assert model.training
    assert memories.training
    assert memories.warn_outside_session
    model.eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items() if name in before)
    with memories.session():
        logits = model(tokens).logits
    memories.warn_outside_session = False
    assert torch.equal(model(tokens).logits, logits)
    means = [memory.hidden_mean for _, memory in memories.items()]
    assert not torch.equal(*means)

    trained(memories).save_pretrained(tmp_path)
    other = make()
    again = attach_pretrained(other, tmp_path)
    assert again[LAYERS[0]].config == memories[LAYERS[0]].config
    assert again[LAYERS[0]].config.calibrated
    with memories.session() as one, again.session() as two:
        for _ in range(2):
            assert torch.equal(other(tokens).logits, model(tokens).logits)
        assert same_bits(one.states, two.states)
        width = fields.get("inner_width", WIDTH)
        assert one.states[LAYERS[0]].trace.shape == (len(tokens), 2, 6, width)


def test_a_pretrained_model_without_calibration_is_told_so_once(tmp_path: Path) -> None:
    memories = attach(pretrained(), layers=[0], config=CONFIG)
    with pytest.warns(UncalibratedWarning, match=r"Call memories\.calibrate\(texts, tokenizer\) before you train"):
        memories.session()
    memories.session()
    memories.save_pretrained(tmp_path)
    # No word where it was calibrated, has no weights of a hub, or was trained as it is.
    unload(memories.model)
    calibrated = attach(memories.model, layers=[0], config=CONFIG)
    calibrated.calibrate(prompts(rows=10, time=20))
    calibrated.session()
    attach(make(), layers=[0], config=CONFIG).session()
    attach_pretrained(pretrained(), tmp_path).session()


def test_what_cannot_be_calibrated_is_refused_and_changes_nothing() -> None:
    memories = attach(make(), layers=[0, 1], config=CONFIG)
    texts = prompts(rows=10, time=20)
    kept = {name: tensor.clone() for name, tensor in memories.state_dict().items()}
    with memories.session(), pytest.raises(RuntimeError, match="inside a session"):
        memories.calibrate(texts)
    with pytest.raises(ValueError, match=r"a text; pass tokenizer=\.\.\. too"):
        memories.calibrate(["hello"])
    with pytest.raises(TypeError, match=r"one str; give it many"):
        memories.calibrate("hello")
    with pytest.raises(ValueError, match=rf"shape \(8, {WIDTH}\); it must be .* at least {WIDTH} tokens"):
        memories.calibrate(texts[:1, :9])
    assert_same_bits_of(memories.state_dict(), kept)
    trained(memories)
    with pytest.raises(RuntimeError, match="would undo the training"):
        memories.calibrate(texts)
    assert not memories[LAYERS[0]].config.calibrated
