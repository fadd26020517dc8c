"""The lateralized memory layer: banks of slots that compete for what they see and keep it."""

import math
from itertools import repeat

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from callosal.memory import writing
from callosal.memory.adapting import SLOW, Lesson
from callosal.memory.blocks import in_blocks, rows_at_once
from callosal.memory.competition import Competition
from callosal.memory.config import MemoryConfig
from callosal.memory.looking import Look, Looking
from callosal.memory.packing import Packed, check_input
from callosal.memory.state import MemoryState
from callosal.memory.ways import Projection, gated, open_gate, orthogonal
from callosal.ops import address, gram, precision
from callosal.ops import salience as gating


class LateralMemory(Looking):
    r"""Attention over persistent slots that retrieves, consolidates and writes back in one pass.

    Per bank k: $M_k \leftarrow \mathrm{write}(M_k,\; A_k^\top \mathrm{diag}(s) (A_k V_k + X U) W_k)$, where A is the
    attention of the segment's tokens over the slots times the banks' shares, and V what the slots hold. What the tokens
    are, X U, and how much each weighs, s, are options: without them it is the paper's $A_k^\top A_k V_k W_k$. Source:
    arXiv 2603.03355 for the update, the two banks and the sign of their cross-talk; the options, the addressing, the
    context drive, the plasticity and the bounded write are ours (``docs/paper-to-code.md`` says which line is which).

    Tokens read the memory as it stood when their segment began; the segment's write happens once, when it is committed.
    In training mode a commit also moves the running mean and the banks' axes (buffers, like those of a batch norm),
    once per call; in evaluation mode nothing on the module moves.

    Args:
        config: sizes and dynamics.

    Attributes:
        process_group: whose rows move the buffers in training mode, with those of this process; None, the default, for
            these alone. All processes of it must commit alike: as often, as many rows.
        compute_dtype: what tokens and products over them are computed in, such as ``torch.bfloat16``; None, the
            default, is autocast's, where the memory is called inside it, or else the parameters'. The state and the
            buffers are in float32 or wider all the same, whatever the memory is cast to
            (:mod:`callosal.ops.precision` has the rule).

    Raises:
        TypeError: ``config`` is something else.

    >>> memory = LateralMemory(MemoryConfig(width=8, num_slots=16)).eval()
    >>> y, state = memory(torch.randn(3, 5, 8))
    >>> y, state = memory(torch.randn(3, 5, 8), state)
    >>> y.shape, state.trace.shape
    (torch.Size([3, 5, 8]), torch.Size([3, 2, 16, 8]))
    """

    def __init__(self, config: MemoryConfig) -> None:
        if not isinstance(config, MemoryConfig):
            raise TypeError(
                "LateralMemory takes a MemoryConfig, such as LateralMemory(MemoryConfig(width=8)); it was given "
                f"{config!r}"
            )
        super().__init__()
        self.config = config
        banks, slots, width = config.num_banks, config.num_slots, config.slot_width
        heads, lags = config.num_heads, config.num_lags

        self.addresses = nn.Parameter(torch.randn(banks, slots, width))
        self.prototypes = nn.Parameter(torch.randn(banks, slots, width))
        maps = [orthogonal(width, width) for _ in range(banks)]
        self.maps = nn.Parameter(config.write_scale * torch.stack(maps))
        self.log_inertia = nn.Parameter(torch.tensor(math.log(config.inertia)))

        self.start = nn.Parameter(torch.randn(lags - 1, width))
        self.filters = nn.Parameter(torch.eye(heads, lags)[..., None].repeat(1, 1, width))
        self.query_map = nn.Parameter(torch.randn(width, width) / math.sqrt(width))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.output = Projection(heads * width, config.width)

        initial = Competition.initial(config)
        self.coupling = nn.Parameter(initial.coupling, requires_grad=config.learn_crosstalk)
        if config.drive == "gradient":
            self.axes = nn.Parameter(initial.axes)
        else:
            self.register_buffer("axes", initial.axes)
        for name in SLOW:
            self.register_buffer(name, getattr(initial, name))

        # The options last, so that all else starts as without them.
        narrow = config.inner_width is not None
        self.inner_map = nn.Parameter(orthogonal(width, config.width)) if narrow else None
        # As wide as what was retrieved, and unturned: W, a random rotation, comes behind it.
        self.observation = nn.Parameter(torch.eye(width)) if config.observe else None
        if config.embedded:
            self.observation = nn.Parameter(nn.init.orthogonal_(torch.empty(config.width, width)))
        self.salience_gate, watched = None, config.width if config.gates == "hidden" else width
        if config.salience == "learned":
            self.salience_gate = open_gate(watched)
        self.register_buffer("slow_retrieved", torch.zeros(()) if config.salience == "retrieved" else None)
        if config.calibrated:  # measured, not learned
            self.hidden_mean = nn.Parameter(torch.zeros(config.width), requires_grad=False)
            self.hidden_whitening = nn.Parameter(torch.eye(config.width), requires_grad=False)
        self.output_gate = open_gate(watched) if config.output_gate else None
        self.recollection_map = nn.Parameter(torch.eye(width)) if config.recollection > 0.0 else None

    def seen(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch inner"]:
        """Return what the memory works with of hidden states, as it keeps it in an open segment."""
        dtype = self._computed_in()
        with precision.explicit(hidden.device.type):
            return self.led_in(hidden, dtype).to(self.state_dtype)

    def blank(self, batch_size: int) -> MemoryState:
        """Return a memory that holds nothing, one row per batch row."""
        trace = self.prototypes.new_zeros(batch_size, *self.prototypes.shape, dtype=self.state_dtype)
        context, recollected = self.competition.blank_context(batch_size), self.blank_recollection(batch_size)
        return MemoryState(trace=trace, context=context, recollected=recollected)

    def forward(
        self,
        hidden: Float[Tensor, "batch *segment time width"],
        state: MemoryState | None = None,
        mask: Bool[Tensor, "batch *segment time"] | None = None,
        *,
        salience: Shaped[Tensor, "batch *segment time"] | None = None,
        embedded: Float[Tensor, "batch *segment time width"] | None = None,
        commit: bool = True,
    ) -> tuple[Float[Tensor, "batch *segment time width"], MemoryState]:
        """Read the memory for every token, then write what the segment retrieved.

        Args:
            hidden: [batch, time, width], one segment or a piece of one; or [batch, segment, time, width], segments one
                after another, which gives what calls one by one give (but in training mode buffers move once per call).
            state: the memory before the segment; None starts from a blank one.
            mask: True where a token exists. A masked one neither reads, writes nor counts, and its output is zero.
            salience: from 0 to 1, how much each token weighs in what is written, times what the memory itself gives it.
                One of 0 reads, but it changes no bit of the state and no other token's output.
            embedded: the model's embeddings of its input tokens, where the configuration says that they are written.
            commit: False leaves the segment open, so that more of it can follow.

        Returns:
            The read-out, to be added to the residual stream, and the memory afterwards.

        Raises:
            ValueError: a shape does not fit, or several segments meet an open one or ``commit=False``.
        """
        state = self.blank(len(hidden)) if state is None else state
        self._check(hidden, state, mask, salience, one_segment=not commit)
        self._check_embedded(hidden, embedded)
        rows, given = self._rows_at_once(hidden), (hidden, state, mask, salience, embedded)
        lessons: list[Lesson] = []
        if rows < len(hidden):
            y, state = in_blocks(self._called, rows, *given, commit=commit, lessons=lessons)
        else:
            y, state = self._called(*given, commit=commit, lessons=lessons)
        if lessons:
            # All rows move the buffers together, once, after every block has read them.
            with precision.explicit(hidden.device.type):
                self.adapt_to(Lesson.joined(lessons, axis=0))
        return y, self.commit(state) if commit else state

    def _called(
        self,
        hidden: Tensor,
        state: MemoryState,
        mask: Tensor | None,
        salience: Tensor | None,
        embedded: Tensor | None,
        *,
        commit: bool,
        lessons: list[Lesson],
    ) -> tuple[Tensor, MemoryState]:
        """Return what is read and the state, uncommitted where it is open; what is learned from joins the lessons."""
        packed, dtype, device = Packed.pack(hidden, mask, salience), self._computed_in(), hidden.device.type
        with precision.explicit(device):
            ys, learned = [], []
            for part, what in self.apart(packed, embedded):
                y, state, lesson = self._passed(part, state, what, dtype, commit=commit)
                ys.append(y)
                learned += [] if lesson is None else [lesson]
            if learned:
                lessons.append(Lesson.joined(learned, axis=1))
            return packed.restore(ys[0] if len(ys) == 1 else torch.cat(ys, dim=1)).to(hidden.dtype), state

    def _passed(
        self, packed: Packed, state: MemoryState, embedded: Tensor | None, dtype: torch.dtype, *, commit: bool
    ) -> tuple[Float[Tensor, "batch seg time out"], MemoryState, Lesson | None]:
        """Read for packed tokens; write what a whole segment retrieved, or else leave it open.

        And return what a training step learns from it, where it does.
        """
        opened, kept = state.segment or self._new_segment(len(state)), self.state_dtype
        views = self.views(packed.hidden, dtype)
        (seen, watched), (weights, signal, past, carried) = views, self._addressed(views[0], packed, opened, state)
        whole, rule, inertia = state.segment is None and commit, self.config.write, self._inertia
        trace, held, reads, sizes, consolidated, usage = state.trace, [], [], [], opened.consolidated, opened.usage
        sending = self._sending(weights, self._observed(seen, packed, embedded), watched, packed, whole=whole)
        scales, few = [], self._scales_looks(weights, trace)
        stepping, early = whole and rule != "additive", self.slow_retrieved is None
        write = writing.stepped if stepping else writing.written
        if stepping and early:
            # Where usage is known before what is retrieved, the steps of all segments at once.
            sending = sending.stepped(inertia)
        looks = repeat(None) if self.slow_retrieved is None else weights.unbind(1)
        for part, look in zip(sending.segments(), looks, strict=False):
            held.append((self.prototypes + trace if few else self.values(trace)).to(dtype))
            if few:
                scales.append(address.rms_scale(held[-1]))
                part = part._replace(forth=part.forth * scales[-1][..., None, :])  # noqa: PLW2901
                look = None if look is None else look * scales[-1][:, None, None]  # noqa: PLW2901
            if look is not None:
                reads.append(gram.read(look, held[-1]))
                prominence, size = gating.prominence(reads[-1].to(kept), self.usual_size)
                part = part.weighed(prominence[:, None].to(dtype))  # noqa: PLW2901
                sizes.append(size)
            before = trace if rule == "delta" else None
            if whole:
                part = part.stepped(inertia) if stepping and not early else part  # noqa: PLW2901
                update = gram.sent(part, held[-1], before).to(kept)
                trace = write(rule, trace, update, part.usage, inertia)
            else:
                consolidated, usage = gram.sent(part, held[-1], before, consolidated), usage + part.usage
        norms = None
        if reads:
            retrieved = torch.stack(reads, dim=1)
            norms = packed.counted(torch.stack(sizes, dim=1)[..., None]).sum((-2, -1))
        else:
            # One segment's, as in generation, are not copied.
            of_each = torch.stack(held, dim=1) if len(held) > 1 else (held or [trace])[0].to(dtype)[:, None]
            of_each = of_each[:, : len(held)]
            if scales:
                weights = weights * torch.stack(scales, dim=1)[:, :, None, None]
            retrieved = gram.read(weights, of_each)
        y, recalled = self.read_out(retrieved, watched), self.recalled(retrieved.to(kept), packed)

        if whole:
            lesson = None
            if self.training:
                lesson = Lesson(signal.sum(-2), packed.count, past, self._newest(seen, state, packed), norms)
            recollected = self.recollected(state, recalled, packed.count.sum(-1))
            state = MemoryState(trace=trace, context=carried, recollected=recollected, version=state.version)
            return y, state, lesson
        opened = opened.extended(
            seen[:, 0].to(kept),
            packed.count[:, 0],
            {"consolidated": consolidated, "usage": usage},
            signal_sum=signal[:, 0].sum(1),
            retrieved=None if norms is None else norms[:, 0],
            recalled=recalled,
        )
        parts = {"context": state.context, "recollected": state.recollected, "version": state.version}
        return y, MemoryState(trace=trace, segment=opened, **parts), None

    def commit(self, state: MemoryState) -> MemoryState:
        """Write the open segment into the trace. Without one, or with an empty one, nothing changes."""
        segment = state.segment
        if segment is None:
            return state
        sums, counts, dtype = segment.signal_sum[:, None], segment.num_tokens[:, None], self._computed_in()
        with precision.explicit(sums.device.type):
            past, carried = self.competition.faded(state.context, sums, counts)
            if self.training:
                norms = None if segment.retrieved is None else segment.retrieved[:, None]
                newest = self.competed_for(segment.tail[:, -1:, None], state)[:, :, 0]
                self.adapt_to(Lesson(sums, counts, past, newest, norms))
            update = writing.transformed(self.config.write, segment.consolidated.to(dtype), self.maps.to(dtype))
            update = update.to(state.trace.dtype)
            trace = writing.written(self.config.write, state.trace, update, segment.usage, self._inertia)
            recollected = self.recollected(state, segment.recalled, segment.num_tokens)
            return MemoryState(trace=trace, context=carried, recollected=recollected, version=state.version)

    def bank_share(
        self,
        hidden: Float[Tensor, "batch *segment time width"],
        state: MemoryState | None = None,
        mask: Bool[Tensor, "batch *segment time"] | None = None,
        salience: Shaped[Tensor, "batch *segment time"] | None = None,
        embedded: Float[Tensor, "batch *segment time width"] | None = None,
    ) -> Float[Tensor, "batch *segment time bank"]:
        """Return each bank's share of each token; nothing is kept of what it takes to know.

        In [0, 1], summing to one over banks; a masked token's are zero. ``state`` matters only in an open segment, or
        where something is carried or recollected; ``embedded`` only where several segments are recollected.
        """
        state = self.blank(len(hidden)) if state is None else state
        self._check(hidden, state, mask, salience, one_segment=False)
        packed, dtype = Packed.pack(hidden, mask, salience), self._computed_in()
        with precision.explicit(hidden.device.type):
            (part, what), *rest = self.apart(packed, embedded)
            shares = [self._shares(part, state, dtype)]
            for following in rest:
                self._check_embedded(hidden, embedded)
                state = self._passed(part, state, what, dtype, commit=True)[1]
                part, what = following
                shares.append(self._shares(part, state, dtype))
        return packed.restore(torch.cat(shares, dim=1) if rest else shares[0])

    def look(
        self,
        hidden: Float[Tensor, "batch *segment time width"],
        mask: Bool[Tensor, "batch *segment time"] | None = None,
    ) -> Look:
        """Return where each token looks, and what its gates let in and out.

        Without reading or writing, from the start of each segment. A masked token looks nowhere, weighs nothing and
        gives nothing. Nothing is recollected.
        """
        blank = self.blank(len(hidden))
        self._check(hidden, blank, mask, None, one_segment=False)
        packed, dtype = Packed.pack(hidden, mask), self._computed_in()
        with precision.explicit(hidden.device.type):
            seen, watched = self.views(packed.hidden, dtype)
            weights = self._addressed(seen, packed, self._new_segment(len(hidden)), blank)[0]
            parts = [weights.flatten(-3)]
            for gate in (self.salience_gate, self.output_gate):
                openness = gated(gate, watched)
                parts.append((torch.ones_like(seen[..., 0]) if openness is None else openness)[..., None])
        flat = packed.restore(torch.cat(parts, dim=-1))
        return Look(flat[..., :-2].unflatten(-1, weights.shape[-3:]), flat[..., -2], flat[..., -1])

    @property
    def state_floats(self) -> int:
        """Number of floats that a row's committed state holds."""
        carried = self.config.slot_width + 1 if self.config.carry > 0.0 else 0
        recollected = self.config.slot_width if self.config.recollection > 0.0 else 0
        return self.prototypes.numel() + carried + recollected

    @property
    def max_slot_norm(self) -> float:
        """The norm that no slot of the bounded rule exceeds: sqrt(width) ||W||_2, (1 + ||U||_2) times with U."""
        largest = _spectral_norm(self.maps)
        if self.observation is not None:
            # Embeddings are as wide as the hidden states, and so is their norm.
            longer = math.sqrt(len(self.observation) / self.config.slot_width)
            largest *= 1.0 + longer * _spectral_norm(self.observation)
        return math.sqrt(self.config.slot_width) * largest

    def _check(
        self, hidden: Tensor, state: MemoryState, mask: Tensor | None, salience: Tensor | None, *, one_segment: bool
    ) -> None:
        check_input(hidden, mask, len(state), self.config.width, salience)
        if hidden.ndim == 4 and (one_segment or state.segment is not None):
            raise ValueError(
                "several segments at once meet an open segment; feed its pieces as [batch, time, width], and call "
                "memory.commit(state) before the next segments"
            )

    def _check_embedded(self, hidden: Tensor, embedded: Tensor | None) -> None:
        if self.config.embedded and (embedded is None or embedded.shape != hidden.shape):
            given = "none" if embedded is None else f"embeddings of shape {tuple(embedded.shape)}"
            raise ValueError(
                f"a memory that writes its tokens' embeddings was given {given}; pass embedded= of the hidden states' "
                f"shape, {tuple(hidden.shape)}"
            )

    def _rows_at_once(self, hidden: Tensor) -> int:
        if len(hidden) == 1 or torch.compiler.is_compiling() or hidden.device.type != "cpu":
            return len(hidden)
        (banks, slots, width), segments = self.prototypes.shape, hidden.shape[1:-2].numel()
        by_head = segments * hidden.shape[-2] * self.config.num_heads * max(width, banks * slots)
        largest = max(by_head, segments * banks * slots * width)
        return rows_at_once(len(hidden), largest * self.prototypes.element_size())

    @property
    def _inertia(self) -> Float[Tensor, ""]:
        return precision.widened(self.log_inertia).exp()


def _spectral_norm(maps: Tensor) -> float:
    return torch.linalg.matrix_norm(maps.detach().float(), ord=2).max().item()
