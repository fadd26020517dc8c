"""A memory that writes its tokens' embeddings gets them from the model, however it is called."""

from dataclasses import replace

import pytest
import torch
from tests.hosts.hosts import CONFIG, make, prompts, trained
from tests.laws import assert_same_state
from tests.tolerances import SINGLE
from torch import nn

from callosal import LateralMemory, MemoryConfig, attach

EMBEDDED = replace(CONFIG, observe=True, embedded=True, writers="lagged", inner_width=8)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_model_hands_on_what_it_embeds(name: str) -> None:
    model, tokens = make(name), prompts()
    embedding = model.get_input_embeddings()(tokens)
    memories = trained(attach(model, layers=0, config=EMBEDDED))
    (layer,) = memories
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[-1]), prepend=True)
    with torch.no_grad():
        with memories.session() as session:
            model(tokens)
        hidden = seen[0] if isinstance(seen[0], torch.Tensor) else seen[0][0]
        expected = memories[layer](hidden, embedded=embedding)[1]
        assert_same_state(session.states[layer], expected, SINGLE)
        # What the tokens are is what is written, so other tokens of the same hidden states leave another memory.
        other = memories[layer](hidden, embedded=embedding.roll(1, 1))[1]
        assert not torch.allclose(other.trace, expected.trace, atol=1e-3)
        with memories.session() as session:
            model(inputs_embeds=embedding)
        assert_same_state(session.states[layer], expected, SINGLE)
        # Token by token, as generation calls it.
        with memories.session() as session:
            cache = model(tokens[:, :3], use_cache=True).past_key_values
            for at in range(3, tokens.shape[1]):
                cache = model(tokens[:, at : at + 1], past_key_values=cache, use_cache=True).past_key_values
        assert_same_state(session.states[layer], expected, SINGLE)
    handle.remove()


def test_without_embeddings_it_says_what_is_missing() -> None:
    memory = LateralMemory(MemoryConfig(width=4, observe=True, embedded=True))
    with pytest.raises(ValueError, match="was given none; pass embedded="):
        memory(torch.randn(1, 3, 4))
    with pytest.raises(ValueError, match=r"get_input_embeddings.*embedded=False"):
        attach(nn.Sequential(nn.Linear(32, 32)), layers="0", config=EMBEDDED)


def test_a_lagged_writer_binds_what_follows_to_what_came_before() -> None:
    memory = LateralMemory(
        MemoryConfig(width=16, num_slots=8, observe=True, writers="lagged", temperature=200.0)
    ).eval()
    hidden = torch.randn(1, 2, 16, generator=torch.Generator().manual_seed(0))
    looks = memory.look(hidden).slots
    state = memory(hidden)[1]
    # The second token lies where the first looks.
    place = looks[0, 0, 0].flatten().argmax()
    moved = state.trace[0].flatten(0, 1).norm(dim=-1)
    first = looks[0, 0, 1].flatten().argmax()
    assert set(moved.topk(4).indices.tolist()) >= {place.item(), first.item()}
    with pytest.raises(ValueError, match='must be "all" with one head'):
        MemoryConfig(width=4, num_heads=1, writers="lagged")
