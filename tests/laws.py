"""The laws of a memory, as functions that raise AssertionError where one is broken.

The property tests call them on the library; the planted-fault test calls them on broken copies of
it and wants each to go red.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from tests.cases import Case
from tests.tolerances import EXACT
from torch import Tensor

from callosal.memory import LateralMemory, MemoryState
from callosal.ops import reference


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    """Compare two tensors, relative to the largest entry of the expected one or to one."""
    assert actual.shape == expected.shape, f"{actual.shape} is not {expected.shape}"
    if expected.numel() == 0:
        return
    error = (actual.double() - expected.double()).abs().max().item()
    size = max(1.0, expected.double().abs().max().item())
    assert error <= tolerance * size, f"off by {error:.3g} where entries reach {size:.3g}"


def assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    """Compare two tensors bit for bit; NaN equals NaN."""
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=0.0, equal_nan=True)


def assert_same_state(actual: MemoryState, expected: MemoryState, tolerance: float = EXACT) -> None:
    """Compare two states, open segments included."""
    assert_near(actual.trace, expected.trace, tolerance)
    assert (actual.segment is None) == (expected.segment is None)
    if actual.segment is not None and expected.segment is not None:
        for name, tensor in vars(expected.segment).items():
            assert_near(getattr(actual.segment, name), tensor, tolerance)


def twin(
    memory: LateralMemory, hidden: Tensor, trace: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the slow twin with a memory's parameters and buffers."""
    config = memory.config
    return reference.segment(
        hidden,
        trace,
        mask,
        dict(memory.named_parameters()) | dict(memory.named_buffers()),
        gain=config.gain,
        drive=config.drive,
        write=config.write,
        homeostasis=config.homeostasis,
    )


