"""What moves on the module, and when: slow mean and axes in training mode, nothing otherwise."""

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import Case, Drive, build_memory, cases, configs, fill
from tests.laws import assert_near, assert_same_bits_of
from tests.shapes import unchecked
from torch import Tensor

from callosal.memory import LateralMemory, MemoryConfig
from callosal.ops import reference, salience


def buffers(memory: LateralMemory) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in memory.named_buffers()}


def expected_buffers(case: Case) -> dict[str, Tensor]:
    """Work out one training step from the equations: every segment that has a token counts once."""
    memory, config, old = case.memory, case.memory.config, buffers(case.memory)
    parameters = dict(memory.named_parameters()) | old
    means, apart = [], []
    several = case.hidden.ndim == 4
    hidden = case.hidden if several else case.hidden[:, None]
    masks = case.mask if several else case.mask[:, None]
    past, bent = reference_contexts(case, hidden, masks), leanings(case, hidden, masks).flatten(0, 1)
    for x, mask, (total, count), b in zip(hidden.flatten(0, 1), masks.flatten(0, 1), past, bent, strict=True):
        seen = [reference.led_in(token, parameters) for token in x[mask]]
        if not seen:
            continue
        signal = torch.stack(seen)
        if config.drive == "slots":
            queries = reference.lagged_queries(signal, memory.start, memory.filters, memory.query_map)
            temperature = memory.log_temperature.exp()
            logits = [reference.slot_logits(q, memory.addresses, temperature) for q in queries]
            signal = torch.stack([reference.slot_drive(one) for one in logits])
        else:
            signal = signal + b
            seen = [token + b for token in seen]
        if config.drive != "slots" and config.context == "token":
            means.append(signal[-1])
        else:
            means.append((signal.sum(0) + total) / (len(signal) + count))
        apart.append(seen[-1] - means[-1] if config.contrast > 0.0 else None)
    if not means:
        return old
    new, mean, momentum = dict(old), torch.stack(means).mean(0), config.momentum
    one = torch.ones_like(old["slow_weight"])
    new["slow_weight"] = reference.running_mean(old["slow_weight"], one, momentum)
    new["slow_mean"] = reference.running_mean(old["slow_mean"], mean, momentum)
    centre = new["slow_mean"] / new["slow_weight"] if config.homeostasis else 0.0
    contexts = torch.stack(means) - centre
    metric = torch.eye(config.slot_width, dtype=torch.float64)
    if config.contrast > 0.0:
        scatter = torch.stack([torch.outer(one, one) for one in apart]).mean(0)
        new["slow_scatter"] = reference.running_mean(old["slow_scatter"], scatter, momentum)
        metric = reference.contrast_metric(new["slow_scatter"], config.contrast)
        norm = torch.stack([(one @ metric @ one).sqrt() for one in contexts]).mean()
    else:
        norm = contexts.square().sum(-1).sqrt().mean()
    new["slow_norm"] = reference.running_mean(old["slow_norm"], norm, momentum)
    if config.drive == "axis":
        new |= expected_axes(memory, old, new, contexts, metric)
    return new


