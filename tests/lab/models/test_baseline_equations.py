"""What each baseline is by its own paper."""

import math
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.lab.baselines import WIDTH, build, draw, make, written_state
from tests.laws import assert_near, assert_same_bits
from tests.tolerances import SINGLE
from torch import Tensor

from callosal.lab.models import baselines as b
from callosal.lab.models.baselines.base import Views
from callosal.lab.models.baselines.gated_delta import gated_delta_rule
from callosal.memory import Routes
from callosal.ops.address import unit_norm


def test_full_history_is_causal_attention_over_the_stream() -> None:
    memory, hidden = build("full_history"), draw(2, 3, 4)
    y, _ = memory(hidden, memory.blank(2))
    block, stream = memory.block, hidden.flatten(1, 2)
    seen = stream * torch.rsqrt(stream.square().mean(-1, keepdim=True)) * block.norm.weight
    queries, keys, values = (seen @ w.T for w in block.to_parts.weight.chunk(3))
    future = torch.ones(12, 12).triu(1).bool()
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        logits = queries[..., part] @ keys[..., part].mT / math.sqrt(3)
        heads.append(logits.masked_fill(future, -torch.inf).softmax(-1) @ values[..., part])
    assert_near(y.flatten(1, 2), torch.cat(heads, dim=-1) @ block.merge.weight.T)


def test_memory_network_forgets_what_left_the_ring() -> None:
    memory = build("memory_network")
    hidden = draw(2, 3, 4).requires_grad_()
    y, state = memory(hidden[:, :2], memory.blank(2))
    assert_near(state.items, memory.norm(hidden[:, :2]).flatten(1, 2)[:, -7:])
    y, _ = memory(hidden[:, 2], state)
    (gradient,) = torch.autograd.grad(y.square().sum(), hidden)
    gradient = gradient.flatten(1, 2).abs().amax(-1)
    assert (gradient[:, 0] == 0.0).all()
    assert (gradient[:, 1:] > 0.0).all()
    # Only existing tokens take places.
    hidden = draw(1, 3, 4)
    mask = torch.tensor([[[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 0]]]).bool()
    _, state = memory(hidden, memory.blank(1), mask)
    assert state.held.tolist() == [[0, 0, 1, 1, 1, 1, 1]]
    assert_near(state.items[0, 2:], memory.norm(hidden[mask]))
    assert_same_bits(state.items[0, :2], torch.zeros_like(state.items[0, :2]))


def test_memory_network_hops_are_the_papers() -> None:
    memory, hidden = build("memory_network"), draw(1, 1)
    state = memory(draw(1, 5, seed=2), memory.blank(1))[1]
    items, places = state.items[0, 2:], range(5)
    a1, a2, a3 = (layer.weight for layer in memory.maps)
    query = a1 @ memory.norm(hidden[0, 0])
    for key_map, value_map in [(a1, a2), (a2, a3)]:
        keys = [key_map @ items[i] + memory.key_ages[i + 2] for i in places]
        shares = torch.stack([query @ key for key in keys]).exp()
        values = [value_map @ items[i] + memory.value_ages[i + 2] for i in places]
        answer = sum(shares[i] / shares.sum() * values[i] for i in places)
        query = memory.between.weight @ query + answer
    assert_near(memory(hidden, state)[0][0, 0], memory.output.weight @ query)


