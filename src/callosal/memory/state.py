"""What a memory remembers, as a value: nothing of it is kept on the module."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from callosal.ops import address


def _first(state: "RowState") -> Tensor:
    return getattr(state, fields(state)[0].name)


# No generated equality: tensors have none that is a bool.
@dataclass(frozen=True, kw_only=True, eq=False)
class RowState:
    """A value made of tensors whose first axis is the batch. Methods return new values.

    Fields are tensors, values of this kind themselves, or None; the first is a tensor. A memory of your own gets its
    state by adding fields (``callosal.contract`` checks what else it must keep).
    """

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(_first(self))

    def __getitem__(self, rows: Any) -> Self:
        """Select rows by a slice, a list, an index tensor or a boolean mask: ``state[2:5]``.

        One number keeps the batch axis: ``state[3]`` is a state of one row.

        Raises:
            IndexError: there is no such row, or the index is for more than rows.
        """
        if isinstance(rows, tuple):
            raise IndexError(f"{rows} indexes more than rows; a memory state is indexed by rows alone")
        device = _first(self).device
        try:
            index = torch.arange(len(self), device=device)[rows]
        except IndexError as error:
            raise IndexError(f"rows {rows} of a memory state with {len(self)} rows: {error}") from error
        return self._map(lambda tensor: tensor[index.reshape(-1)])

    def split(self, num_rows: int) -> list[Self]:
        """Return states of so many rows each, the last of what is left; nothing is copied."""

        def part(start: int) -> Self:
            return self._map(lambda tensor: tensor[start : start + num_rows])

        return [part(start) for start in range(0, len(self), num_rows)]

    @classmethod
    def stack(cls, states: Sequence[Self]) -> Self:
        """Put the rows of several states under each other, as ``state[rows]`` takes them apart.

        Raises:
            ValueError: there are no states, or one has a part, such as an open segment, that another lacks.
        """
        if not states:
            raise ValueError("a stack of no states; give at least one")

        def stacked(name: str, absent: int | None) -> Any:
            values: list[Any] = [getattr(state, name) for state in states]
            if absent is not None and any(value is not None for value in values):
                lacking = [torch.full((len(state),), absent, device=_first(state).device) for state in states]
                values = [lack if value is None else value for value, lack in zip(values, lacking, strict=True)]
            if len({type(value) for value in values}) > 1:
                raise ValueError(
                    f"states of which some have a {name} and some have none; call memory.commit(state) before stacking"
                )
            first = values[0]
            if isinstance(first, RowState):
                return first.stack(values)
            return None if first is None else torch.cat(values)

        return replace(states[0], **{f.name: stacked(f.name, f.metadata.get("absent")) for f in fields(states[0])})

    def detach(self) -> Self:
        """Cut the gradient: what comes after does not reach what came before."""
        return self._map(Tensor.detach)

    def clone(self) -> Self:
        """Copy every tensor."""
        return self._map(Tensor.clone)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast every tensor, with the arguments of ``Tensor.to``; whole numbers are moved only."""

        def moved(tensor: Tensor) -> Tensor:
            if tensor.is_floating_point():
                return tensor.to(*args, **kwargs)
            return tensor.to(torch.empty(0, device=tensor.device).to(*args, **kwargs).device)

        return self._map(moved)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        def mapped(value: Any) -> Any:
            if value is None:
                return None
            # The same for parts that are states themselves.
            return value._map(function) if isinstance(value, RowState) else function(value)  # noqa: SLF001

        return replace(self, **{f.name: mapped(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenSegment(RowState):
    """What a layer has seen of a segment so far: enough to address and to share out what comes next.

    Attributes:
        tail: the last hidden states, oldest first, for the lagged heads.
        signal_sum: sum of what homeostasis averages (normalised hidden states, or slot drives).
        num_tokens: number of tokens so far, as a float.
    """

    tail: Float[Tensor, "batch *reader tail width"]
    signal_sum: Float[Tensor, "batch *reader signal"]
    num_tokens: Float[Tensor, "batch *reader"]

    def extended(
        self,
        seen: Float[Tensor, "batch time width"],
        count: Float[Tensor, "batch"],
        put: Mapping[str, Tensor] = MappingProxyType({}),
        **sums: Tensor | None,
    ) -> Self:
        """Return the segment with more of it: hidden states, how many of these count, and what is added to the sums.

        What is ``put`` was added already.
        """
        history = torch.cat([self.tail, seen], dim=1)
        tail = address.next_tail(history, count.long(), self.tail.shape[1])
        total = {name: getattr(self, name) + one for name, one in sums.items() if one is not None}
        return replace(self, tail=tail, num_tokens=self.num_tokens + count, **total, **put)

    def of(self, reader: int) -> "SeenSegment":
        """Return what one of several readers has seen."""
        tail, signal_sum, num_tokens = self.tail[:, reader], self.signal_sum[:, reader], self.num_tokens[:, reader]
        return SeenSegment(tail=tail, signal_sum=signal_sum, num_tokens=num_tokens)

    def with_reader(self, reader: int, seen: "SeenSegment") -> "SeenSegment":
        """Return this of several readers, of which one has seen something else."""

        def put(before: Tensor, after: Tensor) -> Tensor:
            return before.to(after.dtype).select_scatter(after, 1, reader)

        return SeenSegment(
            tail=put(self.tail, seen.tail),
            signal_sum=put(self.signal_sum, seen.signal_sum),
            num_tokens=put(self.num_tokens, seen.num_tokens),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenSegment(SeenSegment):
    """The part of a segment that was seen but not yet committed. All of it is a sum over tokens.

    Attributes:
        consolidated: A^T diag(s) (A V + X U) so far (for the delta rule, what the write adds).
        usage: column sums of diag(s) A so far.
        retrieved: sum of the norms of what the tokens retrieved; None unless that is their salience.
        recalled: sum of what they retrieved, the mean of their heads; None unless it is recollected.
        elsewhere: what the layers that only read have seen, one after another; None without such.
    """

    consolidated: Float[Tensor, "batch bank slot width"]
    usage: Float[Tensor, "batch bank slot"]
    retrieved: Float[Tensor, "batch"] | None = None
    recalled: Float[Tensor, "batch width"] | None = None
    elsewhere: SeenSegment | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CarriedContext(RowState):
    """What earlier segments were about, fading: the slow buffer of ``MemoryConfig.carry``.

    Attributes:
        signal_sum: sum of the normalised hidden states, each segment's worth carry times the next's.
        num_tokens: their number, faded alike.
    """

    signal_sum: Float[Tensor, "batch width"]
    num_tokens: Float[Tensor, "batch"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryState(RowState):
    """The memory of a batch: one row per sequence, user or episode.

    Attributes:
        trace: what was written; zero is blank.
        segment: the open segment, or None right after a commit.
        context: what is carried into the next segment's context; None carries nothing.
        recollected: slow average of what was retrieved, b of ``MemoryConfig.recollection``; None is without.
        version: where a store has each row's memory from, so that no newer one is lost when it is saved: a number made
            of what it held, 0 where it held nothing. -1, or None for all rows, is a memory that no store knows.
    """

    trace: Float[Tensor, "batch bank slot width"]
    segment: OpenSegment | None = None
    context: CarriedContext | None = None
    recollected: Float[Tensor, "batch width"] | None = None
    version: Int[Tensor, "batch"] | None = field(default=None, metadata={"absent": -1})

    def reset(self, rows: Any) -> Self:
        """Make some rows blank, their carried context included; the others keep every bit, and all their version.

        Raises:
            ValueError: a segment is open.
        """
        if self.segment is not None:
            raise ValueError("reset() was called inside an open segment; call memory.commit(state) before it")
        keep = torch.ones(len(self), dtype=torch.bool, device=self.trace.device)
        keep[rows] = False

        def blanked(tensor: Tensor) -> Tensor:
            there = keep.view(-1, *[1] * (tensor.ndim - 1))
            return torch.where(there, tensor, torch.zeros_like(tensor))

        return replace(self._map(blanked), version=self.version)
