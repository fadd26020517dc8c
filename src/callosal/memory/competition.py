"""Which bank gets a token: context, drive, cross-talk, and the plasticity that learns without labels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from callosal.memory.config import MemoryConfig
from callosal.memory.state import CarriedContext, OpenSegment
from callosal.ops import address, context, crosstalk

# The sum and the number of the tokens whose context a segment starts from.
Past = tuple[Float[Tensor, "batch seg width"], Float[Tensor, "batch seg"]]


class Competition(nn.Module):
    """The half of a lateral memory that says whose a token is; the slots are the other half.

    Holds the cross-talk matrix, the banks' axes, and the slow statistics of what was seen, all of
    which are named in the module's ``state_dict()`` as its own.

    Attributes:
        process_group: whose rows move the buffers in training mode, with those of this process; None, the
            default, for these alone. All processes of it must commit alike: as often, as many rows.
    """

    config: MemoryConfig
    axes: Tensor
    slow_mean: Tensor
    slow_norm: Tensor
    slow_weight: Tensor
    slow_scatter: Tensor
    excitability: Tensor
    process_group: "distributed.ProcessGroup | None" = None

    def _start_competition(self, config: MemoryConfig) -> None:
        """Make parameters and buffers; the memory calls it when its slots are drawn."""
        banks, width = config.num_banks, config.width
        self.coupling = nn.Parameter(
            crosstalk.coupling_matrix(banks, config.sign), requires_grad=config.learn_crosstalk
        )
        axes = address.unit_norm(torch.randn(banks, width))
        if config.drive == "gradient":
            self.axes = nn.Parameter(axes)
        else:
            self.register_buffer("axes", axes)
        drive_width = banks if config.drive == "slots" else width
        self.register_buffer("slow_mean", torch.zeros(drive_width))
        self.register_buffer("slow_norm", torch.zeros(()))
        self.register_buffer("slow_weight", torch.zeros(()))
        if config.contrast > 0.0:
            self.register_buffer("slow_scatter", torch.zeros(width, width))
        if config.balance > 0.0:
            self.register_buffer("excitability", torch.zeros(banks))

    def _compete(
        self,
        seen: Float[Tensor, "batch seg time width"],
        logits: Float[Tensor, "batch seg time head bank slot"] | None,
        opened: OpenSegment,
        past: Past | None,
    ) -> tuple[Float[Tensor, "batch seg time signal"], Float[Tensor, "batch seg time bank"]]:
        """Return what homeostasis averages, and the shares that come of it."""
        if self.config.drive == "slots":
            assert logits is not None
            signal = address.slot_drive(logits)
            drive = signal - self._centre()
        else:
            signal = so_far = seen
            if self.config.context == "segment":
                sums, counts = opened.signal_sum[:, None], opened.num_tokens[:, None]
                if past is not None:
                    sums, counts = sums + past[0], counts + past[1]
                so_far = context.causal_mean(seen, sums, counts)
            drive = self._drive(so_far - self._centre(), self._scale())
        return signal, crosstalk.bank_shares(drive, self.coupling, self.config.gain)

    def _drive(
        self, contexts: Float[Tensor, "*batch width"], scale: Float[Tensor, ""] | float
    ) -> Float[Tensor, "*batch bank"]:
        """Return what moves each bank, from centred contexts of mean norm ``scale``."""
        # Copies, because a commit moves these in place before the gradient comes back here.
        axes = self.axes.clone() / scale
        if self.config.contrast > 0.0:
            axes = axes @ self._metric()
        drive = contexts @ axes.T
        return drive + self.excitability.clone() if self.config.balance > 0.0 else drive

    def _metric(self) -> Float[Tensor, "width width"]:
        return context.contrast_metric(self.slow_scatter, self.config.contrast)

    def _faded(
        self,
        carried: CarriedContext | None,
        sums: Float[Tensor, "batch seg signal"],
        counts: Float[Tensor, "batch seg"],
    ) -> tuple[Past | None, CarriedContext | None]:
        """Return the context that each segment starts from, and what is carried on after the last."""
        rate = self.config.carry
        if rate == 0.0:
            return None, None
        carried = carried or self._no_context(len(sums))
        total, tokens = carried.signal_sum, carried.num_tokens
        before = []
        for own, count in zip(sums.unbind(1), counts.unbind(1), strict=True):
            before.append((total, tokens))
            # A segment without a token did not happen: nothing fades.
            total = torch.where((count > 0)[:, None], rate * (total + own), total)
            tokens = torch.where(count > 0, rate * (tokens + count), tokens)
        after = CarriedContext(signal_sum=total, num_tokens=tokens)
        if not before:
            return (sums, counts), after
        return (
            torch.stack([t for t, _ in before], 1),
            torch.stack([n for _, n in before], 1),
        ), after

    def _no_context(self, num_rows: int) -> CarriedContext:
        new = self.slow_mean.new_zeros
        # Counts fit into no half precision.
        counts = torch.promote_types(self.slow_mean.dtype, torch.float32)
        return CarriedContext(
            signal_sum=new(num_rows, self.config.width), num_tokens=new(num_rows, dtype=counts)
        )

    def _centre(self) -> Float[Tensor, "signal"]:
        if not self.config.homeostasis:
            return torch.zeros_like(self.slow_mean)
        return self.slow_mean / self.slow_weight.clamp_min(1e-12)

    def _scale(self) -> Float[Tensor, ""]:
        """Return the mean norm of a segment's context; before any was seen, the largest possible."""
        largest = math.sqrt(self.config.width)
        seen = self.slow_norm / self.slow_weight.clamp_min(1e-12)
        # One segment alone is its own mean: its context is zero, and so is the mean norm after it.
        return torch.where(seen > 1e-6 * largest, seen, largest)

    def _pooled(self, rows: Float[Tensor, "batch *rest"]) -> Float[Tensor, "pool *rest"]:
        """Return the rows of all processes. They are few numbers, unlike the sums over them."""
        if self.process_group is None:
            return rows
        pool = [torch.empty_like(rows) for _ in range(self.process_group.size())]
        distributed.all_gather(pool, rows.contiguous(), self.process_group)
        return torch.cat(pool)

    @torch.no_grad()
    def _adapt(
        self,
        signal_sum: Float[Tensor, "batch seg signal"],
        num_tokens: Float[Tensor, "batch seg"],
        past: Past | None,
        newest: Tensor,
    ) -> None:
        """Move the slow mean and the axes: once per training step, without gradient or labels."""
        config = self.config
        signal_sum, num_tokens, newest = map(self._pooled, (signal_sum, num_tokens, newest))
        past = past and (self._pooled(past[0]), self._pooled(past[1]))
        lived = num_tokens > 0
        if not lived.any():
            return
        if config.context == "token" and config.drive != "slots":
            means = newest[lived]
        else:
            if past is not None:
                signal_sum, num_tokens = signal_sum + past[0], num_tokens + past[1]
            means = (signal_sum[lived] / num_tokens[lived][:, None]).to(signal_sum.dtype)
        one = torch.ones_like(self.slow_weight)
        self.slow_weight.copy_(context.running_mean(self.slow_weight, one, config.momentum))
        self.slow_mean.copy_(context.running_mean(self.slow_mean, means.mean(0), config.momentum))
        contexts = means - self._centre()
        if config.contrast > 0.0:
            apart = newest[lived] - means
            scatter = apart.T @ apart / len(apart)
            self.slow_scatter.copy_(
                context.running_mean(self.slow_scatter, scatter, config.momentum)
            )
            norm = ((contexts @ self._metric()) * contexts).sum(-1).clamp_min(0.0).sqrt().mean()
        else:
            norm = contexts.norm(dim=-1).mean()
        self.slow_norm.copy_(context.running_mean(self.slow_norm, norm, config.momentum))
        if config.drive == "axis" and config.plasticity_rate > 0.0:
            contexts = contexts / self._scale()
            shares = crosstalk.bank_shares(self._drive(contexts, 1.0), self.coupling, config.gain)
            usual = None
            if config.balance > 0.0:
                mean, even = shares.mean(0), 1.0 / config.num_banks
                # A bank that won nothing would be drawn without bound.
                usual = mean.clamp_min(0.1 * even)
                self.excitability.add_(config.balance * (even - mean))
            self.axes.copy_(
                crosstalk.signed_plasticity(
                    self.axes, self.coupling, shares, contexts, config.plasticity_rate, usual
                )
            )