def expected_axes(
    memory: LateralMemory, old: dict[str, Tensor], new: dict[str, Tensor], contexts: Tensor, metric: Tensor
) -> dict[str, Tensor]:
    """Work out what these contexts teach the axes, by either reading of the cross-talk."""
    learned: dict[str, Tensor] = {}
    config = memory.config
    scale, largest = new["slow_norm"] / new["slow_weight"], config.slot_width**0.5
    scale = scale if scale > 1e-6 * largest else largest
    contexts = contexts / scale
    bias = old["excitability"] if config.balance > 0.0 else 0.0
    coupling, received = memory.coupling, None
    if config.crosstalk == "received":
        received = reference.mean_won(old["won_context"], old["won_share"]) / scale
        coupling = torch.eye(config.num_banks, dtype=torch.float64)

    def drives(context: Tensor) -> Tensor:
        if received is None:
            return old["axes"] @ metric @ context + bias
        return (old["axes"] @ metric * reference.received(context, received, memory.coupling)).sum(-1) + bias

    shares = torch.stack([reference.bank_shares(drives(one), coupling, config.gain) for one in contexts])
    usual = torch.full((config.num_banks,), 1.0 / config.num_banks, dtype=torch.float64)
    if config.balance > 0.0:
        mean, even = shares.mean(0), usual
        usual = torch.maximum(mean, 0.1 * even)
        learned["excitability"] = old["excitability"] + config.balance * (even - mean)
    told = old["axes"], memory.coupling, shares, contexts
    if received is None:
        learned["axes"] = reference.signed_plasticity(*told, config.plasticity_rate, usual)
    else:
        learned["axes"] = reference.hebbian(*told, received, config.plasticity_rate, usual)
        won = torch.einsum("nk,nd->kd", shares, scale * contexts) / len(contexts)
        learned["won_context"] = reference.running_mean(old["won_context"], won, config.momentum)
        learned["won_share"] = reference.running_mean(old["won_share"], shares.mean(0), config.momentum)
    return learned


def leanings(case: Case, hidden: Tensor, masks: Tensor) -> Tensor:
    """Return what is added to the tokens of each segment, [batch, segment, width]: what was recollected before it."""
    memory, state, found = copy.deepcopy(case.memory).eval(), case.state, []
    for segment, present in zip(hidden.unbind(1), masks.unbind(1), strict=True):
        bent = torch.zeros(len(hidden), memory.config.slot_width, dtype=torch.float64)
        if memory.recollection_map is not None and state.recollected is not None:
            bent = state.recollected @ memory.recollection_map.T
        found.append(bent.detach())
        _, state = memory(segment, state, present)
    return torch.stack(found, dim=1)