def test_turing_steps_are_the_papers() -> None:
    memory, hidden = build("turing"), draw(1, 2)
    state = written_state(memory, 1)
    y, after = memory(hidden, state)
    matrix, (read, write) = state.memory[0], state.weights[0]
    w = WIDTH

    def addressed(key: Tensor, strength: Tensor, gate: Tensor, last: Tensor) -> Tensor:
        # The small numbers keep gradients finite.
        norms = (matrix.square().sum(-1) + 1e-6).sqrt() * (key.square().sum() + 1e-6).sqrt()
        cosines = matrix @ key / norms
        content = torch.softmax(torch.log1p(strength.exp()) * cosines, dim=-1)
        return gate.sigmoid() * content + (1 - gate.sigmoid()) * last

    for step in range(2):
        out = memory.controller(memory.norm(hidden))[0, step]
        assert len(out) == 4 * w + 4
        read = addressed(out[:w], out[4 * w], out[4 * w + 2], read)
        write = addressed(out[w : 2 * w], out[4 * w + 1], out[4 * w + 3], write)
        assert_near(y[0, step], memory.output(read @ matrix))
        erase, add = out[2 * w : 3 * w].sigmoid(), out[3 * w : 4 * w]
        matrix = matrix * (1 - torch.outer(write, erase)) + torch.outer(write, add)
    assert_near(after.memory[0], matrix)
    assert_near(after.weights[0], torch.stack([read, write]))
    assert_near(after.weights.sum(-1), torch.ones(1, 2))


def test_recurrent_tokens_are_one_block_over_read_segment_write() -> None:
    memory, hidden = build("recurrent"), draw(2, 4)
    state = written_state(memory, 2)
    y, after = memory(hidden, state)
    stream = torch.cat([state.tokens, hidden, state.tokens], dim=1)
    asking, asked = torch.arange(10)[:, None], torch.arange(10)
    visible = (asked < 3) | (asked <= asking) | (asking >= 7)
    whole = stream + memory.block(stream, *memory.block.project(stream), visible[None])
    assert_near(y, whole[:, 3:7] - hidden)
    assert_near(after.tokens, memory.last_norm(whole[:, 7:]))


def test_switch_sends_a_token_to_one_expert() -> None:
    memory, hidden = build("switch"), draw(2, 3, 4)
    assert isinstance(build("switch"), Routes)
    mask = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.7
    shares = memory.bank_share(hidden, mask=mask)
    assert_same_bits(shares.sum(-1), mask.double())
    assert set(shares.unique().tolist()) == {0.0, 1.0}
    probability = torch.softmax(memory.router(hidden), dim=-1)
    assert torch.equal(shares[mask].argmax(-1), probability[mask].argmax(-1))
    y, state = memory(hidden, memory.blank(2), mask)
    for place in mask.nonzero().tolist():
        chosen = int(shares[*place].argmax())
        expected = probability[*place, chosen] * memory.experts[chosen](hidden[*place])
        assert_near(y[*place], expected)
    fractions, means = shares[mask].mean(0), probability[mask].mean(0)
    assert_near(state.penalty, 0.01 * 3 * (fractions * means).sum())
    (gradient,) = torch.autograd.grad(state.penalty, memory.router[1].weight)
    assert gradient.abs().max() > 0.0
    # Least, alpha, when all experts get the same; nothing before any token.
    two, six = torch.full_like(state.chosen, 2.0), torch.full_like(state.num_tokens, 6.0)
    even = replace(state, chosen=two, probability=two, num_tokens=six)
    assert even.penalty.item() == pytest.approx(0.01)
    assert memory.blank(2).penalty.item() == memory.blank(0).penalty.item() == 0.0


@pytest.mark.parametrize(("num_heads", "head_width", "depth"), [(2, 4, 1), (1, WIDTH, 2)])
@pytest.mark.parametrize("renew", [True, False])
def test_titans_is_the_package(num_heads: int, head_width: int, depth: int, renew: bool) -> None:
    """Renewed, it is the package with a batch per segment; else as the package comes."""
    sizes: dict[str, Any] = {"num_heads": num_heads, "head_width": head_width, "depth": depth}
    config = b.TitansConfig(width=WIDTH, max_step=0.7, renew=renew, **sizes)
    memory, hidden = make(config).double(), draw(2, 3, 4)
    package = type(memory.neural)(
        WIDTH,
        batch_size=4 if renew else None,
        default_step_transform_max_lr=0.7,
        heads=num_heads,
        dim_head=head_width,
        default_model_kwargs={"depth": depth, "expansion_factor": 2.0},
    ).double()
    package.load_state_dict(memory.neural.state_dict())
    expected, _ = package(hidden.flatten(1, 2))
    y, _ = memory(hidden, memory.blank(2))
    assert_near(y.flatten(1, 2), expected)


