"""What a memory is to everything that uses one: a state in, a state out."""

from typing import Any, Protocol, Self, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor


class State(Protocol):
    """The memory of a batch of rows, as a value. :class:`~callosal.memory.RowState` is one."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, rows: Any) -> Self:
        """Select rows."""
        ...

    def detach(self) -> Self:
        """Cut the gradient."""
        ...


@runtime_checkable
class Memory(Protocol):
    """A module that carries a state from segment to segment.

    ``callosal.contract.check_memory`` says whether one keeps the laws that its users rely on.
    """

    def blank(self, batch_size: int) -> Any:
        """Return the state of rows that have seen nothing."""
        ...

    def __call__(
        self,
        hidden: Float[Tensor, "batch *segment time width"],
        state: Any,
        mask: Bool[Tensor, "batch *segment time"] | None = None,
    ) -> tuple[Float[Tensor, "batch *segment time width"], Any]:
        """Read for every token, write, and hand the state on: ``(x, state) -> (y, state)``."""
        ...


@runtime_checkable
class Routes(Protocol):
    """A memory that divides tokens among banks (or experts), so that its shares can be measured."""

    def bank_share(
        self,
        hidden: Float[Tensor, "batch *segment time width"],
        state: Any = None,
        mask: Bool[Tensor, "batch *segment time"] | None = None,
    ) -> Float[Tensor, "batch *segment time bank"]:
        """Return each bank's share of each token; shares sum to one."""
        ...


@runtime_checkable
class Penalised(Protocol):
    """A state that adds a term of its own to the training loss."""

    @property
    def penalty(self) -> Float[Tensor, ""]:
        """What is added to the loss, in nats."""
        ...
