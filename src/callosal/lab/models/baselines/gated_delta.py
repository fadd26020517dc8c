"""A matrix that forgets by a gate and corrects what a key finds, token by token or chunk by chunk: Gated DeltaNet.

Without the gate it is DeltaNet.
"""

import math
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

from callosal.checks import require_counts
from callosal.lab.models.baselines.base import Hidden, Mask, SegmentMemory
from callosal.memory import RowState
from callosal.memory.config import ADDED
from callosal.ops.address import next_tail, unit_norm

State = Float[Tensor, "batch head key value"]


@dataclass(frozen=True, kw_only=True)
class GatedDeltaConfig:
    """Sizes of a :class:`GatedDelta`.

    Attributes:
        width: width of the hidden states.
        num_heads: matrices side by side.
        key_width: width of a head's queries and keys.
        value_width: width of a head's values.
        num_lags: tokens that the causal filters of queries, keys and values span; the paper's models have 4.
        chunk_size: tokens that are worked out at once; it changes the speed and no number beyond rounding.
        decays: whether there is a gate that forgets; False is DeltaNet, which replaces and never forgets.
    """

    width: int
    num_heads: int = 1
    key_width: int = 32
    value_width: int = 64
    num_lags: int = 4
    chunk_size: int = 64
    decays: bool = field(default=True, metadata=ADDED)

    def __post_init__(self) -> None:
        require_counts(self, "width", "num_heads", "key_width", "value_width", "num_lags", "chunk_size")


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedDeltaState(RowState):
    """What the matrices hold, and the latest inputs of the filters.

    Attributes:
        matrix: from keys to values.
        tail: queries, keys and values of the last tokens as they enter the filters, oldest first.
    """

    matrix: State
    tail: Float[Tensor, "batch tail part"]


class GatedDelta(SegmentMemory[GatedDeltaState]):
    r"""Forget by a gate, then replace what the key finds by the value.

    $$S_t = \alpha_t (I - \beta_t k_t k_t^\top) S_{t-1} + \beta_t k_t v_t^\top, \qquad
    y_t = W_o\big(\mathrm{norm}(S_t^\top q_t) \odot \mathrm{silu}(W_g x_t)\big)$$
    with $\alpha_t = \exp(-e^a \,\mathrm{softplus}(w_\alpha x_t + b))$ and $\beta_t = \sigma(w_\beta x_t)$.
    Source: arXiv 2412.06464, whose layer also has the causal filters with a SiLU behind them. With $\alpha_t = 1$ it is
    the delta rule of arXiv 2406.06484. Ours: where the filters
    start (queries and values at the token, keys at the one before) and that a key starts as its query, which the other
    baselines get too; that filters go on from segment to segment.

    >>> memory = GatedDelta(GatedDeltaConfig(width=8, key_width=4, value_width=6))
    >>> y, state = memory(torch.randn(3, 2, 5, 8), memory.blank(3))
    >>> y.shape, state.matrix.shape
    (torch.Size([3, 2, 5, 8]), torch.Size([3, 1, 4, 6]))
    """

    def __init__(self, config: GatedDeltaConfig) -> None:
        super().__init__(config.width)
        self.config = config
        heads, keys, values = config.num_heads, config.num_heads * config.key_width, self._inner
        self.norm = nn.RMSNorm(config.width)
        self.to_parts = nn.Linear(config.width, 2 * keys + values, bias=False)
        filters = torch.zeros(config.num_lags, 2 * keys + values)
        filters[0, :keys] = filters[0, 2 * keys :] = 1.0
        filters[min(1, config.num_lags - 1), keys : 2 * keys] = 1.0
        self.filters = nn.Parameter(filters)
        with torch.no_grad():
            self.to_parts.weight[keys : 2 * keys] = self.to_parts.weight[:keys]
        self.to_gates = nn.Linear(config.width, (2 if config.decays else 1) * heads, bias=False)
        if config.decays:
            # A token's decay starts between 0.9 and 0.999 of what there is, another one for each head.
            self.log_rate = nn.Parameter(torch.zeros(heads))
            self.rate_bias = nn.Parameter(torch.logspace(-3.0, -1.0, heads).expm1().log())
        self.to_openness = nn.Linear(config.width, values, bias=False)
        self.head_norm = nn.RMSNorm(config.value_width, eps=1e-6)
        self.output = nn.Linear(values, config.width, bias=False)

    def blank(self, batch_size: int) -> GatedDeltaState:
        """Return matrices of zeros, and filters that have seen nothing."""
        config, new = self.config, self.filters.new_zeros
        matrix = new(batch_size, config.num_heads, config.key_width, config.value_width)
        return GatedDeltaState(matrix=matrix, tail=new(batch_size, config.num_lags - 1, self.filters.shape[1]))

    def _segment(self, hidden: Hidden, state: GatedDeltaState, mask: Mask) -> tuple[Hidden, GatedDeltaState]:
        config, seen = self.config, self.norm(hidden)
        parts = torch.cat([state.tail, self.to_parts(seen).to(state.tail.dtype)], dim=1)
        num_tokens = hidden.shape[1]
        rows = enumerate(self.filters.flip(0))
        mixed = silu(torch.stack([parts[:, lag : lag + num_tokens] * row for lag, row in rows]).sum(0))
        keys = config.num_heads * config.key_width
        split = "batch time (head part) -> batch head time part"
        query, key, value = (
            rearrange(part, split, head=config.num_heads) for part in mixed.split([keys, keys, self._inner], dim=-1)
        )
        gates = rearrange(self.to_gates(seen), "batch time (gate head) -> gate batch head time", head=config.num_heads)
        strength, log_decay = gates[-1].sigmoid(), torch.zeros_like(gates[-1])
        if config.decays:
            log_decay = -self.log_rate.exp()[:, None] * softplus(gates[0] + self.rate_bias[:, None])
        if mask is not None:
            # A token that neither decays nor writes is none.
            log_decay, strength = log_decay * mask[:, None], strength * mask[:, None]
        read, matrix = gated_delta_rule(
            unit_norm(query) / math.sqrt(config.key_width),
            unit_norm(key),
            value,
            log_decay.to(value.dtype),
            strength.to(value.dtype),
            state.matrix,
            config.chunk_size,
        )
        read = rearrange(self.head_norm(read), "batch head time value -> batch time (head value)")
        count = torch.full_like(hidden[:, 0, 0], num_tokens).long() if mask is None else mask.sum(1)
        tail = next_tail(parts, count, config.num_lags - 1)
        return self.output(read * silu(self.to_openness(seen))), GatedDeltaState(matrix=matrix, tail=tail)

    @property
    def _inner(self) -> int:
        return self.config.num_heads * self.config.value_width


