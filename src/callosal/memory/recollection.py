"""A slow average of what was retrieved, which leans on what the banks compete for."""

from itertools import repeat

from jaxtyping import Float
from torch import Tensor, nn

from callosal.memory.packing import Packed
from callosal.memory.state import MemoryState
from callosal.memory.ways import Ways
from callosal.ops import context, precision


class Recollecting(Ways):
    r"""What a memory that recollects does beside the others. Abstract, as the ways are.

    $$x_t \leftarrow x_t + P\, b, \qquad b \leftarrow (1 - r)\, b + r\, \mathrm{rms}\big(\langle A V \rangle_t\big)$$

    for what the banks compete for, x, and in nothing else: neither slots nor gates see b. It moves when a segment is
    committed, by what that segment's tokens retrieved. The buffer of arXiv 2603.07217 as its readers describe it; where
    it enters, that homeostasis takes it away like all else that lasts, and that P starts as the identity are ours.

    Attributes:
        recollection_map: P; None without.
    """

    recollection_map: nn.Parameter | None

    def blank_recollection(self, num_rows: int) -> Float[Tensor, "batch inner"] | None:
        """Return what rows recollect that have retrieved nothing; None where nothing is recollected."""
        where = self.recollection_map
        return None if where is None else where.new_zeros(num_rows, len(where), dtype=precision.whole(where.dtype))

    def bias(self, state: MemoryState) -> Float[Tensor, "batch inner"] | None:
        """Return P b, what is added to each token that the banks compete for; None where nothing is recollected."""
        if self.recollection_map is None or state.recollected is None:
            return None
        return state.recollected @ precision.widened(self.recollection_map).T

    def competed_for(
        self, seen: Float[Tensor, "batch seg time inner"], state: MemoryState
    ) -> Float[Tensor, "batch seg time inner"]:
        """Return the tokens as the banks compete for them; every segment starts from the same state."""
        bias = self.bias(state)
        return seen if bias is None else seen + bias[:, None, None]

    def apart(self, packed: Packed, embedded: Tensor | None) -> list[tuple[Packed, Tensor | None]]:
        """Return what can be read at once, with its embeddings: all segments.

        But one by one where each needs what the last retrieved.
        """
        if self.recollection_map is None or packed.hidden.shape[1] < 2:
            return [(packed, embedded)]
        return list(zip(packed.apart(), repeat(None) if embedded is None else embedded.split(1, dim=1), strict=False))

    def recalled(
        self, retrieved: Float[Tensor, "batch seg time head inner"], packed: Packed
    ) -> Float[Tensor, "batch inner"] | None:
        """Return what the tokens of one segment retrieved in all; None where nothing is recollected."""
        if self.recollection_map is None:
            return None
        return packed.counted(retrieved.mean(-2)).sum((1, 2))

    def recollected(
        self, state: MemoryState, recalled: Float[Tensor, "batch inner"] | None, num_tokens: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch inner"] | None:
        """Return b after a segment."""
        before = self.blank_recollection(len(state)) if state.recollected is None else state.recollected
        if before is None or recalled is None:
            return state.recollected
        return context.recollect(before, recalled, num_tokens, self.config.recollection)
