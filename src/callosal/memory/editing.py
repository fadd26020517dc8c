"""Memories taken apart and put together, bank by bank: every function returns a new state."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from callosal.memory.state import CarriedContext, MemoryState

# Which parent a bank of a merged memory comes from.
PARENTS = ("A", "B", "A+B")
Bank = int | str
_SIDES = ("left", "right")


def bank_name(bank: int, num_banks: int) -> str:
    """Return what a bank is called: left and right where there are two, else its number."""
    return _SIDES[bank] if num_banks == 2 else str(bank)


def bank_number(bank: Bank, num_banks: int) -> int:
    """Return a bank's number from its name or number; ValueError where there is no such bank.

    >>> bank_number("right", 2), bank_number("0", 3), bank_number(2, 3)
    (1, 0, 2)
    """
    names = {str(number): number for number in range(num_banks)}
    if num_banks == 2:
        names |= {name: number for number, name in enumerate(_SIDES)}
    if str(bank) not in names:
        raise ValueError(f"bank {bank!r} of a memory of {num_banks}; it may be {', '.join(map(str, names))}")
    return names[str(bank)]


def merge(first: MemoryState, second: MemoryState, banks: Mapping[Bank, str] | None = None) -> MemoryState:
    r"""Make one memory of two, bank by bank. Ours.

    A bank comes from A (the first), from B (the second), or from both, slot by slot:

    $$M_j = w A_j + (1 - w) B_j, \qquad w = \lVert A_j \rVert^2 / (\lVert A_j \rVert^2 + \lVert B_j \rVert^2)$$

    Under the bounded write a slot stays in a ball, and a sum of two parents would leave it. This is a convex step
    between them instead, so no slot's norm exceeds the larger of its parents'. Where slots do not collide (one parent's
    slot is blank) the other's stays bit for bit, and what it held is recalled as before. Where both wrote, the slot is
    a mixture in which the stronger prevails: the weaker is recalled worse or not at all, and no merge could keep both,
    for a slot holds one vector. What is almost blank, such as the tail of a softmax, counts with the square of its
    size, that is for nothing. The same is done under the other write rules, which promise no bound to begin with.

    Args:
        first: parent A.
        second: parent B, of the same shape and dtype, written by the same weights.
        banks: where each bank comes from, by name or number; banks left out come from both.

    Returns:
        The merged memory. Its carried context and what it recollects, which belong to no bank, are the means of the
        parents' taken from.

    Raises:
        ValueError: the parents differ in shape or dtype, a segment is open, or ``banks`` names what does not exist.
    """
    require_alike(first, second, "merge")
    num_banks = first.trace.shape[1]
    chosen: dict[int, str] = {}
    for bank, source in (banks or {}).items():
        number = bank_number(bank, num_banks)
        if source not in PARENTS:
            raise ValueError(f"bank {bank} from {source!r}; it may come from A, B or A+B")
        if number in chosen:
            raise ValueError(f"bank {bank} is named twice; name each bank once")
        chosen[number] = source
    sources = [chosen.get(bank, "A+B") for bank in range(num_banks)]
    parts = [
        _between(a, b) if source == "A+B" else {"A": a, "B": b}[source]
        for source, a, b in zip(sources, first.trace.unbind(1), second.trace.unbind(1), strict=True)
    ]
    taken = {parent for source in sources for parent in source.split("+")}
    parents = [state for parent, state in (("A", first), ("B", second)) if parent in taken]
    context = _mean_context([state.context for state in parents if state.context is not None])
    averages = [state.recollected for state in parents if state.recollected is not None]
    recollected = torch.stack(averages).mean(0) if averages else None
    return MemoryState(trace=torch.stack(parts, dim=1), context=context, recollected=recollected)


def fork(state: MemoryState, num_copies: int) -> MemoryState:
    """Return copies of every row, each of which continues independently: rows 0, 0, ..., 1, 1, ...

    Raises:
        ValueError: ``num_copies`` is below 1.
    """
    if num_copies < 1:
        raise ValueError(f"num_copies is {num_copies}; it must be at least 1")
    rows = torch.arange(len(state), device=state.trace.device).repeat_interleave(num_copies)
    return state[rows]


def blanked(
    trace: Float[Tensor, "batch bank slot width"], banks: Sequence[int]
) -> Float[Tensor, "batch bank slot width"]:
    """Return a trace in which these banks hold nothing."""
    trace = trace.clone()
    trace[:, list(banks)] = 0.0
    return trace


def reset_banks(state: MemoryState, banks: Sequence[Bank] | None = None) -> MemoryState:
    """Blank some banks of every row; the others keep every bit.

    Args:
        state: the memory. ``state.reset(rows)`` blanks rows instead.
        banks: by name or number; None blanks all, and what belongs to no bank: carried context, what is recollected.

    Raises:
        ValueError: there is no such bank, or a segment is open.
    """
    _require_committed(state, "reset_banks")
    if banks is None:
        return state.reset(slice(None))
    num_banks = state.trace.shape[1]
    trace = blanked(state.trace, [bank_number(bank, num_banks) for bank in banks])
    return replace(state, trace=trace)


def require_alike(first: MemoryState, second: MemoryState, verb: str) -> None:
    """Raise ValueError for two states that differ in shape or dtype, or where a segment is open."""
    for state in (first, second):
        _require_committed(state, verb)
    a, b = first.trace, second.trace
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(
            f"{verb} of traces of shape {tuple(a.shape)}, {a.dtype}, and {tuple(b.shape)}, {b.dtype}; both must be "
            "alike: choose rows with state[rows] and cast with state.to(dtype)"
        )


def _require_committed(state: MemoryState, verb: str) -> None:
    if state.segment is not None:
        raise ValueError(f"{verb} of an open segment; call memory.commit(state) before it")


def _between(
    first: Float[Tensor, "batch slot width"], second: Float[Tensor, "batch slot width"]
) -> Float[Tensor, "batch slot width"]:
    # In double precision, so that the step stays convex and a blank partner leaves every bit.
    a, b = first.double(), second.double()
    # Scaled first, so that no square vanishes or overflows.
    scale = a.abs().amax(-1, keepdim=True).maximum(b.abs().amax(-1, keepdim=True))
    of_a = (a / scale).square().sum(-1, keepdim=True)
    of_b = (b / scale).square().sum(-1, keepdim=True)
    # Both are blank where this is not a number.
    share = (of_a / (of_a + of_b)).nan_to_num(0.5)
    mixed = (share * a + (1.0 - share) * b).to(first.dtype)
    return torch.where(first == second, first, mixed)


def _mean_context(contexts: Sequence[CarriedContext]) -> CarriedContext | None:
    if not contexts:
        return None
    if len(contexts) == 1:
        return contexts[0]
    return CarriedContext(
        signal_sum=torch.stack([context.signal_sum for context in contexts]).mean(0),
        num_tokens=torch.stack([context.num_tokens for context in contexts]).mean(0),
    )
