"""A segment whose pieces lie on several processes: each reads its own, and what is written is added up."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, distributed

from callosal.memory.lateral import LateralMemory
from callosal.memory.packing import Packed, check_input
from callosal.memory.processes import added, from_each
from callosal.memory.shared import SharedMemory
from callosal.memory.state import MemoryState, OpenSegment


def sequence_parallel(
    memory: LateralMemory,
    hidden: Float[Tensor, "batch time width"],
    state: MemoryState | None,
    mask: Bool[Tensor, "batch time"] | None = None,
    *,
    group: "distributed.ProcessGroup | None",
    salience: Shaped[Tensor, "batch time"] | None = None,
    embedded: Float[Tensor, "batch time width"] | None = None,
    commit: bool = True,
) -> tuple[Float[Tensor, "batch time width"], MemoryState]:
    r"""Read a segment that is cut into pieces along time, a piece on each process, then write all of it.

    What a segment writes is a sum over its tokens, so the sums of the pieces are added over the processes:
    $C = \sum_r C_r$ and $n = \sum_r n_r$, numbers of the size of the state, whatever the segment's length. What a piece
    needs of those before it is little: their last hidden states, for the lagged heads, and the sum of their contexts.
    Exact, not approximate: outputs, memory and, in training mode, buffers are those of one process with the whole
    segment, up to the order of the sums. Ours.

    Gradients go through the sums. The loss is the sum of what the processes have, each of its own tokens; the gradient
    of a parameter is then the sum over the processes, and that of a process alone is its share. DDP averages, so
    multiply each process's loss by their number, as :func:`callosal.train_stateful` does. All processes must go
    backward alike, or some wait for ever: each adds ``state.trace[:0].sum()`` of the last memory to its loss, nothing
    at all, by which also one whose tokens nobody scores takes part.

    Args:
        memory: the same on each process. Its ``process_group`` names processes with other rows, not those of ``group``.
        hidden: this process's piece, as long as it likes, or empty; the pieces follow each other as the ranks do.
        state: the memory before the piece of the first process, the same on each; None starts from a blank one. Its
            segment may be open.
        mask: as in :meth:`LateralMemory.forward`, of this piece.
        group: the processes that hold the pieces; None is this one alone.
        salience: as there.
        embedded: as there.
        commit: False leaves the segment open on all processes, so that more can follow.

    Returns:
        The read-out of this piece, and the memory after all pieces, the same on each process.

    Raises:
        ValueError: the hidden states are several segments, a shape does not fit, or a group meets a memory that several
            layers share.

    >>> from callosal import MemoryConfig
    >>> memory = LateralMemory(MemoryConfig(width=8, num_slots=4)).eval()
    >>> y, state = sequence_parallel(memory, torch.randn(3, 5, 8), None, group=None)
    >>> y.shape
    torch.Size([3, 5, 8])
    """
    if group is not None and isinstance(memory, SharedMemory):
        raise ValueError(
            "pieces on several processes, of a memory that several layers share: what the layers that only read have "
            "seen is not added up over processes; give each layer a LateralMemory of its own, or let group be None"
        )
    if hidden.ndim != 3:
        raise ValueError(
            f"hidden states of shape {tuple(hidden.shape)}; a process takes a piece of one segment, [batch, time, "
            "width]: call it once for each segment"
        )
    state = memory.blank(len(hidden)) if state is None else state
    check_input(hidden, mask, len(state), memory.config.width, salience)
    nothing = None if embedded is None else embedded[:, :0]
    _, opened = memory(hidden[:, :0], state, embedded=nothing, commit=False)
    begun = opened.segment
    assert begun is not None
    packed = Packed.pack(hidden, mask, salience)
    before, after, seen_of_all = _around(memory, packed, opened, group)
    kept = {name: getattr(begun, name) for name in ("consolidated", "usage", "retrieved", "recalled")}
    before = replace(before, **{name: None if one is None else torch.zeros_like(one) for name, one in kept.items()})
    y, own = memory(hidden, replace(opened, segment=before), mask, salience=salience, embedded=embedded, commit=False)
    piece = own.segment
    assert piece is not None
    # The first process looks at no other's tokens. Yet its backward pass must meet the others' there, so its sums take
    # on the sum of none of them.
    written = torch.cat([piece.consolidated, piece.usage[..., None]], dim=-1) + seen_of_all[:0].sum()
    written = added(written, group)
    sums = {"consolidated": begun.consolidated + written[..., :-1], "usage": begun.usage + written[..., -1]}
    if begun.retrieved is not None and piece.retrieved is not None:
        sums["retrieved"] = begun.retrieved + added(piece.retrieved, group)
    if begun.recalled is not None and piece.recalled is not None:
        sums["recalled"] = begun.recalled + added(piece.recalled, group)
    if memory.config.drive == "slots":
        sums["signal_sum"] = begun.signal_sum + added(piece.signal_sum - begun.signal_sum, group)
    whole = replace(opened, segment=replace(after, **sums))
    return y, memory.commit(whole) if commit else whole


def _around(
    memory: LateralMemory, packed: Packed, state: MemoryState, group: "distributed.ProcessGroup | None"
) -> tuple[OpenSegment, OpenSegment, Float[Tensor, "process batch part width"]]:
    """Return the segment as it stands before this process's piece and behind all: tails, contexts and counts.

    And what was sent around for that: the last tokens of each piece, and the sum of its contexts.
    """
    begun = state.segment
    assert begun is not None
    seen, count = memory.seen(packed.hidden), packed.count[:, 0]
    context = packed.counted(memory.competed_for(seen, state))[:, 0].sum(-2, keepdim=True)
    length = begun.tail.shape[1]
    # The last tokens that count, oldest first; where there are fewer, what follows them is never looked at.
    where = (count - length).clamp_min(0.0).long()[:, None] + torch.arange(length, device=count.device)
    padded = torch.cat([seen[:, 0], seen.new_zeros(len(seen), length, seen.shape[-1])], dim=1)
    newest = padded.take_along_dim(where[..., None], dim=1)
    seen_of_all = from_each(torch.cat([newest, context], dim=1), group)
    rank = 0 if group is None else group.rank()
    stands = before = begun
    for number, (sent, tokens) in enumerate(zip(seen_of_all, from_each(count, group), strict=True)):
        if number == rank:
            before = stands
        tail = stands.extended(sent[:, :-1], tokens.clamp_max(length)).tail
        sums = {} if memory.config.drive == "slots" else {"signal_sum": stands.signal_sum + sent[:, -1]}
        stands = replace(stands, tail=tail, num_tokens=stands.num_tokens + tokens, **sums)
    return before, stands, seen_of_all
