"""What is in a memory, and how two differ, in numbers that need no model."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from callosal.memory.editing import bank_name, require_alike
from callosal.memory.state import MemoryState

# A slot counts as used above this share of the bound. A softmax touches every slot a little, so that hardly any norm is
# exactly zero.
USED_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class BankSummary:
    """One bank over all rows.

    Attributes:
        bank: its name.
        num_slots: over all rows.
        num_used: slots whose norm is above 1 % of the bound, or of the largest norm if there is none.
        mean_norm: of all slots, the unused included.
        max_norm: of all slots.
        share_of_bound: ``max_norm`` over the bound; None if there is no bound.
    """

    bank: str
    num_slots: int
    num_used: int
    mean_norm: float
    max_norm: float
    share_of_bound: float | None


@dataclass(frozen=True, kw_only=True)
class BankChange:
    """How a bank of one memory differs from that of another.

    Attributes:
        row: which row.
        bank: its name.
        num_changed: slots of which any bit differs.
        distance: norm of the difference of the whole bank.
        relative: ``distance`` over the larger of the two banks' norms; 0 if both are blank.
        largest_slot: the slot that differs most; None if none does.
    """

    row: int
    bank: str
    num_changed: int
    distance: float
    relative: float
    largest_slot: int | None


def slot_norms(state: MemoryState) -> Float[Tensor, "batch bank slot"]:
    """Return the norm of what every slot was written; 0 is blank."""
    return state.trace.double().norm(dim=-1)


def summarise(state: MemoryState, bound: float | None) -> list[BankSummary]:
    """Return one line per bank; ``bound`` is what no norm exceeds (``memory.max_slot_norm``), or None."""
    norms = slot_norms(state)
    largest = norms.max().item() if norms.numel() else 0.0
    least = USED_SHARE * (largest if bound is None else bound)
    summaries = []
    for bank, of_bank in enumerate(norms.unbind(1)):
        highest = of_bank.max().item() if of_bank.numel() else 0.0
        summaries.append(
            BankSummary(
                bank=bank_name(bank, norms.shape[1]),
                num_slots=of_bank.numel(),
                num_used=int((of_bank > least).sum()),
                mean_norm=of_bank.mean().item() if of_bank.numel() else 0.0,
                max_norm=highest,
                share_of_bound=None if bound is None else highest / bound,
            )
        )
    return summaries


def diff(first: MemoryState, second: MemoryState) -> Sequence[BankChange]:
    """Return how every bank of every row differs.

    Raises:
        ValueError: the states are of different shape or dtype, or a segment is open.
    """
    require_alike(first, second, "diff")
    apart = (second.trace.double() - first.trace.double()).norm(dim=-1)
    changed = (first.trace != second.trace).any(-1)
    size = slot_norms(first).norm(dim=-1).maximum(slot_norms(second).norm(dim=-1))
    changes = []
    for row in range(len(first)):
        for bank in range(apart.shape[1]):
            distance, larger = apart[row, bank].norm().item(), size[row, bank].item()
            num_changed = int(changed[row, bank].sum())
            changes.append(
                BankChange(
                    row=row,
                    bank=bank_name(bank, apart.shape[1]),
                    num_changed=num_changed,
                    distance=distance,
                    relative=distance / larger if larger > 0.0 else 0.0,
                    largest_slot=int(apart[row, bank].argmax()) if num_changed else None,
                )
            )
    return changes
