"""Which bank gets a token: context, drive, cross-talk, and the plasticity that learns without labels."""

import math
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from callosal.memory.config import MemoryConfig
from callosal.memory.state import CarriedContext, SeenSegment
from callosal.ops import address, context, crosstalk

# The sum and the number of the tokens whose context a segment starts from.
Past = tuple[Float[Tensor, "batch seg width"], Float[Tensor, "batch seg"]]


# No generated equality: tensors have none that is a bool.
@dataclass(frozen=True, kw_only=True, eq=False)
class Competition:
    """How banks compete for tokens: the half of a lateral memory that decides which bank gets a token.

    A value, made of tensors that the memory holds as parameters and buffers under the same names. Nothing here changes
    them: :meth:`adapted` returns another competition. Slow means start at zero and are divided by ``slow_weight``.

    Attributes:
        config: of the memory.
        coupling: the cross-talk matrix W_s.
        axes: one context axis per bank.
        slow_mean: running mean of what homeostasis takes away from the drive's input.
        slow_norm: running mean of the norm of a segment's context.
        slow_weight: running mean of one.
        slow_scatter: running mean of how tokens differ within segments; None without a contrast.
        excitability: what balance adds to each bank's drive; None without it.
        won_context: running mean of each bank's share times the context; None unless banks receive.
        won_share: running mean of each bank's share; None unless banks receive.
    """

    config: MemoryConfig
    coupling: Float[Tensor, "bank bank"]
    axes: Float[Tensor, "bank width"]
    slow_mean: Float[Tensor, "signal"]
    slow_norm: Float[Tensor, ""]
    slow_weight: Float[Tensor, ""]
    slow_scatter: Float[Tensor, "width width"] | None
    excitability: Float[Tensor, "bank"] | None
    won_context: Float[Tensor, "bank width"] | None
    won_share: Float[Tensor, "bank"] | None

    @classmethod
    def initial(cls, config: MemoryConfig) -> Self:
        """Return the competition of a new memory: random axes, and nothing seen yet."""
        banks, width, receive = config.num_banks, config.slot_width, config.crosstalk == "received"
        return cls(
            config=config,
            coupling=crosstalk.coupling_matrix(banks, config.sign),
            axes=address.unit_norm(torch.randn(banks, width)),
            slow_mean=torch.zeros(banks if config.drive == "slots" else width),
            slow_norm=torch.zeros(()),
            slow_weight=torch.zeros(()),
            slow_scatter=torch.zeros(width, width) if config.contrast > 0.0 else None,
            excitability=torch.zeros(banks) if config.balance > 0.0 else None,
            won_context=torch.zeros(banks, width) if receive else None,
            won_share=torch.zeros(banks) if receive else None,
        )

    @property
    def centre(self) -> Float[Tensor, "signal"]:
        """What homeostasis takes away from the drive's input: the slow mean, or zero without it."""
        if not self.config.homeostasis:
            return torch.zeros_like(self.slow_mean)
        return context.unbiased(self.slow_mean, self.slow_weight)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """The mean norm of a segment's context; before any was seen, the largest possible."""
        largest = math.sqrt(self.config.slot_width)
        seen = context.unbiased(self.slow_norm, self.slow_weight)
        # One segment alone is its own mean: its context is zero, and so is the mean norm after it.
        return torch.where(seen > 1e-6 * largest, seen, largest)

    @property
    def metric(self) -> Float[Tensor, "width width"] | None:
        """How much each direction of a context counts; None without a contrast, where all count alike."""
        if self.slow_scatter is None:
            return None
        return context.contrast_metric(self.slow_scatter, self.config.contrast)

    @property
    def won(self) -> Float[Tensor, "bank width"] | None:
        """The mean context that each bank wins, zero for one that has won nothing; None unless banks receive."""
        if self.won_context is None or self.won_share is None:
            return None
        return context.unbiased(self.won_context, self.won_share[:, None])

    def compete(
        self,
        seen: Float[Tensor, "batch seg time width"],
        logits: Float[Tensor, "batch seg time head bank slot"] | None,
        opened: SeenSegment,
        past: Past | None,
        place: Int[Tensor, "batch seg time"] | None = None,
    ) -> tuple[Float[Tensor, "batch seg time signal"], Float[Tensor, "batch seg time bank"]]:
        """Return what homeostasis averages, and the banks' shares of each token.

        Of the normalised hidden states ``seen``; ``opened`` is what came of their segment before, the slots' ``logits``
        are needed where the slots drive the banks, and ``place`` says how many tokens that count stand before each.
        """
        if self.config.drive == "slots":
            assert logits is not None
            signal = address.slot_drive(logits.to(self.slow_mean.dtype))
            drive = signal - self.centre
        else:
            signal, axes = seen, self._axes(self.scale)
            # The drive is linear in the context but for what the centre adds. So tokens are projected before the mean:
            # it is as wide as there are banks then.
            own = axes.T if self.won is None else (self.coupling.diagonal()[:, None] * axes).T
            sums, counts = opened.signal_sum[:, None], opened.num_tokens[:, None]
            if past is not None:
                sums, counts = sums + past[0], counts + past[1]
            if self.config.detach_context:
                seen, sums = seen.detach(), sums.detach()
            drive = seen @ own
            if self.config.context == "segment":
                drive = context.causal_mean(drive, sums @ own, counts, place)
            drive = drive + self._drive(-self.centre, axes)
        return signal, crosstalk.bank_shares(drive, self._between_drives, self.config.gain)

    def blank_context(self, num_rows: int) -> CarriedContext | None:
        """Return the context of rows that have seen nothing; None where none is carried."""
        if self.config.carry == 0.0:
            return None
        new = self.slow_mean.new_zeros
        return CarriedContext(signal_sum=new(num_rows, self.config.slot_width), num_tokens=new(num_rows))

    def faded(
        self, start: CarriedContext | None, sums: Float[Tensor, "batch seg signal"], counts: Float[Tensor, "batch seg"]
    ) -> tuple[Past | None, CarriedContext | None]:
        """Return the context that each segment starts from, and what is carried on after the last.

        From what was carried into the first, and each segment's sum of signals and count of tokens.
        """
        rate, start = self.config.carry, start or self.blank_context(len(sums))
        if rate == 0.0 or start is None:
            return None, None
        total, tokens = start.signal_sum, start.num_tokens
        before = []
        for own, count in zip(sums.unbind(1), counts.unbind(1), strict=True):
            before.append((total, tokens))
            # A segment without a token did not happen: nothing fades.
            total = torch.where((count > 0)[:, None], rate * (total + own), total)
            tokens = torch.where(count > 0, rate * (tokens + count), tokens)
        after = CarriedContext(signal_sum=total, num_tokens=tokens)
        if not before:
            return (sums, counts), after
        past = torch.stack([t for t, _ in before], 1), torch.stack([n for _, n in before], 1)
        return past, after

    def adapted(
        self,
        signal_sum: Float[Tensor, "batch seg signal"],
        num_tokens: Float[Tensor, "batch seg"],
        past: Past | None,
        newest: Float[Tensor, "batch kept width"],
    ) -> Self:
        """Return the competition after a training step, in which every segment with a token counts once.

        The slow means move, and with drive "axis" the axes and the excitability; there are no labels. ``past`` is the
        context that each segment started from, ``newest`` its last token (none where nothing needs it).
        """
        config = self.config
        # Weighed and not picked out: how many there are would be a shape that nothing can know before it runs.
        present = (num_tokens > 0).flatten()
        newest = newest.flatten(0, 1)
        if len(newest) == len(present):
            newest = _where(present, newest)
        if config.context == "token" and config.drive != "slots":
            means = newest
        else:
            if past is not None:
                signal_sum, num_tokens = signal_sum + past[0], num_tokens + past[1]
            tokens = torch.where(present, num_tokens.flatten(), 1.0)[:, None]
            means = _where(present, (signal_sum.flatten(0, 1) / tokens).to(signal_sum.dtype))
        some = present.sum().clamp_min(1)

        def moved(mean: Tensor, sample: Tensor) -> Tensor:
            return context.running_mean(mean, sample, config.momentum)

        new = replace(
            self,
            slow_weight=moved(self.slow_weight, torch.ones_like(self.slow_weight)),
            slow_mean=moved(self.slow_mean, means.sum(0) / some),
        )
        if self.slow_scatter is not None:
            apart = newest - means
            new = replace(new, slow_scatter=moved(self.slow_scatter, apart.T @ apart / some))
        contexts, metric = _where(present, means - new.centre), new.metric
        if metric is None:
            norms = contexts.norm(dim=-1)
        else:
            norms = ((contexts @ metric) * contexts).sum(-1).clamp_min(0.0).sqrt()
        new = replace(new, slow_norm=moved(self.slow_norm, norms.sum() / some))
        if new.won is not None:
            new = new.receiving(contexts, present.to(contexts.dtype))
        elif config.drive == "axis" and config.plasticity_rate > 0.0:
            new = new.drawn(contexts / new.scale, present)
        return self._moved_to(new, present.any())

    def drawn(self, contexts: Float[Tensor, "sample width"], present: Bool[Tensor, "sample"]) -> Self:
        """Return the competition with axes drawn to what each bank wins of those contexts that are present."""
        config = self.config
        shares = crosstalk.bank_shares(self._drive(contexts, self._axes(1.0)), self.coupling, config.gain)
        usual, excitability = self._balanced(_where(present, shares).sum(0) / present.sum().clamp_min(1))
        rate = config.plasticity_rate
        axes = crosstalk.signed_plasticity(self.axes, self.coupling, shares, contexts, rate, usual, present)
        return replace(self, axes=axes, excitability=excitability)

    def receiving(self, contexts: Float[Tensor, "sample width"], counted: Float[Tensor, "sample"]) -> Self:
        """Return the competition with axes and means moved by what each bank receives and wins of these contexts.

        ``counted`` is one for each context that counts, and zero for the others, which are finite; where none counts
        nothing moves.
        """
        config, won, scale = self.config, self.won, self.scale
        if won is None or self.won_context is None or self.won_share is None:
            return self
        shares = crosstalk.bank_shares(self._drive(contexts, self._axes(scale)), None, config.gain)
        count = counted.sum()
        parts = shares * (counted / count.clamp_min(1.0))[:, None]
        mean, axes = parts.sum(0), self.axes
        usual, excitability = self._balanced(mean)
        if config.plasticity_rate > 0.0:
            credit = parts / (1.0 / config.num_banks if usual is None else usual)
            axes = crosstalk.hebbian(axes, self.coupling, credit, contexts / scale, won / scale, config.plasticity_rate)
        new = replace(
            self,
            axes=axes,
            excitability=excitability,
            won_context=context.running_mean(self.won_context, parts.T @ contexts, config.momentum),
            won_share=context.running_mean(self.won_share, mean, config.momentum),
        )
        return self._moved_to(new, count > 0)

    def _balanced(
        self, won: Float[Tensor, "bank"]
    ) -> tuple[Float[Tensor, "bank"] | None, Float[Tensor, "bank"] | None]:
        """Return usual shares, and the excitability after a step of these mean shares; None without balance."""
        if self.excitability is None:
            return None, None
        even = 1.0 / self.config.num_banks
        # A bank that won nothing would be drawn without bound.
        return won.clamp_min(0.1 * even), self.excitability + self.config.balance * (even - won)

    def _moved_to(self, new: Self, counts: Bool[Tensor, ""]) -> Self:
        """Return the new competition where a segment counts, and this one where none does."""
        pairs = ((field.name, getattr(self, field.name), getattr(new, field.name)) for field in fields(self))
        return replace(new, **{name: torch.where(counts, after, old) for name, old, after in pairs if after is not old})

    @property
    def _between_drives(self) -> Float[Tensor, "bank bank"] | None:
        """The coupling where it acts on drives; None where it acts on what banks receive."""
        return self.coupling if self.won_context is None else None

    def _axes(self, scale: Float[Tensor, ""] | float) -> Float[Tensor, "bank width"]:
        """Return what centred contexts of mean norm ``scale`` are compared with."""
        axes, metric = self.axes / scale, self.metric
        return axes if metric is None else axes @ metric

    def _drive(
        self, contexts: Float[Tensor, "*batch width"], axes: Float[Tensor, "bank width"]
    ) -> Float[Tensor, "*batch bank"]:
        """Return what moves each bank, from centred contexts."""
        won = self.won
        drive = contexts @ axes.T if won is None else crosstalk.received_drive(contexts, axes, self.coupling, won)
        return drive if self.excitability is None else drive + self.excitability


def _where(present: Bool[Tensor, "sample"], rows: Float[Tensor, "sample part"]) -> Float[Tensor, "sample part"]:
    # Not multiplied by zero: what is absent may be no number.
    return torch.where(present[:, None], rows, 0.0)