def test_titans_takes_no_mask_with_a_gap_and_no_part_of_a_chunk() -> None:
    memory = make(b.TitansConfig(width=WIDTH, chunk_size=2))
    hidden, state, mask = draw(2, 4).float(), memory.blank(2), torch.ones(2, 4).bool()
    whole, _ = memory(hidden, state, mask)
    assert_near(whole, memory(hidden, state)[0])
    mask[0, 3] = False
    with pytest.raises(ValueError, match="a mask with absent tokens; titans-pytorch forgets"):
        memory(hidden, state, mask)
    message = r"3 tokens; .* multiples of TitansConfig.chunk_size \(2\)"
    with pytest.raises(ValueError, match=message):
        memory(hidden[:, :3], state)


def test_without_the_package_titans_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "titans_pytorch.neural_memory", None)
    monkeypatch.setitem(sys.modules, "titans_pytorch", None)
    with pytest.raises(ImportError, match=r"pip install 'callosal\[rivals\]'"):
        b.TitansMemory(b.TitansConfig(width=4))


def test_views_look_back_by_their_filters_and_before_the_segment_there_is_nothing() -> None:
    views, hidden = Views(2, (0, 1), 3), torch.randn(1, 4, 2)
    at, before = views(hidden)
    assert torch.equal(at, hidden)
    assert torch.equal(before[:, 1:], hidden[:, :-1])
    assert (before[:, 0] == 0.0).all()
    with torch.no_grad():
        views.filters[0] = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.5]])
    by_hand = torch.stack([hidden[0, 3, 0] - 3.0 * hidden[0, 1, 0], 2.0 * hidden[0, 2, 1] + 0.5 * hidden[0, 1, 1]])
    torch.testing.assert_close(views(hidden)[0, 0, 3], by_hand)
    assert not list(Views(2, (0, 1), 1).parameters())


def test_with_lags_a_token_that_asks_is_found_where_it_stood() -> None:
    """Right after initialisation the history answers x with what followed it, more than with others."""
    torch.manual_seed(0)
    memory = b.FullHistory(b.FullHistoryConfig(width=32, num_heads=1, num_lags=3))
    letters = torch.randn(1, 6, 32)
    _, state = memory(letters, memory.blank(1))
    query, _, _ = memory.block.project(letters)
    # The key behind letter i is letter i's: at time i + 1.
    matches = (query @ state.keys.mT)[0, :5, 1:]
    assert (matches.argmax(-1) == torch.arange(5)).all()