def matches_twin(case: Case) -> None:
    """Fast and slow give the same read-out, memory and shares, and the same gradients of all."""
    memory = case.memory
    hidden = case.hidden.clone().requires_grad_()
    trace = case.state.trace.clone().requires_grad_()
    leaves = [hidden, trace, *memory.parameters()]
    leaves = [leaf for leaf in leaves if leaf.requires_grad]

    y, state = memory(hidden, MemoryState(trace=trace), case.mask)
    fast = (y, state.trace, memory.bank_share(hidden, mask=case.mask))
    slow = twin(memory, hidden, trace, case.mask)
    for one, other in zip(fast, slow, strict=True):
        assert_near(one, other)
    probes = [torch.cos(torch.arange(out.numel()).double()).view(out.shape) for out in fast]

    def gradients(outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        totals = [(out * probe).sum() for out, probe in zip(outputs, probes, strict=True)]
        return torch.autograd.grad(
            torch.stack(totals).sum(), leaves, allow_unused=True, materialize_grads=True
        )

    for one, other in zip(gradients(fast), gradients(slow), strict=True):
        assert_near(one, other)


def segments_at_once_equal_calls(case: Case) -> None:
    """Many segments in one call give what the calls one after another give, gradients too."""
    trace = case.state.trace.clone().requires_grad_()
    y, after = case.memory(case.hidden, MemoryState(trace=trace), case.mask)
    state, ys = MemoryState(trace=trace), []
    for hidden, mask in zip(case.hidden.unbind(1), case.mask.unbind(1), strict=True):
        one, state = case.memory(hidden, state, mask)
        ys.append(one)
    assert_near(y, torch.stack(ys, dim=1))
    assert_same_state(after, state)
    (at_once,) = torch.autograd.grad(after.trace.sum() + y.sum(), trace)
    (in_turn,) = torch.autograd.grad(state.trace.sum() + sum(one.sum() for one in ys), trace)
    assert_near(at_once, in_turn)


def pieces_equal_one_call(case: Case, cuts: Sequence[int], *, masked: bool = True) -> None:
    """A segment cut anywhere and committed at its end is the segment in one call."""
    memory, mask = case.memory, case.mask if masked else torch.ones_like(case.mask)
    whole, expected = memory(case.hidden, case.state, mask)
    shares = memory.bank_share(case.hidden, mask=mask)
    state, last, ys, ps = case.state, case.state, [], []
    edges = [0, *sorted(cuts), case.hidden.shape[1]]
    for start, stop in pairwise(edges):
        part = case.hidden[:, start:stop], state, mask[:, start:stop]
        ps.append(memory.bank_share(*part))
        one, last = memory(*part)
        y, state = memory(*part, commit=False)
        assert_near(one, y)
        ys.append(y)
    assert_near(torch.cat(ys, dim=1), whole)
    assert_near(torch.cat(ps, dim=1), shares)
    assert_same_bits(state.trace, case.state.trace)
    committed = memory.commit(state)
    assert_same_state(committed, expected)
    # The last piece may also commit by itself.
    assert_same_state(last, expected)
    # Committed is committed: a second time there is nothing to write.
    assert_same_bits(memory.commit(committed).trace, committed.trace)


def no_look_ahead(case: Case, time: int) -> None:
    """What comes after a token changes neither its read-out nor its shares."""
    memory, changed = case.memory, case.hidden.clone()
    changed[..., time:, :] += 1.0
    for piece in (True, False):
        before, _ = memory(case.hidden, case.state, commit=piece)
        after, _ = memory(changed, case.state, commit=piece)
        assert_near(after[..., :time, :], before[..., :time, :])
    before, after = memory.bank_share(case.hidden), memory.bank_share(changed)
    assert_near(after[..., :time, :], before[..., :time, :])


def no_look_ahead_over_segments(case: Case, index: int) -> None:
    """What comes in a later segment changes nothing in an earlier one."""
    changed = case.hidden.clone()
    changed[:, index] += 1.0
    before, _ = case.memory(case.hidden, case.state)
    after, _ = case.memory(changed, case.state)
    assert_near(after[:, :index], before[:, :index])


def rows_do_not_leak(case: Case, row: int) -> None:
    """Changing one row changes no bit of another row's output or memory, in training either."""
    others = torch.arange(len(case.state)) != row
    changed = case.hidden.clone()
    changed[row] = changed[row].flip(-2) * 3.0 + 1.0
    trace = case.state.trace.clone()
    trace[row] += 1.0
    buffers = {name: tensor.clone() for name, tensor in case.memory.named_buffers()}
    for training in (False, True):
        case.memory.train(training)
        before = case.memory(case.hidden, case.state, case.mask)
        case.memory.load_state_dict(buffers, strict=False)
        after = case.memory(changed, MemoryState(trace=trace), case.mask)
        case.memory.load_state_dict(buffers, strict=False)
        assert_same_bits(after[0][others], before[0][others])
        assert_same_bits(after[1].trace[others], before[1].trace[others])
    case.memory.eval()


def inputs_stay_and_calls_agree(case: Case) -> None:
    """A call changes no input, state, mask or module, and a second one gives the same bits."""
    memory, state = case.memory, case.state
    names = set(vars(memory))
    if case.hidden.ndim == 3:
        _, state = memory(case.hidden, state, commit=False)
    kept = (case.hidden.clone(), state.clone(), case.mask.clone())
    module = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    first, second = (memory(case.hidden, state, case.mask) for _ in range(2))
    assert_same_bits(first[0], second[0])
    assert_same_bits(first[1].trace, second[1].trace)
    assert_same_bits(case.hidden, kept[0])
    assert_same_state(state, kept[1], 0.0)
    assert torch.equal(case.mask, kept[2])
    assert set(vars(memory)) == names, "a call left something on the module"
    for name, tensor in memory.state_dict().items():
        assert_same_bits(tensor, module[name])


def banks_permute(case: Case, order: Sequence[int]) -> None:
    """Banks have no places: renaming them renames traces and shares, and leaves the read-out."""
    memory, banks = case.memory, torch.tensor(order)
    y, after = memory(case.hidden, case.state, case.mask)
    shares = memory.bank_share(case.hidden, mask=case.mask)
    by_bank = [memory.addresses, memory.prototypes, memory.maps, memory.axes]
    if memory.config.drive == "slots":
        by_bank.append(memory.slow_mean)
    with torch.no_grad():
        for tensor in by_bank:
            tensor.copy_(tensor[banks].clone())
        memory.coupling.copy_(memory.coupling[banks][:, banks].clone())
    renamed = MemoryState(trace=case.state.trace[:, banks])
    other_y, other = memory(case.hidden, renamed, case.mask)
    assert_near(other_y, y)
    assert_near(other.trace, after.trace[:, banks])
    assert_near(memory.bank_share(case.hidden, mask=case.mask), shares[..., banks])


def masked_is_absent(case: Case) -> None:
    """A masked token, NaN or not, is as if it had never been there; gradients stay finite."""
    memory, mask = case.memory, case.mask
    hidden = case.hidden.masked_fill(~mask[..., None], float("nan")).requires_grad_()
    trace = case.state.trace.clone().requires_grad_()
    y, after = memory(hidden, MemoryState(trace=trace), mask)
    shares = memory.bank_share(hidden, mask=mask)
    assert_same_bits(y[~mask], torch.zeros_like(y[~mask]))
    assert_same_bits(shares[~mask], torch.zeros_like(shares[~mask]))

    for row in range(len(mask)):
        state = case.state[row]
        several = hidden.ndim == 4
        for index in range(hidden.shape[1] if several else 1):
            place = (row, index) if several else (row,)
            x = case.hidden[place][mask[place]][None]
            if x.shape[1] == 0:
                continue
            assert_near(shares[place][mask[place]], memory.bank_share(x, state)[0])
            alone, state = memory(x, state)
            assert_near(y[place][mask[place]], alone[0])
        if not mask[row].any():
            assert_same_bits(after.trace[row], case.state.trace[row])
        assert_near(after.trace[row], state.trace[0])

    leaves = [hidden, trace, *(p for p in memory.parameters() if p.requires_grad)]
    total = y.sum() + after.trace.sum() + shares.square().sum()
    for gradient in torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True):
        assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(memory(hidden, case.state, mask)[0].sum(), hidden)
    assert_same_bits(gradient[~mask], torch.zeros_like(gradient[~mask]))


def largest_norm_over(
    memory: LateralMemory, num_segments: int, *, at_once: int = 100, stop_at: float = float("inf")
) -> float:
    """Feed segments of random tokens and return the largest norm any slot ever had."""
    generator = torch.Generator().manual_seed(0)
    dtype, width = memory.prototypes.dtype, memory.config.width
    state, largest = memory.blank(1), 0.0
    with torch.no_grad():
        for _ in range(num_segments // at_once):
            x = torch.randn(1, at_once, 4, width, generator=generator).to(dtype)
            _, state = memory(x, state)
            norm = state.trace.float().norm(dim=-1).max().item()
            if not norm < stop_at:
                return norm
            largest = max(largest, norm)
    return largest


def detach_cuts(case: Case) -> None:
    """What comes after a detach sends no gradient to what came before, an open segment included."""
    hidden = case.hidden.clone().requires_grad_()
    for committed in (True, False):
        _, state = case.memory(hidden, case.state, commit=committed)
        assert state.trace.requires_grad or not committed
        state = state.detach()
        y, after = case.memory(case.hidden, state)
        # Only parameters can get a gradient: nothing leads back to the hidden states before.
        (gradient,) = torch.autograd.grad(y.sum() + after.trace.sum(), hidden, allow_unused=True)
        assert gradient is None
