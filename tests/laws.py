"""The laws of a lateral memory's own, as functions that raise AssertionError where one is broken.

What every memory owes is in ``callosal.contract.laws``. What is here comes on top: the reference, the
banks and their shares, pieces, the bound. All take the same: memory, hidden states, state and mask. The
property tests call them on drawn cases, ``law(*case)``; the planted faults must turn them red.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from tests.shapes import unchecked
from tests.tolerances import EXACT
from torch import Tensor, nn

from callosal.contract import LAWS, Law, laws, states
from callosal.contract.states import assert_same_bits
from callosal.memory import LateralMemory, MemoryState
from callosal.ops import reference


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    """Compare two tensors, relative to the largest entry of the expected one or to one."""
    states.assert_near(actual, expected, tolerance)


def assert_twin(fast: Callable[..., Tensor], *rows: Any, rest: Sequence[Any] = ()) -> Tensor:
    """Compare an operation on a batch with its reference row by row; ``rest`` has no rows. Return the batch's."""
    slow = getattr(reference, fast.__name__)
    actual = fast(*rows, *rest)
    assert_near(actual, torch.stack([slow(*row, *rest) for row in zip(*rows, strict=True)]))
    return actual


def assert_same_state(actual: Any, expected: Any, tolerance: float = EXACT) -> None:
    """Compare two states, open segments and carried contexts included."""
    states.assert_same_state(actual, expected, tolerance)


def assert_same_bits_of(actual: Any, expected: Any) -> None:
    """Compare two states, or any other values made of tensors, bit by bit."""
    states.assert_same_state(actual, expected, None)


class Shares(nn.Module):
    """The shares of a memory as the output of one, so that the same laws hold for them."""

    def __init__(self, memory: LateralMemory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, hidden: Tensor, state: MemoryState, mask: Tensor | None = None) -> tuple[Tensor, MemoryState]:
        return self.memory.bank_share(hidden, state, mask), self.memory(hidden, state, mask)[1]


class Embedding(nn.Module):
    """A memory that writes its tokens' embeddings, with embeddings made of the hidden states, as all laws call it."""

    def __init__(self, memory: LateralMemory) -> None:
        super().__init__()
        self.memory, self.config = memory, memory.config

    def blank(self, batch_size: int) -> MemoryState:
        return self.memory.blank(batch_size)

    def commit(self, state: MemoryState) -> MemoryState:
        return self.memory.commit(state)

    def bank_share(self, *args: Any, **how: Any) -> Tensor:
        return self.memory.bank_share(*args, embedded=embedding_of(args[0]), **how)

    def forward(self, hidden: Tensor, state: Any = None, mask: Any = None, **how: Any) -> tuple[Tensor, MemoryState]:
        return self.memory(hidden, state, mask, embedded=embedding_of(hidden), **how)


def embedding_of(hidden: Tensor) -> Tensor:
    """Return what is no multiple of the hidden states and as wide; linear, so that NaN sends back no gradient."""
    ramp = torch.arange(1, hidden.shape[-1] + 1, dtype=hidden.dtype, device=hidden.device)
    return hidden.flip(-1) * ramp


