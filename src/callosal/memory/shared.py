"""One memory behind several layers: written from one of them, read behind all."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from callosal.memory.adapting import Lesson
from callosal.memory.competition import Competition
from callosal.memory.config import MemoryConfig
from callosal.memory.lateral import LateralMemory
from callosal.memory.packing import Packed, check_input
from callosal.memory.state import MemoryState, OpenSegment, SeenSegment
from callosal.memory.ways import Projection, Ways, open_gate
from callosal.ops import gram, precision

# What a reader sees is centred and scaled by its own running means.
_SLOW = ("slow_mean", "slow_norm", "slow_weight")


class ReadingLayer(Ways):
    """What is a layer's own that reads a memory and writes nothing: its way in, its way out, its running means.

    The map in starts as that of the layer that is written, since both see the same residual stream; calibration fits
    it. The output map starts at zero.

    Args:
        memory: that is read.
    """

    slow_mean: Tensor
    slow_norm: Tensor
    slow_weight: Tensor

    def __init__(self, memory: LateralMemory) -> None:
        super().__init__()
        self.config = config = memory.config
        width = config.slot_width
        start = torch.eye(width) if memory.inner_map is None else memory.inner_map.detach().clone()
        self.inner_map = nn.Parameter(start)
        self.output = Projection(config.num_heads * width, config.width)
        nn.init.zeros_(self.output.weight)
        if config.calibrated:
            self.hidden_mean = nn.Parameter(torch.zeros(config.width), requires_grad=False)
            self.hidden_whitening = nn.Parameter(torch.eye(config.width), requires_grad=False)
        watched = config.width if config.gates == "hidden" else width
        self.output_gate = open_gate(watched) if config.output_gate else None
        for name in _SLOW:
            self.register_buffer(name, torch.zeros_like(getattr(memory, name)))

    def competition(self, shared: Competition) -> Competition:
        """Return how the banks compete for what this layer sees: the memory's axes and cross-talk, its own means."""
        return replace(shared, **{name: getattr(self, name) for name in _SLOW})

    def adapt(self, adapted: Competition) -> None:
        """Move the running means to those of a training step."""
        for name in _SLOW:
            self.move(name, getattr(adapted, name))


class SharedMemory(LateralMemory):
    r"""A memory that is written from one layer and read behind several. Ours.

    Called, it is the memory of the layer that is written, bit for bit: that layer reads too. :meth:`read` is for the
    others. Slots, addresses, transforms, banks and query map are the memory's; what is a reader's own is

    $$x^l = \mathrm{rms}\big(W^l_{in} \Omega^l (h^l - \mu^l)\big), \qquad
      y^l = g^l(x^l)\, W^l_o\, \mathrm{rms}\big((A^l V)\big)$$

    and what homeostasis takes away. A query map of its own would add little: before the shared one stands a linear way
    in. Every layer reads the memory as it stood when the segment began, so in which order they stand does not matter;
    what is carried or recollected from segment to segment is of the layer that is written.

    Args:
        config: sizes and dynamics.
        num_readers: layers that only read.

    Raises:
        ValueError: ``num_readers`` is less than 1.

    >>> memory = SharedMemory(MemoryConfig(width=8, num_slots=16), num_readers=1).eval()
    >>> early, late = torch.randn(2, 3, 5, 8)
    >>> above, state = memory.read(0, early, memory.blank(3))
    >>> y, state = memory(late, state)
    >>> above.shape, state.trace.shape
    (torch.Size([3, 5, 8]), torch.Size([3, 2, 16, 8]))
    """

    def __init__(self, config: MemoryConfig, num_readers: int) -> None:
        super().__init__(config)
        if num_readers < 1:
            raise ValueError(f"num_readers is {num_readers}; a memory that no other layer reads is a LateralMemory")
        self.readers = nn.ModuleList(ReadingLayer(self) for _ in range(num_readers))

    def reader(self, number: int) -> ReadingLayer:
        """Return what is a reading layer's own."""
        reader = self.readers[number]
        assert isinstance(reader, ReadingLayer)
        return reader

    def read(
        self,
        number: int,
        hidden: Float[Tensor, "batch time width"],
        state: MemoryState,
        mask: Bool[Tensor, "batch time"] | None = None,
        *,
        salience: Shaped[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time width"], MemoryState]:
        """Read the memory for every token behind a layer that writes nothing.

        Args:
            number: of the reader, from 0.
            hidden: the hidden states of the segment behind that layer, or of a piece of it.
            state: the memory, with what any layer has seen of the segment so far.
            mask: as for the memory itself.
            salience: likewise; nothing is written here, but what a token of 0 was, no other token is told.

        Returns:
            What is added to the hidden states, and the memory, which knows what the layer has seen and is otherwise
            what it was. The segment stays open: calling the memory without ``commit=False``, or :meth:`commit`, ends it
            for all layers.

        Raises:
            ValueError: a shape does not fit, or the open segment is of a memory that is not shared.
        """
        check_input(hidden, mask, len(state), self.config.width, salience)
        if hidden.ndim != 3:
            raise ValueError(f"hidden states of shape {tuple(hidden.shape)}; a reader takes [batch, time, width]")
        reader, packed, dtype = self.reader(number), Packed.pack(hidden, mask, salience), self._computed_in()
        opened = state.segment or self._new_segment(len(state))
        if opened.elsewhere is None:
            raise ValueError("the open segment is of a memory that no other layer reads; commit it with that memory")
        before, competition = opened.elsewhere.of(number), reader.competition(self.competition)

        with precision.explicit(hidden.device.type):
            seen, watched = reader.views(packed.hidden, dtype)
            weights, signal, _, _ = self._addressed(seen, packed, before, state, competition)
            y = reader.read_out(gram.read(weights, self.values(state.trace)[:, None].to(dtype)), watched)

        after = before.extended(seen[:, 0].to(self.state_dtype), packed.count[:, 0], signal_sum=signal[:, 0].sum(1))
        opened = replace(opened, elsewhere=opened.elsewhere.with_reader(number, after))
        return packed.restore(y).to(hidden.dtype), replace(state, segment=opened)

    def commit(self, state: MemoryState) -> MemoryState:
        """Write the open segment into the trace: what was retrieved behind the layer that is written."""
        if self.training and state.segment is not None and state.segment.elsewhere is not None:
            self._adapt_readers(state, state.segment.elsewhere)
        return super().commit(state)

    @torch.no_grad()
    def _adapt_readers(self, state: MemoryState, elsewhere: SeenSegment) -> None:
        for number in range(len(self.readers)):
            reader, seen = self.reader(number), elsewhere.of(number)
            sums, counts = seen.signal_sum[:, None], seen.num_tokens[:, None]
            competition = reader.competition(self.competition)
            past, _ = competition.faded(state.context, sums, counts)
            newest = self.competed_for(seen.tail[:, -1:, None], state)[:, :, 0]
            reader.adapt(self.adapted(competition, Lesson(sums, counts, past, newest, None))[0])

    def _new_segment(self, num_rows: int) -> OpenSegment:
        new = super()._new_segment(num_rows)
        readers = len(self.readers)
        elsewhere = SeenSegment(
            tail=new.tail[:, None].expand(-1, readers, -1, -1),
            signal_sum=new.signal_sum[:, None].expand(-1, readers, -1),
            num_tokens=new.num_tokens[:, None].expand(-1, readers),
        )
        return replace(new, elsewhere=elsewhere)


def memory_of(config: MemoryConfig, num_readers: int) -> LateralMemory:
    """Return a new memory that so many further layers read."""
    return SharedMemory(config, num_readers) if num_readers else LateralMemory(config)