def reference_contexts(case: Case, hidden: Tensor, masks: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return what each segment starts from, row by row, segment by segment."""
    carry, context = case.memory.config.carry, case.state.context
    parameters = dict(case.memory.named_parameters()) | dict(case.memory.named_buffers())
    past, bent = [], leanings(case, hidden, masks)
    for row, (segments, present) in enumerate(zip(hidden, masks, strict=True)):
        total, count = torch.zeros(()), torch.zeros(())
        if context is not None:
            total, count = context.signal_sum[row], context.num_tokens[row]
        for x, mask, b in zip(segments, present, bent[row], strict=True):
            past.append((total, count))
            if mask.any() and carry > 0.0:
                seen = torch.stack([reference.led_in(token, parameters) for token in x[mask]])
                total, count = reference.carry(total, count, seen + b, carry)
    return past


@pytest.mark.parametrize("num_segments", [None, 3])
@given(data=st.data())
@settings(max_examples=15)
def test_a_training_step_moves_the_buffers_as_the_equations_say(num_segments: int | None, data: st.DataObject) -> None:
    case = data.draw(cases(num_segments=num_segments))
    expected = expected_buffers(case)
    case.memory.train()
    case.memory(case.hidden, case.state, case.mask)
    for name, tensor in buffers(case.memory).items():
        if name != "slow_retrieved":  # has a test of its own
            assert_near(tensor, expected[name].detach())


@given(case=cases(num_tokens=4))
def test_pieces_move_the_buffers_once_when_they_are_committed(case: Case) -> None:
    expected, (memory, hidden, state, mask) = expected_buffers(case), case
    at_once = copy.deepcopy(memory).train()
    at_once(hidden, state, mask)
    if at_once.slow_retrieved is not None:
        expected["slow_retrieved"] = at_once.slow_retrieved
    old = buffers(memory.train())
    _, state = memory(hidden[:, :2], state, mask[:, :2], commit=False)
    _, state = memory(hidden[:, 2:], state, mask[:, 2:], commit=False)
    assert_same_bits_of(buffers(memory), old)
    memory.commit(state)
    for name, tensor in buffers(memory).items():
        assert_near(tensor, expected[name].detach())


@pytest.mark.parametrize("given_salience", [True, False])
@given(data=st.data())
@settings(max_examples=8)
def test_what_is_usual_is_the_mean_over_segments_of_what_their_tokens_retrieve(
    given_salience: bool, data: st.DataObject
) -> None:
    memory, hidden, state, mask = data.draw(cases(num_segments=2, salience="retrieved"))
    old, momentum, memory = memory.slow_retrieved, memory.config.momentum, memory.train()
    assert old is not None
    before, given = old.clone(), mask.double() if given_salience else None
    with mock.patch.object(salience, "prominence", wraps=salience.prominence) as called:
        sizes: list[Tensor] = []
        called.side_effect = lambda *args: sizes.append(found := reference_sizes(args[0])) or (found * 0 + 1.0, found)
        memory(hidden, state, None if given_salience else mask, salience=given)
    means = [
        size[: present.sum()].mean()
        for of_segment, masks in zip(sizes, mask.unbind(1), strict=True)
        for size, present in zip(of_segment, masks, strict=True)
        if present.any()
    ]
    mean = torch.stack(means).mean() if means else None
    expected = before if mean is None else reference.running_mean(before, mean, momentum)
    assert memory.slow_retrieved is not None
    assert_near(memory.slow_retrieved, expected.detach())


def reference_sizes(retrieved: Tensor) -> Tensor:
    """Return the norm of what each token retrieved."""
    one = torch.ones((), dtype=torch.float64)
    return torch.stack([torch.stack([reference.prominence(t, one)[1] for t in row]) for row in retrieved])


@given(case=cases())
@unchecked()
def test_evaluation_and_shares_and_absent_segments_move_nothing(case: Case) -> None:
    memory, hidden, state, mask = case
    old = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    memory.commit(memory(hidden, state, mask, commit=False)[1])
    memory(hidden, state, mask)
    memory.bank_share(hidden)
    assert_same_bits_of(memory.state_dict(), old)
    memory.train()
    memory.bank_share(hidden)
    memory(hidden[:, None], state, torch.zeros_like(mask)[:, None])
    assert_same_bits_of(memory.state_dict(), old)


@given(case=cases(plasticity_rate=0.0))
def test_a_rate_of_zero_keeps_the_axes(case: Case) -> None:
    axes, weight = case.memory.axes.clone(), case.memory.slow_weight.clone()
    case.memory.train()(case.hidden, case.state)
    assert torch.equal(case.memory.axes, axes)
    assert case.memory.slow_weight > weight


@pytest.mark.parametrize("num_banks", [1, 2, 3])
@pytest.mark.parametrize("drive", ["axis", "slots"])
@pytest.mark.parametrize("learn_crosstalk", [True, False])
def test_gradient_reaches_every_parameter(num_banks: int, drive: Drive, learn_crosstalk: bool) -> None:
    memory = build_memory(num_banks=num_banks, drive=drive, learn_crosstalk=learn_crosstalk).train()
    case = fill(memory, (2, 3, 4))
    y, _ = memory(case.hidden, case.state, case.mask)
    y.square().sum().backward()
    assert memory.coupling.requires_grad == learn_crosstalk
    for name, parameter in memory.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # One bank has nobody to compete with: its share is one whatever the coupling says.
        if name != "coupling" or num_banks > 1:
            assert parameter.grad.abs().max() > 0, name


def test_what_is_recollected_leans_on_the_banks_alone_and_gradient_reaches_its_map() -> None:
    memory = build_memory(recollection=0.5)
    hidden, state = fill(memory, (2, 3, 4)).hidden, memory.blank(2)
    for at_once in (hidden, hidden[:, 0]):
        # Blank is without: the first segment has nothing to recollect.
        plain = build_memory()
        plain.load_state_dict({k: v for k, v in memory.state_dict().items() if k != "recollection_map"})
        y, after = memory(at_once, state)
        first = (y[:, 0], plain(at_once, plain.blank(2))[0][:, 0]) if at_once.ndim == 4 else (y, plain(at_once)[0])
        assert_near(*first)
    leaning, lain = (
        memory.bank_share(hidden[:, 0], after),
        memory.bank_share(hidden[:, 0], replace(after, recollected=None)),
    )
    assert not torch.equal(leaning, lain)
    assert_same_bits_of(memory.look(hidden[:, 0]).weighs, plain.look(hidden[:, 0]).weighs)
    memory(hidden, state)[0].square().sum().backward()
    assert memory.recollection_map is not None
    assert memory.recollection_map.grad is not None
    assert memory.recollection_map.grad.abs().max() > 0


@given(case=cases(drive="axis", recollection=0.4), num_segments=st.integers(1, 3))
@unchecked()
def test_what_is_recollected_never_leaves_the_ball(case: Case, num_segments: int) -> None:
    memory, state = case.memory, case.memory.blank(2)
    for seed in range(num_segments):
        hidden = 100.0 * fill(memory, (2, 3, 4), seed).hidden
        _, state = memory(hidden, state)
        assert state.recollected is not None
        assert state.recollected.norm(dim=-1).max() <= memory.config.slot_width**0.5 + 1e-9


@pytest.mark.parametrize("learn_crosstalk", [True, False])
def test_gradient_reaches_what_banks_receive_but_not_through_a_detached_context(learn_crosstalk: bool) -> None:
    fields: dict[str, Any] = {"crosstalk": "received", "learn_crosstalk": learn_crosstalk}
    for detached in (False, True):
        memory = build_memory(detach_context=detached, **fields).train()
        case = fill(memory, (2, 3, 4))
        hidden = case.hidden.requires_grad_()
        shares = memory.bank_share(hidden, case.state, case.mask)
        if shares.requires_grad:
            shares.square().sum().backward()
        assert shares.requires_grad == (learn_crosstalk or not detached)
        assert (hidden.grad is None) == detached
        assert (memory.coupling.grad is None) != learn_crosstalk


@given(case=cases(drive="axis", crosstalk="received"))
@settings(max_examples=20)
@unchecked()
def test_what_a_bank_wins_is_a_mean_of_contexts_and_moves_at_any_rate_of_plasticity(case: Case) -> None:
    memory = LateralMemory(replace(case.memory.config, plasticity_rate=0.0, homeostasis=False)).double().train()
    axes = memory.axes.clone()
    for seed in range(3):
        memory(fill(memory, (2, 3, 4), seed).hidden)
    won = memory.competition.won
    assert won is not None
    assert torch.equal(memory.axes, axes)
    assert 0.0 < won.norm(dim=-1).max() <= memory.config.slot_width**0.5 + 1e-9
    assert memory.won_share is not None
    assert_near(memory.won_share.sum(), memory.slow_weight)


@given(case=cases(drive="axis", crosstalk="received"), num_absent=st.integers(1, 3))
@settings(max_examples=20)
def test_what_does_not_count_teaches_nothing(case: Case, num_absent: int) -> None:
    competition, width = case.memory.competition, case.memory.config.slot_width
    contexts = case.hidden.new_ones(4, width).cumsum(0)
    ones, zeros = contexts.new_ones(4), contexts.new_zeros(num_absent)
    learned = competition.receiving(contexts, ones)
    more = competition.receiving(torch.cat([contexts, -contexts[:num_absent]]), torch.cat([ones, zeros]))
    none = competition.receiving(contexts, 0 * ones)
    for name in ("axes", "won_context", "won_share", "excitability"):
        if getattr(competition, name) is not None:
            assert_near(getattr(more, name), getattr(learned, name))
            assert torch.equal(getattr(none, name), getattr(competition, name))


@given(case=cases(drive="axis", num_tokens=3))
def test_backward_works_after_the_axes_have_moved(case: Case) -> None:
    """A commit moves the axes in place, which must not disturb a gradient that still passes them."""
    memory = case.memory.train()
    hidden = case.hidden.requires_grad_()
    y, state = memory(hidden, case.state)
    z, _ = memory(hidden, state)
    (y.sum() + z.sum()).backward()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_a_memory_that_began_with_one_segment_stays_finite() -> None:
    """One segment is its own mean, so its context is zero: nothing may be divided by its norm."""
    memory = build_memory(trained=False).train()
    case = fill(memory, (1, 3))
    axes = memory.axes.clone()
    _, state = memory(case.hidden, case.state)
    # Nothing to learn from: the axes only decay.
    assert_near(memory.axes, 0.95 * axes)
    y, _ = memory(fill(memory, (1, 3), 1).hidden, state)
    assert y.isfinite().all()
    assert memory.axes.isfinite().all()


@pytest.mark.parametrize("drive", ["axis", "slots"])
def test_training_is_deterministic(drive: Drive) -> None:
    def run() -> dict[str, Tensor]:
        memory = build_memory(drive=drive, trained=False).train()
        state = memory.blank(2)
        for seed in range(5):
            _, state = memory(fill(memory, (2, 3, 4), seed).hidden, state)
        return {**memory.state_dict(), "trace": state.trace}

    assert_same_bits_of(run(), run())


@pytest.mark.parametrize(("crosstalk", "sign"), [("drives", -1.0), ("received", -1.0), ("received", 1.0)])
@unchecked()
def test_two_kinds_of_segment_go_to_two_banks_by_inhibition_alone(crosstalk: Any, sign: float) -> None:
    """The layer as a whole: no gradient and no label, a two-fold stream, and the banks part.

    Excited by what they receive, they leave it all to one. Nothing takes away what segments share there.
    """
    generator = torch.Generator().manual_seed(5)
    fields: dict[str, Any] = {"width": 8, "num_slots": 2, "learn_crosstalk": False}
    fields |= {"crosstalk": crosstalk, "homeostasis": crosstalk == "drives"}
    memory = build_memory(seed=3, trained=False, sign=sign, **fields).train()
    with torch.no_grad():
        memory.coupling.copy_(reference.coupling_matrix(2, sign))
    kind = torch.tensor([1.0, -1.0] * 4).double()
    x = torch.zeros(8, 6, 8).double()
    for _ in range(200):
        x = 0.5 * torch.randn(8, 6, 8, generator=generator).double()
        x[..., 0] += kind[:, None]
        x[..., 1] += 1.0  # what all segments share, for homeostasis to remove
        memory(x)
    left = memory.eval().bank_share(x)[:, -1, 0]
    if sign > 0.0:
        assert (left - left.round()).abs().max() < 0.1
        assert left.round().unique().numel() == 1
        return
    winners, losers = (left[::2], left[1::2]) if left[0] > 0.5 else (left[1::2], left[::2])
    assert winners.min() > 0.9
    assert losers.max() < 0.1


@given(case=cases(), row=st.integers(0, 2), commit=st.booleans())
@settings(max_examples=30)
def test_a_row_that_is_no_number_counts_as_absent(case: Case, row: int, commit: bool) -> None:
    memory, hidden, state, mask = case
    row %= len(hidden)
    twin, there = copy.deepcopy(memory).train(), mask.clone()
    there[row] = False
    hidden[row] = torch.nan
    mask[row, 0] = True
    for one, seen in ((memory.train(), mask), (twin, there)):
        after = one(hidden, state, seen, commit=commit)[1]
        if not commit:
            one.commit(after)
    assert_same_bits_of(buffers(memory), buffers(twin))


@given(config=configs())
@settings(max_examples=20)
def test_no_tokens_move_nothing(config: MemoryConfig) -> None:
    memory = build_memory(config).train()
    before, state = buffers(memory), memory.blank(2)
    for sizes in ((2, 0), (2, 0, 3), (2, 3, 0)):
        y, after = memory(torch.zeros(*sizes, config.width, dtype=torch.float64), state)
        assert y.shape == (*sizes, config.width)
        assert not after.trace.any()
    assert_same_bits_of(buffers(memory), before)
