"""The laws of a memory for every rival, and what each is by its own paper."""

import math
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from tests.laws import assert_near, assert_same_bits
from tests.tolerances import SINGLE
from torch import Tensor

from callosal.memory import Memory, Routes
from callosal.models.rivals import (
    FeedForward,
    FeedForwardConfig,
    FullHistory,
    FullHistoryConfig,
    MemoryNetwork,
    MemoryNetworkConfig,
    RecurrentConfig,
    RecurrentTokens,
    RoutingState,
    SwitchConfig,
    SwitchMixture,
    TitansConfig,
    TitansMemory,
    TuringConfig,
    TuringMemory,
)
from callosal.models.rivals.base import Views

WIDTH = 6


def titans(config: TitansConfig) -> TitansMemory:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pytest.importorskip("titans_pytorch")
    return TitansMemory(config)


RIVALS: dict[str, Callable[[], Any]] = {
    "feed_forward": lambda: FeedForward(FeedForwardConfig(width=WIDTH, hidden_width=5)),
    "full_history": lambda: FullHistory(FullHistoryConfig(width=WIDTH, num_heads=2)),
    "full_history_feed": lambda: FullHistory(
        FullHistoryConfig(width=WIDTH, num_heads=3, feed_forward=2)
    ),
    "memory_network": lambda: MemoryNetwork(MemoryNetworkConfig(width=WIDTH, capacity=7)),
    "turing": lambda: TuringMemory(TuringConfig(width=WIDTH, num_slots=3, controller_width=5)),
    "switch": lambda: SwitchMixture(SwitchConfig(width=WIDTH, num_experts=3, hidden_width=4)),
    "recurrent": lambda: RecurrentTokens(RecurrentConfig(width=WIDTH, num_tokens=3, num_heads=2)),
    "full_history_lags": lambda: FullHistory(
        FullHistoryConfig(width=WIDTH, num_heads=1, num_lags=3)
    ),
    "memory_network_lags": lambda: MemoryNetwork(
        MemoryNetworkConfig(width=WIDTH, capacity=7, num_lags=2)
    ),
    "turing_lags": lambda: TuringMemory(
        TuringConfig(width=WIDTH, num_slots=3, controller_width=5, num_lags=3)
    ),
    "recurrent_lags": lambda: RecurrentTokens(
        RecurrentConfig(width=WIDTH, num_tokens=3, num_heads=2, num_lags=3)
    ),
    "titans": lambda: titans(TitansConfig(width=WIDTH, num_heads=2, head_width=4)),
    "titans_lags": lambda: titans(TitansConfig(width=WIDTH, num_heads=2, head_width=4, num_lags=3)),
    "titans_deep": lambda: titans(
        TitansConfig(width=WIDTH, num_heads=1, head_width=WIDTH, depth=2, chunk_size=2)
    ),
}
EVERY = pytest.mark.parametrize("name", RIVALS)
MASKABLE = [name for name in RIVALS if not name.startswith("titans")]
REMEMBERING = [name for name in RIVALS if name not in {"feed_forward", "switch"}]