def gated_delta_rule(
    queries: Float[Tensor, "batch head time key"],
    keys: Float[Tensor, "batch head time key"],
    values: Float[Tensor, "batch head time value"],
    log_decay: Float[Tensor, "batch head time"],
    strength: Float[Tensor, "batch head time"],
    state: State,
    chunk_size: int = 64,
) -> tuple[Float[Tensor, "batch head time value"], State]:
    r"""Do all steps of the gated delta rule, a chunk of tokens at a time.

    With $u_t = \beta_t (v_t - \alpha_t S_{t-1}^\top k_t)$ the rule is $S_t = \alpha_t S_{t-1} + k_t u_t^\top$. In a
    chunk that $S_0$ precedes, $\gamma_t$ being the product of its decays up to t, $(I + L) U = \beta (V - \gamma K
    S_0)$ with $L_{ij} = \beta_i \frac{\gamma_i}{\gamma_j} k_i^\top k_j$ below the diagonal: one triangular solution for
    all chunks at once, and a loop over chunks for S. Source: arXiv 2412.06464, section 3.3.

    Args:
        queries: what is looked up; scale them before.
        keys: where values are put, of length one for a stable rule.
        values: what is put there.
        log_decay: logarithm of how much is kept of all there is, at most 0.
        strength: how much of what the key finds is replaced, in [0, 1].
        state: the matrix before the first token.
        chunk_size: tokens a chunk, at least 1.

    Returns:
        What each token reads after its own write, and the matrix after the last token.
    """
    num_tokens = keys.shape[-2]
    if num_tokens == 1:
        return _step(queries, keys, values, log_decay, strength, state)
    size = min(chunk_size, num_tokens)
    # A token of no strength that keeps everything changes nothing.
    missing = -num_tokens % size
    queries, keys, values = (pad(part, (0, 0, 0, missing)) for part in (queries, keys, values))
    chunked = "batch head (chunk time) ... -> chunk batch head time ..."
    query, key, value, decay, beta = (
        rearrange(part, chunked, time=size)
        for part in (queries, keys, values, pad(log_decay, (0, missing)), pad(strength, (0, missing)))
    )
    decay = decay.cumsum(-1)
    # Differences of logarithms, not ratios: a product of many decays may be too small a number to divide by.
    past = (decay[..., :, None] - decay[..., None, :]).tril().exp().tril()
    lower = beta[..., None] * (past * (key @ key.mT)).tril(-1)
    known = torch.cat([beta[..., None] * value, (beta * decay.exp())[..., None] * key], dim=-1)
    system = torch.eye(size, dtype=lower.dtype, device=lower.device) + lower
    written, erased = torch.linalg.solve_triangular(system, known, upper=False, unitriangular=True).split(
        [value.shape[-1], key.shape[-1]], dim=-1
    )
    inside = past * (query @ key.mT)
    query = query * decay.exp()[..., None]
    key = key * (decay[..., -1:] - decay).exp()[..., None]
    kept = decay[..., -1, None, None].exp()
    reads = []
    for n in range(len(kept)):
        update = written[n] - erased[n] @ state
        reads.append(query[n] @ state + inside[n] @ update)
        state = kept[n] * state + key[n].mT @ update
    read = rearrange(torch.stack(reads), "chunk batch head time value -> batch head (chunk time) value")
    return read[..., :num_tokens, :], state


def _step(
    query: Float[Tensor, "batch head 1 key"],
    key: Float[Tensor, "batch head 1 key"],
    value: Float[Tensor, "batch head 1 value"],
    log_decay: Float[Tensor, "batch head 1"],
    strength: Float[Tensor, "batch head 1"],
    state: State,
) -> tuple[Float[Tensor, "batch head 1 value"], State]:
    state = log_decay.exp()[..., None] * state
    state = state + key.mT @ (strength[..., None] * (value - key @ state))
    return query @ state, state
