"""What of a memory moves in training without gradient: its buffers, once per step."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from callosal.memory.competition import Competition, Past
from callosal.memory.processes import gathered
from callosal.memory.ways import Ways
from callosal.ops import context, precision

# What of the competition is always a buffer and moves with commits in training mode.
SLOW = ("slow_mean", "slow_norm", "slow_weight", "slow_scatter", "excitability", "won_context", "won_share")


class Lesson(NamedTuple):
    """What a training step learns from, segment by segment.

    Attributes:
        signal_sum: sum of what homeostasis averages.
        num_tokens: how many tokens count.
        past: the context that each segment started from; None where none is carried.
        newest: the last token that banks competed for, one a segment, or none where nothing needs it.
        retrieved: sum of the norms of what tokens retrieved; None unless that is their salience.
    """

    signal_sum: Float[Tensor, "batch seg signal"]
    num_tokens: Float[Tensor, "batch seg"]
    past: Past | None
    newest: Float[Tensor, "batch kept width"]
    retrieved: Float[Tensor, "batch seg"] | None

    @classmethod
    def joined(cls, lessons: "Sequence[Lesson]", axis: int) -> "Lesson":
        """Put the rows of several lessons (axis 0) or their segments (1) behind each other."""
        first = lessons[0]
        if len(lessons) == 1:
            return first
        pasts = [lesson.past for lesson in lessons if lesson.past is not None]
        sizes = [lesson.retrieved for lesson in lessons if lesson.retrieved is not None]
        return cls(
            signal_sum=torch.cat([lesson.signal_sum for lesson in lessons], axis),
            num_tokens=torch.cat([lesson.num_tokens for lesson in lessons], axis),
            past=(torch.cat([p[0] for p in pasts], axis), torch.cat([p[1] for p in pasts], axis)) if pasts else None,
            newest=torch.cat([lesson.newest for lesson in lessons], axis),
            retrieved=torch.cat(sizes, axis) if sizes else None,
        )


class Adapting(Ways):
    """The slow statistics and the axes of a memory, and how training moves them. Abstract, as the ways are.

    Attributes:
        coupling: the cross-talk matrix W_s.
        axes: one context axis per bank, a parameter where the loss alone moves it.
        process_group: whose rows move the buffers in training mode, with those of this process; None, the default, for
            these alone.
    """

    coupling: nn.Parameter
    axes: Tensor
    slow_mean: Tensor
    slow_norm: Tensor
    slow_weight: Tensor
    slow_scatter: Tensor | None
    excitability: Tensor | None
    won_context: Tensor | None
    won_share: Tensor | None
    slow_retrieved: Tensor | None
    process_group: "distributed.ProcessGroup | None" = None

    @property
    def competition(self) -> Competition:
        """How the banks compete for tokens now: a view of the parameters and buffers it takes."""
        slow = {name: getattr(self, name) for name in SLOW}
        # Whoever lets all parameters of a model learn means those that may.
        coupling = self.coupling if self.config.learn_crosstalk else self.coupling.detach()
        parts = {"coupling": precision.widened(coupling), "axes": precision.widened(self.axes)}
        return Competition(config=self.config, **parts, **slow)

    @torch.no_grad()
    def adapt_to(self, lesson: Lesson) -> None:
        """Move the buffers by one training step, in place, by the rows of the whole process group."""
        adapted, num_tokens = self.adapted(self.competition, lesson)
        for name in dict(self.named_buffers()):
            if hasattr(adapted, name):
                self.move(name, getattr(adapted, name))
        if lesson.retrieved is None or self.slow_retrieved is None:
            return
        retrieved = gathered(lesson.retrieved, self.process_group)
        present = (num_tokens > 0) & retrieved.isfinite()
        sizes = torch.where(present, retrieved / torch.where(present, num_tokens, 1.0), 0.0)
        usual = (sizes.sum() / present.sum().clamp_min(1)).to(retrieved.dtype)
        moved = context.running_mean(self.slow_retrieved, usual, self.config.momentum)
        self.move("slow_retrieved", torch.where(present.any(), moved, self.slow_retrieved))

    def adapted(self, competition: Competition, lesson: Lesson) -> tuple[Competition, Float[Tensor, "pool seg"]]:
        """Return a competition after a step by the rows of the whole process group, and which of their tokens count."""
        group = self.process_group
        # The rows and not the sums over them: they are few numbers.
        told = lesson.signal_sum, lesson.num_tokens, lesson.newest
        signal_sum, num_tokens, newest = (gathered(rows, group) for rows in told)
        past = lesson.past and (gathered(lesson.past[0], group), gathered(lesson.past[1], group))
        # What is no number would stay in the buffers for good: such a row counts as absent.
        whole = (signal_sum if past is None else signal_sum + past[0]).isfinite().all(-1)
        num_tokens = num_tokens.where(whole, 0.0)
        return competition.adapted(signal_sum, num_tokens, past, newest), num_tokens

    @property
    def usual_size(self) -> Float[Tensor, ""]:
        """Running mean of the norm of what a token retrieves; 0 before any was seen."""
        assert self.slow_retrieved is not None
        return context.unbiased(self.slow_retrieved, self.slow_weight)