def matches_reference(
    memory: Any, hidden: Tensor, state: Any, mask: Any, salience: Any = None, embedded: Any = None
) -> None:
    """Layer and reference give the same read-out, memory and shares, and the same gradients of all."""
    how = {} if salience is None else {"salience": salience}
    hidden, trace = hidden.clone().requires_grad_(), state.trace.clone().requires_grad_()
    embedded = None if embedded is None else embedded.clone().requires_grad_()
    recollected = None if state.recollected is None else state.recollected.clone().requires_grad_()
    given = [tensor for tensor in (hidden, trace, embedded, recollected) if tensor is not None]
    leaves = [leaf for leaf in (*given, *memory.parameters()) if leaf.requires_grad]
    before, config, context = replace(state, trace=trace, recollected=recollected), memory.config, state.context
    y, after = memory(hidden, before, mask, embedded=embedded, **how)
    fast = [y, after.trace, memory.bank_share(hidden, before, mask, **how)]
    names = ("gain", "drive", "write", "homeostasis", "context", "contrast", "balance", "writers")
    names += ("crosstalk", "detach_context", "normalised", "gates", "recollection")
    parameters = dict(memory.named_parameters()) | dict(memory.named_buffers())
    *slow, average = reference.segment(
        hidden,
        trace,
        mask,
        parameters,
        carried=None if context is None else (context.signal_sum, context.num_tokens),
        salience=salience,
        embedded=embedded,
        recollected=recollected,
        **{name: getattr(config, name) for name in names},
    )
    if after.recollected is not None:
        fast, slow = [*fast, after.recollected], [*slow, average]
    if context and after.context:
        for row, present in enumerate(mask if salience is None else mask & (salience > 0)):
            carried = context.signal_sum[row], context.num_tokens[row]
            if present.any():
                seen = torch.stack([reference.led_in(token, parameters) for token in hidden[row][present]])
                bent = parameters["recollection_map"] @ recollected[row] if recollected is not None else 0.0
                carried = reference.carry(*carried, seen + bent, config.carry)
            assert_near(after.context.signal_sum[row], carried[0])
            assert_near(after.context.num_tokens[row], carried[1])
    for one, other in zip(fast, slow, strict=True):
        assert_near(one, other)

    def gradients(outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        probes = [torch.cos(torch.arange(out.numel()).double()).view(out.shape) for out in outputs]
        totals = [(out * probe).sum() for out, probe in zip(outputs, probes, strict=True)]
        return torch.autograd.grad(torch.stack(totals).sum(), leaves, allow_unused=True, materialize_grads=True)

    for one, other in zip(gradients(fast), gradients(slow), strict=True):
        assert_near(one, other)


def pieces_equal_one_call(memory: Any, hidden: Tensor, state: Any, mask: Any, cuts: Sequence[int] = (2, 3)) -> None:
    """A segment cut anywhere and committed at its end is the segment in one call, shares too."""
    whole, expected = memory(hidden, state, mask)
    start, opened, last, ys, shares = state, state, state, [], []
    for begin, end in pairwise([0, *sorted(cuts), hidden.shape[1]]):
        part = hidden[:, begin:end], opened, mask[:, begin:end]
        shares.append(memory.bank_share(*part))
        one, last = memory(*part)
        y, opened = memory(*part, commit=False)
        assert_near(one, y)
        ys.append(y)
    assert_near(torch.cat(ys, dim=1), whole)
    assert_near(torch.cat(shares, dim=1), memory.bank_share(hidden, state, mask))
    assert_same_bits(opened.trace, start.trace)
    committed = memory.commit(opened)
    # The last piece may also commit by itself.
    for after in (committed, last):
        assert_same_state(after, expected)
    # A second commit has nothing to write.
    assert_same_bits(memory.commit(committed).trace, committed.trace)


def quiet_tokens_leave_no_trace(memory: Any, hidden: Tensor, state: Any, mask: Any) -> None:
    """A token of salience 0 reads as if it were the last so far, and is absent to all else, to the bit."""
    salience = torch.where(mask, torch.linspace(0.25, 1.0, mask.shape[-1]).to(hidden).expand(mask.shape), 0.0)
    y, after = memory(hidden, state, salience=salience)
    expected, absent = memory(hidden, state, mask, salience=salience)
    assert_near(y[mask], expected[mask])
    assert_same_state(after, absent)
    changed = torch.where(mask[..., None], hidden, -hidden)
    for commit in (True, False):
        one, other = (memory(x, state, salience=salience, commit=commit)[1] for x in (hidden, changed))
        assert_same_bits_of(other, one)
    for time in range(hidden.shape[-2]):
        before = memory(hidden[:, :time], state, mask[:, :time], salience=salience[:, :time], commit=False)[1]
        alone = memory(hidden[:, time : time + 1], before, commit=False)[0]
        assert_near(y[:, time][~mask[:, time]], alone[:, 0][~mask[:, time]])
    opened = memory(hidden, state, mask, commit=False)[1]
    nothing = memory(hidden, opened, salience=torch.zeros_like(salience), commit=False)[1]
    assert_same_bits_of(nothing, opened)
    assert_same_bits(memory.commit(nothing).trace, memory.commit(opened).trace)
    shares = memory.bank_share(hidden, state, salience=salience)
    assert_near(shares[mask], memory.bank_share(hidden, state, mask)[mask])
    assert_near(shares.sum(-1), torch.ones_like(salience))


def shares_do_not_look_ahead(memory: Any, hidden: Tensor, state: Any, mask: Any = None) -> None:
    """What comes after a token does not change its shares."""
    laws.no_look_ahead(Shares(memory), hidden, state, mask)


def masked_shares_are_absent(memory: Any, hidden: Tensor, state: Any, mask: Any) -> None:
    """A masked token's shares are zero, and it changes no other's."""
    laws.masked_is_absent(Shares(memory), hidden, state, mask)


def open_segments_detach(memory: Any, hidden: Tensor, state: Any, mask: Any = None) -> None:
    """A detach cuts the gradient of an open segment, too."""
    laws.detach_cuts(memory, hidden, state, mask, commit=False)


def banks_permute(memory: Any, hidden: Tensor, state: Any, mask: Any, order: Sequence[int] = (1, 0)) -> None:
    """Banks have no places: renaming them renames traces and shares, and leaves the read-out."""
    banks = list(order)
    y, after = memory(hidden, state, mask)
    shares = memory.bank_share(hidden, state, mask)
    by_bank = [memory.addresses, memory.prototypes, memory.maps, memory.axes]
    if memory.config.drive == "slots":
        by_bank.append(memory.slow_mean)
    if memory.excitability is not None:
        by_bank.append(memory.excitability)
    if memory.won_context is not None and memory.won_share is not None:
        by_bank += [memory.won_context, memory.won_share]
    with torch.no_grad():
        for tensor in by_bank:
            tensor.copy_(tensor[banks].clone())
        memory.coupling.copy_(memory.coupling[banks][:, banks].clone())
    renamed = replace(state, trace=state.trace[:, banks])
    other_y, other = memory(hidden, renamed, mask)
    assert_near(other_y, y)
    assert_near(other.trace, after.trace[:, banks])
    assert_near(memory.bank_share(hidden, renamed, mask), shares[..., banks])


def norms_stay_bounded(memory: LateralMemory, *_: Any) -> None:
    """After 300 random segments no slot's norm exceeds the stated bound."""
    norm = largest_norm_over(memory, 300)
    assert norm <= memory.max_slot_norm, f"a slot's norm reached {norm:.3g}"


def largest_norm_over(memory: LateralMemory, num_segments: int, *, at_once: int = 100) -> float:
    """Feed segments of random tokens and return the largest norm any slot ever had, or one not finite."""
    generator = torch.Generator().manual_seed(0)
    dtype, width = memory.prototypes.dtype, memory.config.width
    state, largest = memory.blank(1), 0.0
    with torch.no_grad(), unchecked():
        for _ in range(num_segments // at_once):
            x = torch.randn(1, at_once, 4, width, generator=generator).to(dtype)
            _, state = memory(x, state)
            norm = state.trace.float().norm(dim=-1).max().item()
            if not math.isfinite(norm):
                return norm
            largest = max(largest, norm)
    return largest


def _own(name: str, check: Any, *needs: Any) -> Law:
    return Law(name, check.__doc__, check, needs)


OWN = (
    _own("reference", matches_reference, "mask"),
    _own("pieces anywhere", pieces_equal_one_call, "mask", "pieces"),
    _own("quiet tokens", quiet_tokens_leave_no_trace, "mask", "pieces"),
    _own("shares: no look-ahead", shares_do_not_look_ahead),
    _own("shares: masked is absent", masked_shares_are_absent, "mask"),
    _own("detach cuts open segments", open_segments_detach, "pieces"),
    _own("banks permute", banks_permute, "mask"),
    _own("norms stay bounded", norms_stay_bounded),
)
# The law over 300 segments takes longer than all others together.
QUICK = tuple(law for law in LAWS if law.name != "bounded")
