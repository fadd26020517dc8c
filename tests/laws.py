"""The laws of a lateral memory, as functions that raise AssertionError where one is broken.

What every memory owes is in ``callosal.contract.laws``; here it meets a case, and what is a lateral
memory's own comes on top: the twin, the banks and their shares, pieces, the bound. The property tests
call the laws on the library; the planted-fault test calls them on broken copies of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from tests.cases import Case
from tests.tolerances import EXACT
from torch import Tensor, nn

from callosal.contract import laws, states
from callosal.contract.states import assert_same_bits
from callosal.memory import LateralMemory, MemoryState
from callosal.ops import reference


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    """Compare two tensors, relative to the largest entry of the expected one or to one."""
    states.assert_near(actual, expected, tolerance)


def assert_same_state(actual: Any, expected: Any, tolerance: float = EXACT) -> None:
    """Compare two states, open segments and carried contexts included."""
    states.assert_same_state(actual, expected, tolerance)


class Shares(nn.Module):
    """The shares of a memory as the output of one, so that the same laws can be asked of them."""

    def __init__(self, memory: LateralMemory) -> None:
        super().__init__()
        self.memory = memory

    def forward(
        self, hidden: Tensor, state: MemoryState, mask: Tensor | None = None
    ) -> tuple[Tensor, MemoryState]:
        return self.memory.bank_share(hidden, state, mask), self.memory(hidden, state, mask)[1]


def twin(
    memory: LateralMemory, hidden: Tensor, state: MemoryState, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the slow twin with a memory's parameters and buffers."""
    config, context = memory.config, state.context
    return reference.segment(
        hidden,
        state.trace,
        mask,
        dict(memory.named_parameters()) | dict(memory.named_buffers()),
        gain=config.gain,
        drive=config.drive,
        write=config.write,
        homeostasis=config.homeostasis,
        context=config.context,
        contrast=config.contrast,
        balance=config.balance,
        carried=None if context is None else (context.signal_sum, context.num_tokens),
    )


def matches_twin(case: Case) -> None:
    """Fast and slow give the same read-out, memory and shares, and the same gradients of all."""
    memory = case.memory
    hidden = case.hidden.clone().requires_grad_()
    trace = case.state.trace.clone().requires_grad_()
    leaves = [hidden, trace, *memory.parameters()]
    leaves = [leaf for leaf in leaves if leaf.requires_grad]

    before = replace(case.state, trace=trace)
    y, state = memory(hidden, before, case.mask)
    fast = (y, state.trace, memory.bank_share(hidden, before, case.mask))
    slow = twin(memory, hidden, before, case.mask)
    if before.context and state.context:
        for row, present in enumerate(case.mask):
            was = before.context.signal_sum[row], before.context.num_tokens[row]
            if present.any():
                was = reference.carry(*was, hidden[row][present], memory.config.carry)
            assert_near(state.context.signal_sum[row], was[0])
            assert_near(state.context.num_tokens[row], was[1])
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
    laws.segments_at_once_equal_calls(case.memory, case.hidden, case.state, case.mask)


def pieces_equal_one_call(case: Case, cuts: Sequence[int], *, masked: bool = True) -> None:
    """A segment cut anywhere and committed at its end is the segment in one call."""
    memory, mask = case.memory, case.mask if masked else torch.ones_like(case.mask)
    whole, expected = memory(case.hidden, case.state, mask)
    shares = memory.bank_share(case.hidden, case.state, mask)
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
    opened = partial(case.memory, commit=False)
    for read in (case.memory, opened, Shares(case.memory)):
        laws.no_look_ahead(read, case.hidden, case.state, None, time)


def no_look_ahead_over_segments(case: Case, index: int) -> None:
    """What comes in a later segment changes nothing in an earlier one."""
    laws.no_look_ahead(case.memory, case.hidden, case.state, None, index)


def rows_do_not_leak(case: Case, row: int) -> None:
    """Changing one row changes no bit of another row's output or memory, in training either."""
    laws.rows_do_not_leak(case.memory, case.hidden, case.state, case.mask, row)


def inputs_stay_and_calls_agree(case: Case) -> None:
    """A call changes no input, state, mask or module, and a second one gives the same bits."""
    state = case.state
    if case.hidden.ndim == 3:
        _, state = case.memory(case.hidden, state, commit=False)
    laws.inputs_stay_and_calls_agree(case.memory, case.hidden, state, case.mask)


def banks_permute(case: Case, order: Sequence[int]) -> None:
    """Banks have no places: renaming them renames traces and shares, and leaves the read-out."""
    memory, banks = case.memory, torch.tensor(order)
    y, after = memory(case.hidden, case.state, case.mask)
    shares = memory.bank_share(case.hidden, case.state, case.mask)
    by_bank = [memory.addresses, memory.prototypes, memory.maps, memory.axes]
    if memory.config.drive == "slots":
        by_bank.append(memory.slow_mean)
    if memory.config.balance > 0.0:
        by_bank.append(memory.excitability)
    with torch.no_grad():
        for tensor in by_bank:
            tensor.copy_(tensor[banks].clone())
        memory.coupling.copy_(memory.coupling[banks][:, banks].clone())
    renamed = replace(case.state, trace=case.state.trace[:, banks])
    other_y, other = memory(case.hidden, renamed, case.mask)
    assert_near(other_y, y)
    assert_near(other.trace, after.trace[:, banks])
    assert_near(memory.bank_share(case.hidden, renamed, case.mask), shares[..., banks])


def masked_is_absent(case: Case) -> None:
    """A masked token, NaN or not, is as if it had never been there; gradients stay finite."""
    laws.masked_is_absent(case.memory, case.hidden, case.state, case.mask)
    laws.masked_is_absent(Shares(case.memory), case.hidden, case.state, case.mask)


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
    # Without this there would be nothing to cut.
    laws.gradient_through_state(case.memory, case.hidden, case.state)
    for committed in (True, False):
        laws.detach_cuts(case.memory, case.hidden, case.state, commit=committed)