def build(name: str, seed: int = 0) -> Any:
    """Build a rival in float64, with no parameter at a special value."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        memory = RIVALS[name]().double().eval()
        with torch.no_grad():
            for parameter in memory.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return memory


def draw(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, WIDTH, generator=generator, dtype=torch.float64)


def lived(memory: Any, num_rows: int) -> Any:
    """Return a state with something in it."""
    with torch.no_grad():
        return memory(draw(num_rows, 2, 4, seed=7), memory.blank(num_rows))[1]


def assert_same_state(actual: Any, expected: Any) -> None:
    for field in fields(expected):
        assert_near(getattr(actual, field.name), getattr(expected, field.name))


@EVERY
def test_segments_at_once_equal_calls_one_by_one(name: str) -> None:
    memory, hidden = build(name), draw(2, 3, 4)
    assert isinstance(memory, Memory)
    state = start = lived(memory, 2)
    y, after = memory(hidden, start)
    for index in range(3):
        one, state = memory(hidden[:, index], state)
        assert_near(y[:, index], one)
    assert_same_state(after, state)


@EVERY
def test_no_look_ahead(name: str) -> None:
    memory, hidden = build(name), draw(2, 3, 4)
    before, _ = memory(hidden, lived(memory, 2))
    for index, time in [(0, 1), (1, 0), (1, 3), (2, 2)]:
        changed = hidden.clone()
        changed[:, index, time] += 1.0
        after, _ = memory(changed, lived(memory, 2))
        assert_near(
            after.flatten(1, 2)[:, : index * 4 + time], before.flatten(1, 2)[:, : index * 4 + time]
        )
        assert (after[:, index, time] - before[:, index, time]).abs().max() > 1e-6


@EVERY
def test_rows_do_not_leak(name: str) -> None:
    memory, hidden = build(name), draw(3, 2, 4)
    state = lived(memory, 3)
    y, after = memory(hidden, state)
    for row in range(3):
        alone, after_alone = memory(hidden[[row]], state[row])
        assert_near(alone[0], y[row])
        assert_same_state(after_alone, after[row])
    changed = hidden.clone()
    changed[1] *= -2.0
    other, other_state = memory(changed, state)
    assert_same_bits(other[[0, 2]], y[[0, 2]])
    for field in fields(after):
        one, two = (getattr(s[[0, 2]], field.name) for s in (after, other_state))
        assert_same_bits(one, two)


@EVERY
def test_inputs_stay_and_calls_agree(name: str) -> None:
    memory, hidden = build(name), draw(2, 3, 4)
    state = lived(memory, 2)
    kept, kept_state, names = hidden.clone(), state.clone(), set(vars(memory))
    module = {key: tensor.clone() for key, tensor in memory.state_dict().items()}
    first, second = memory(hidden, state), memory(hidden, state)
    assert_same_bits(first[0], second[0])
    assert_same_bits(hidden, kept)
    for field in fields(state):
        assert_same_bits(getattr(state, field.name), getattr(kept_state, field.name))
        assert_same_bits(getattr(first[1], field.name), getattr(second[1], field.name))
    assert set(vars(memory)) == names, "a call left something on the module"
    for key, tensor in memory.state_dict().items():
        assert_same_bits(tensor, module[key])


@pytest.mark.parametrize("name", MASKABLE)
def test_masked_is_absent(name: str) -> None:
    memory, hidden = build(name), draw(4, 3, 4)
    mask = torch.rand(4, 3, 4, generator=torch.Generator().manual_seed(3)) < 0.6
    mask[0, 1], mask[1], mask[2, 0], mask[3, :, 0] = False, False, True, False
    padded = hidden.masked_fill(~mask[..., None], float("nan")).requires_grad_()
    start = lived(memory, 4)
    y, after = memory(padded, start, mask)
    assert_same_bits(y[~mask], torch.zeros_like(y[~mask]))
    for row in range(4):
        state = start[row]
        for index in range(3):
            there = mask[row, index]
            alone, state = memory(hidden[row, index][there][None], state)
            assert_near(y[row, index][there], alone[0])
        assert_same_state(after[row], state)
    leaves = [padded, *memory.parameters()]
    total = y.sum() + sum(getattr(after, field.name).sum() for field in fields(after))
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    for gradient in gradients:
        assert gradient.isfinite().all()
    assert_same_bits(gradients[0][~mask], torch.zeros_like(gradients[0][~mask]))


@pytest.mark.parametrize("name", MASKABLE)
@pytest.mark.parametrize("is_blank", [True, False])
def test_an_empty_segment_leaves_the_state(name: str, is_blank: bool) -> None:
    memory = build(name)
    state = memory.blank(2) if is_blank else lived(memory, 2)
    hidden, nobody = torch.full_like(draw(2, 2, 4), float("nan")), torch.zeros(2, 2, 4).bool()
    for args in [(hidden, state, nobody), (hidden[:, :, :0], state), (hidden[:, :0], state)]:
        y, after = memory(*args)
        assert_same_bits(y, torch.zeros_like(args[0]))
        for field in fields(state):
            assert_same_bits(getattr(after, field.name), getattr(state, field.name))


@pytest.mark.parametrize("name", REMEMBERING)
def test_gradient_goes_through_the_state(name: str) -> None:
    memory, hidden = build(name), draw(2, 4).requires_grad_()
    _, state = memory(hidden, memory.blank(2))
    y, _ = memory(draw(2, 4, seed=2), state)
    (gradient,) = torch.autograd.grad(y[0].square().sum(), hidden, retain_graph=True)
    assert (gradient[0].abs().amax(-1) > 1e-9).all()
    assert_same_bits(gradient[1], torch.zeros_like(gradient[1]))
    cut, _ = memory(draw(2, 4, seed=2), state.detach())
    assert torch.autograd.grad(cut.sum(), hidden, allow_unused=True)[0] is None


@EVERY
def test_gradient_reaches_every_parameter(name: str) -> None:
    memory = build(name).train()
    y, state = memory(draw(3, 3, 4), memory.blank(3))
    penalty = state.penalty if name == "switch" else 0.0
    (y.square().sum() + penalty).backward()
    for key, parameter in memory.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


@EVERY
def test_a_state_is_a_value(name: str) -> None:
    """Neither casting loses anything, nor does a training step move a state that exists."""
    memory = build(name)
    blank, again = memory.blank(2), memory.blank(2).clone()
    assert len(blank) == 2
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(1.0)
    for field in fields(blank):
        assert_same_bits(getattr(blank, field.name), getattr(again, field.name))
    hidden, start = draw(2, 4), lived(memory, 2)
    y, state = memory(hidden, start)
    single, after = memory.float()(hidden.float(), start.to(torch.float32))
    assert single.dtype == torch.float32
    assert_near(single, y, SINGLE)
    assert_near(memory(hidden.float()[1:], start.to(torch.float32)[1:].clone())[0], y[1:], SINGLE)
    assert type(after) is type(state)


@pytest.mark.parametrize("name", MASKABLE)
def test_what_does_not_fit_is_named(name: str) -> None:
    memory, hidden = RIVALS[name](), draw(2, 4).float()
    state, mask = memory.blank(2), torch.ones(2, 4).bool()
    # Past the shape checker of the tests, as a user would.
    with pytest.raises(ValueError, match=r"\(2, 4, 5\); this memory takes \[batch, time, 6\]"):
        memory._check(hidden[..., :5], 2, None)
    with pytest.raises(ValueError, match=r"2 rows .* 3 rows; make one with memory.blank\(2\)"):
        memory(hidden, memory.blank(3))
    with pytest.raises(ValueError, match=r"torch.float32; .* pass mask.bool\(\)"):
        memory._check(hidden, 2, mask.float())
    with pytest.raises(ValueError, match=r"a mask of shape \(2, 3\)"):
        memory._check(hidden, 2, mask[:, :3])
    assert memory(hidden, state, mask)[0].shape == hidden.shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            lambda: FeedForwardConfig(width=4, hidden_width=0),
            "hidden_width is 0; it must be at least 1",
        ),
        (
            lambda: FullHistoryConfig(width=5, num_heads=2),
            "width is 5; it must be a multiple of num_heads (2)",
        ),
        (lambda: FullHistoryConfig(width=4, num_heads=0), "num_heads is 0; it must be at least 1"),
        (
            lambda: FullHistoryConfig(width=4, feed_forward=-1),
            "feed_forward is -1; it must be at least 0",
        ),
        (lambda: MemoryNetworkConfig(width=4, capacity=0), "capacity is 0; it must be at least 1"),
        (lambda: MemoryNetworkConfig(width=4, num_hops=0), "num_hops is 0; it must be at least 1"),
        (lambda: TuringConfig(width=0), "TuringConfig.width is 0; it must be at least 1"),
        (lambda: TuringConfig(width=4, num_slots=-2), "num_slots is -2; it must be at least 1"),
        (lambda: SwitchConfig(width=4, num_experts=0), "num_experts is 0; it must be at least 1"),
        (
            lambda: SwitchConfig(width=4, alpha=-0.1),
            "SwitchConfig.alpha is -0.1; it must be at least 0",
        ),
        (
            lambda: RecurrentConfig(width=6, num_heads=4),
            "width is 6; it must be a multiple of num_heads (4)",
        ),
        (lambda: RecurrentConfig(width=4, num_tokens=0), "num_tokens is 0; it must be at least 1"),
        (
            lambda: RecurrentConfig(width=4, feed_forward=0),
            "feed_forward is 0; it must be at least 1",
        ),
        (lambda: TitansConfig(width=4, chunk_size=0), "chunk_size is 0; it must be at least 1"),
        (lambda: TitansConfig(width=4, max_step=0.0), "max_step is 0.0; it must be above 0"),
        (lambda: TitansConfig(width=4, expansion=0.5), "expansion is 0.5; it must be at least 1"),
        (
            lambda: TitansConfig(width=4, num_heads=1, head_width=2),
            "head_width is 2; it must be width (4) where there is one head",
        ),
    ],
)
def test_a_config_out_of_range_is_named(config: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        config()


@pytest.mark.parametrize(
    ("memory", "num_parameters", "state_floats"),
    [
        (lambda: FeedForward(FeedForwardConfig(width=32, hidden_width=145)), 9489, 0),
        (lambda: FullHistory(FullHistoryConfig(width=32, feed_forward=3)), 10432, None),
        (lambda: MemoryNetwork(MemoryNetworkConfig(width=32)), 9248, 2112),
        (lambda: TuringMemory(TuringConfig(width=32, controller_width=37)), 9501, 2176),
        (lambda: SwitchMixture(SwitchConfig(width=32, hidden_width=71)), 9454, 6),
        (lambda: RecurrentTokens(RecurrentConfig(width=32)), 10432, 2048),
        (lambda: titans(TitansConfig(width=32)), 9868, 2176),
    ],
)
def test_sizes_that_match_two_banks_of_32_slots(
    memory: Callable[[], Any], num_parameters: int, state_floats: int | None
) -> None:
    built = memory()
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == num_parameters
    assert built.state_floats == state_floats


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


def test_memory_network_keeps_places_for_existing_tokens_only() -> None:
    memory, hidden = build("memory_network"), draw(1, 3, 4)
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
    state = lived(memory, 1)
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
    state = lived(memory, 2)
    y, after = memory(hidden, state)
    stream = torch.cat([state.tokens, hidden, state.tokens], dim=1)
    visible = torch.zeros(10, 10).bool()
    for asking in range(10):
        for asked in range(10):
            visible[asking, asked] = asked < 3 or asked <= asking or asking >= 7
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

    num_tokens = mask.sum()
    fractions = shares.sum((0, 1, 2)) / num_tokens
    means = probability[mask].sum(0) / num_tokens
    assert_near(state.penalty, 0.01 * 3 * (fractions * means).sum())
    (gradient,) = torch.autograd.grad(state.penalty, memory.router[1].weight)
    assert gradient.abs().max() > 0.0


def test_the_balance_loss_by_hand() -> None:
    state = RoutingState(
        chosen=torch.tensor([[3.0, 1.0], [3.0, 1.0]]),
        probability=torch.tensor([[2.5, 1.5], [2.3, 1.7]]),
        num_tokens=torch.tensor([4.0, 4.0]),
        alpha=torch.tensor([0.01, 0.01]),
    )
    # f = (0.75, 0.25), P = (0.6, 0.4), so 0.01 * 2 * (0.45 + 0.1).
    assert state.penalty.item() == pytest.approx(0.011)
    even = replace(state, probability=torch.full((2, 2), 2.0), chosen=torch.full((2, 2), 2.0))
    assert even.penalty.item() == pytest.approx(0.01)
    memory = SwitchMixture(SwitchConfig(width=4))
    assert memory.blank(2).penalty.item() == memory.blank(0).penalty.item() == 0.0


@pytest.mark.parametrize(("num_heads", "head_width", "depth"), [(2, 4, 1), (1, WIDTH, 2)])
@pytest.mark.parametrize("renew", [True, False])
def test_titans_is_the_package_over_the_stream(
    num_heads: int, head_width: int, depth: int, renew: bool
) -> None:
    """Renewed, it is the package with a batch per segment; else as the package comes."""
    config = TitansConfig(
        width=WIDTH,
        num_heads=num_heads,
        head_width=head_width,
        depth=depth,
        max_step=0.7,
        renew=renew,
    )
    memory, hidden = titans(config).double(), draw(2, 3, 4)
    sizes = {"depth": depth, "expansion_factor": 2.0}
    package = type(memory.neural)(
        WIDTH,
        batch_size=4 if renew else None,
        default_step_transform_max_lr=0.7,
        heads=num_heads,
        dim_head=head_width,
        default_model_kwargs=sizes,
    ).double()
    package.load_state_dict(memory.neural.state_dict())
    expected, _ = package(hidden.flatten(1, 2))
    y, _ = memory(hidden, memory.blank(2))
    assert_near(y.flatten(1, 2), expected)


def test_titans_takes_no_mask_with_a_gap_and_no_part_of_a_chunk() -> None:
    memory = titans(TitansConfig(width=WIDTH, chunk_size=2))
    hidden, state, mask = draw(2, 4).float(), memory.blank(2), torch.ones(2, 4).bool()
    whole, _ = memory(hidden, state, mask)
    assert_near(whole, memory(hidden, state)[0])
    mask[0, 3] = False
    with pytest.raises(ValueError, match="a mask with absent tokens; titans-pytorch forgets"):
        memory(hidden, state, mask)
    with pytest.raises(
        ValueError, match=r"3 tokens; .* multiples of TitansConfig.chunk_size \(2\)"
    ):
        memory(hidden[:, :3], state)


def test_without_the_package_titans_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "titans_pytorch.neural_memory", None)
    monkeypatch.setitem(sys.modules, "titans_pytorch", None)
    with pytest.raises(ImportError, match=r"pip install 'callosal\[rivals\]'"):
        TitansMemory(TitansConfig(width=4))


def test_views_look_back_by_their_filters_and_before_the_segment_there_is_nothing() -> None:
    views, hidden = Views(2, (0, 1), 3), torch.randn(1, 4, 2)
    at, before = views(hidden)
    assert torch.equal(at, hidden)
    assert torch.equal(before[:, 1:], hidden[:, :-1])
    assert (before[:, 0] == 0.0).all()
    with torch.no_grad():
        views.filters[0] = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.5]])
    by_hand = torch.stack(
        [hidden[0, 3, 0] - 3.0 * hidden[0, 1, 0], 2.0 * hidden[0, 2, 1] + 0.5 * hidden[0, 1, 1]]
    )
    torch.testing.assert_close(views(hidden)[0, 0, 3], by_hand)
    assert not list(Views(2, (0, 1), 1).parameters())


def test_with_lags_a_token_that_asks_is_found_where_it_stood() -> None:
    """Right after initialisation the history answers x with what followed it, more than with others."""
    torch.manual_seed(0)
    memory = FullHistory(FullHistoryConfig(width=32, num_heads=1, num_lags=3))
    letters = torch.randn(1, 6, 32)
    _, state = memory(letters, memory.blank(1))
    query, _, _ = memory.block.project(letters)
    # The key behind letter i is letter i's: at time i + 1.
    matches = (query @ state.keys.mT)[0, :5, 1:]
    assert (matches.argmax(-1) == torch.arange(5)).all()
