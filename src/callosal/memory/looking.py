"""Where the tokens of a memory look, and what they send to the slots."""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from callosal.memory import writing
from callosal.memory.adapting import Adapting
from callosal.memory.competition import Competition, Past
from callosal.memory.packing import Packed
from callosal.memory.recollection import Recollecting
from callosal.memory.state import CarriedContext, MemoryState, OpenSegment, SeenSegment
from callosal.memory.ways import Projection, gated
from callosal.ops import address, gram, precision

# Floats of a state from which on it pays to go over it less, at the price of some further small operations.
SCALED_FROM = 2**18


class Look(NamedTuple):
    """Where tokens look, and what their gates let in and out.

    Attributes:
        slots: each token's attention times its banks' shares, for every head.
        weighs: what it weighs in the write, in [0, 1]; one where salience is not learned.
        gives: how much of what it retrieves it gives out, in [0, 1]; one without an output gate.
    """

    slots: Float[Tensor, "batch *segment time head bank slot"]
    weighs: Float[Tensor, "batch *segment time"]
    gives: Float[Tensor, "batch *segment time"]


class Looking(Adapting, Recollecting):
    """How a memory's tokens find slots, in which precision, and what its slots are to them. Abstract, as the ways are.

    Attributes:
        addresses: where each bank's slots are found.
        prototypes: what they hold before anything is written.
        maps: W of each bank.
        start: what a segment's first tokens have before them.
        filters: of the queries, over the newest tokens, one for each head.
        query_map: of the queries.
        log_temperature: how sharply tokens look.
        observation: U, the map of what tokens are into the slots; None in the paper's form.
        salience_gate: how much each token weighs in the write; None where that is not learned.
        compute_dtype: what tokens and products over them are computed in; None is autocast's or the parameters'.
    """

    addresses: nn.Parameter
    prototypes: nn.Parameter
    maps: nn.Parameter
    start: nn.Parameter
    filters: nn.Parameter
    query_map: nn.Parameter
    log_temperature: nn.Parameter
    observation: nn.Parameter | None
    salience_gate: Projection | None
    compute_dtype: torch.dtype | None = None

    @property
    def state_dtype(self) -> torch.dtype:
        """What a state is kept in: float32, or the parameters' precision where that is wider."""
        return precision.whole(self.prototypes.dtype)

    def values(self, trace: Float[Tensor, "batch bank slot width"]) -> Float[Tensor, "batch bank slot width"]:
        """Return what the slots hold, V: prototypes plus trace, at root-mean-square one.

        The additive rule keeps their size, as the paper's abstract writes the update; so do values of which what is
        retrieved is normalised.
        """
        values = self.prototypes + trace
        return address.rms_norm(values) if self._scales_slots else values

    @property
    def _scales_slots(self) -> bool:
        return self.config.write != "additive" and self.config.normalised != "retrieved"

    def _new_segment(self, num_rows: int) -> OpenSegment:
        banks, slots, width = self.prototypes.shape
        new = partial(self.prototypes.new_zeros, dtype=self.state_dtype)
        return OpenSegment(
            tail=self.start.to(self.state_dtype).expand(num_rows, -1, -1),
            signal_sum=new(num_rows, len(self.slow_mean)),
            num_tokens=new(num_rows),
            consolidated=new(num_rows, banks, slots, width),
            usage=new(num_rows, banks, slots),
            retrieved=None if self.slow_retrieved is None else new(num_rows),
            recalled=self.blank_recollection(num_rows),
        )

    def _computed_in(self) -> torch.dtype:
        return precision.computed_in(self.prototypes.dtype, self.compute_dtype, self.prototypes.device.type)

    def _sending(
        self,
        weights: Float[Tensor, "batch seg time head bank slot"],
        observed: Float[Tensor, "batch seg time inner"] | None,
        watched: Float[Tensor, "batch seg time watched"],
        packed: Packed,
        *,
        whole: bool,
    ) -> gram.Sending:
        """Return what tokens send to the slots, but for what these hold, from where all heads look."""
        written_to = weights[..., 1:, :, :] if self.config.writers == "lagged" else weights
        touch = written_to.mean(-3)
        if packed.present is not None:
            touch = touch * packed.present[..., None, None]
        weighs, own = packed.salience, gated(self.salience_gate, watched)
        if own is not None:
            weighs = own if weighs is None else weighs * own
        return writing.sending(self.config, touch, observed, weighs, self.maps, whole=whole)

    def _observed(
        self, seen: Float[Tensor, "batch seg time inner"], packed: Packed, embedded: Tensor | None
    ) -> Float[Tensor, "batch seg time inner"] | None:
        """Return what is written of the tokens themselves, X U; None in the paper's form."""
        if self.observation is None:
            return None
        if self.config.embedded:
            assert embedded is not None
            seen = address.rms_norm(packed.along(embedded).to(seen.dtype))
        return seen @ self.observation.to(seen.dtype)

    def _addressed(
        self,
        seen: Float[Tensor, "batch seg time inner"],
        packed: Packed,
        opened: SeenSegment,
        state: MemoryState,
        competition: Competition | None = None,
    ) -> tuple[Tensor, Tensor, Past | None, CarriedContext | None]:
        """Return each token's attention over all banks' slots, and what homeostasis averages, zero where none counts.

        And the context that each segment starts from, and what is carried on. The competition is this memory's own,
        unless one is given.
        """
        competition, exact = competition or self.competition, self.competed_for(seen.to(self.state_dtype), state)
        logits = self._logits(seen, opened, packed.place)
        past, carried = competition.faded(state.context, packed.counted(exact).sum(-2), packed.count)
        signal, shares = competition.compete(exact, logits, opened, past, packed.place)
        weights = torch.softmax(logits, dim=-1) * shares[..., None, :, None].to(logits.dtype)
        return weights, packed.counted(signal), past, carried

    def _logits(
        self,
        seen: Float[Tensor, "batch seg time width"],
        opened: SeenSegment,
        place: Int[Tensor, "batch seg time"] | None,
    ) -> Float[Tensor, "batch seg time head bank slot"]:
        tail = opened.tail[:, None].expand(-1, seen.shape[1], -1, -1)
        tail, filters, query_map = (part.to(seen.dtype) for part in (tail, self.filters, self.query_map))
        queries = address.lagged_queries(seen, tail, filters, query_map, place)
        return address.slot_logits(queries, self.addresses, precision.widened(self.log_temperature).exp())

    def _scales_looks(self, weights: Tensor, trace: Tensor) -> bool:
        # Of few tokens, as in generation, it is less to scale where they look than what all slots of many users hold.
        # Compiled, it would be another graph for each number of users and tokens on one side of the bound.
        if self.config.write != "bounded" or not self._scales_slots or torch.compiler.is_compiling():
            return False
        is_few = weights.shape[1] == 1 and weights.shape[2:4].numel() < trace.shape[-1]
        return is_few and trace.numel() >= SCALED_FROM

    def _newest(
        self, seen: Float[Tensor, "batch seg time inner"], state: MemoryState, packed: Packed
    ) -> Float[Tensor, "batch seg inner"]:
        """Return the last token that counts of each segment, as the banks competed for it."""
        last = (packed.count.long() - 1).clamp_min(0)[..., None, None]
        competed = self.competed_for(seen.to(self.state_dtype), state)
        return competed.take_along_dim(last, dim=-2).squeeze(-2) if seen.shape[-2] else competed.sum(-2)

    def _shares(self, packed: Packed, state: MemoryState, dtype: torch.dtype) -> Float[Tensor, "batch seg time bank"]:
        opened, competition = state.segment or self._new_segment(len(state)), self.competition
        seen = self.led_in(packed.hidden, dtype)
        logits = self._logits(seen, opened, packed.place) if self.config.drive == "slots" else None
        competed = self.competed_for(seen.to(self.state_dtype), state)
        past, _ = competition.faded(state.context, packed.counted(competed).sum(-2), packed.count)
        return competition.compete(competed, logits, opened, past, packed.place)[1]