@pytest.mark.parametrize("num_tokens", [1, 3, 7])
def test_chunks_of_the_gated_delta_rule_are_its_steps(num_tokens: int) -> None:
    """Values and gradients, the state's too, against one step per token as the paper writes it."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 2, num_tokens, 4)] * 2 + [(2, 2, num_tokens, 5)] + [(2, 2, num_tokens)] * 2 + [(2, 2, 4, 5)]
    given = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    given[1], given[3], given[4] = unit_norm(given[1]), -given[3].abs(), given[4].sigmoid()
    given = [part.requires_grad_() for part in given]
    q, k, v, log_decay, strength, start = given
    steps, state = [], start
    for t in range(num_tokens):
        alpha, beta, key = log_decay[..., t, None, None].exp(), strength[..., t, None, None], k[..., t, :, None]
        state = alpha * (torch.eye(4) - beta * key @ key.mT) @ state + beta * key @ v[..., t, None, :]
        steps.append((state.mT @ q[..., t, :, None]).squeeze(-1))
    expected = [torch.stack(steps, dim=-2), state]
    gradients = torch.autograd.grad(torch.cat([part.square().flatten() for part in expected]).sum(), given)
    for size in (1, 2, 3, 64):
        found = gated_delta_rule(q, k, v, log_decay, strength, start, size)
        for part, wanted in zip(found, expected, strict=True):
            assert_near(part, wanted)
        again = torch.autograd.grad(torch.cat([part.square().flatten() for part in found]).sum(), given)
        for gradient, wanted in zip(again, gradients, strict=True):
            assert_near(gradient, wanted)


def test_the_gated_delta_rule_is_that_of_a_published_model() -> None:
    """Of Qwen3-Next in transformers, which computes in float32."""
    published = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 9, width, generator=generator) for width in (4, 4, 5))
    log_decay, strength = -torch.rand(2, 2, 9, generator=generator), torch.rand(2, 2, 9, generator=generator)
    state, k = torch.randn(2, 2, 4, 5, generator=generator), unit_norm(k)
    turned = [part.transpose(1, 2) for part in (q, k, v, log_decay, strength)]
    wanted, after = published.torch_recurrent_gated_delta_rule(*turned, initial_state=state, output_final_state=True)
    read, matrix = gated_delta_rule(q / math.sqrt(4), k, v, log_decay, strength, state, 4)
    assert_near(read.transpose(1, 2), wanted, SINGLE)
    assert_near(matrix, after, SINGLE)


def test_gated_delta_goes_on_where_a_segment_was_cut() -> None:
    memory, hidden = build("gated_delta"), draw(2, 7)
    y, whole = memory(hidden, memory.blank(2))
    parts, state = [], memory.blank(2)
    for piece in hidden.split([1, 1, 3, 2], dim=1):
        part, state = memory(piece, state)
        parts.append(part)
    assert_near(torch.cat(parts, dim=1), y)
    assert_near(state.matrix, whole.matrix)
    assert_near(state.tail, whole.tail)


def test_without_a_gate_that_forgets_it_is_the_delta_rule() -> None:
    """Token by token: what the key finds moves towards the value, and nothing else moves."""
    memory, hidden = build("delta"), draw(2, 5)
    state = memory.blank(2)
    assert not {"log_rate", "rate_bias"} & set(dict(memory.named_parameters()))
    for token in hidden.split(1, dim=1):
        before = state.matrix
        _, state = memory(token, state)
        change = state.matrix - before
        # One key and one value each: of rank one.
        assert_near(torch.linalg.svdvals(change)[..., 1:], torch.zeros(2, 2, 2).double())
    # The gated layer with its gate held open is the same layer.
    gated = make(replace(memory.config, decays=True)).double()
    own = dict(memory.named_parameters())
    with torch.no_grad():
        for name, parameter in gated.named_parameters():
            if name == "to_gates.weight":
                parameter.copy_(torch.cat([torch.zeros_like(own[name]), own[name]]))
            else:
                parameter.copy_(own.get(name, torch.full_like(parameter, -800.0)))
    y, after = gated(hidden, gated.blank(2))
    assert_near(y, memory(hidden, memory.blank(2))[0])
    assert_near(after.matrix, state.matrix)


def test_gated_delta_forgets_and_replaces() -> None:
    """A strength of one leaves the value alone at its key; a decay of nothing leaves nothing."""
    key = torch.eye(3, dtype=torch.float64)[None, None, :1]
    values = torch.tensor([[[[1.0, 2.0]]], [[[5.0, -1.0]]]], dtype=torch.float64)
    one, gone = torch.ones(1, 1, 1).double(), torch.full((1, 1, 1), -800.0).double()
    _, state = gated_delta_rule(key, key, values[:1], 0 * one, one, torch.zeros(1, 1, 3, 2).double())
    read, state = gated_delta_rule(key, key, values[1:], 0 * one, one, state)
    assert_near(read[0, 0, 0], values[1, 0, 0])
    read, _ = gated_delta_rule(key, key, values[1:], gone, 0 * one, state)
    assert_same_bits(read, torch.zeros_like(read))
