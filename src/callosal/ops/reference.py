r"""The slow, obvious reference of every operation, one line per equation, for the tests to compare with.

Everything here is for one row, without batch axes, and entry by entry, to be read beside the equations; none of the
fast functions is used. A memory's parameters and buffers come as a mapping with the names of its ``state_dict()``.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def _tensor(entry: Callable[..., Any], *sizes: int) -> Tensor:
    """Build a tensor from its entries, ``entry(i, j, ...)``; an entry may itself be a vector."""
    if not sizes:
        return entry()
    return torch.stack([_tensor(partial(entry, i), *sizes[1:]) for i in range(sizes[0])])


def _spread(entries: Iterable[Tensor], present: Tensor, nothing: Tensor) -> Tensor:
    """Put each existing token's entry where the token stood, zeros elsewhere."""
    entry = iter(entries)
    return torch.stack([next(entry) if there else nothing for there in present])


def unit_norm(vector: Float[Tensor, "width"]) -> Float[Tensor, "width"]:
    r"""Scale a vector to length one: $v / \sqrt{\sum_i v_i^2 + 10^{-6}}$. Ours."""
    return vector / torch.sqrt((vector * vector).sum() + 1e-6)


def rms_norm(vector: Float[Tensor, "width"]) -> Float[Tensor, "width"]:
    r"""Scale a vector to mean square one: $v / \sqrt{\langle v_i^2 \rangle + 10^{-6}}$. Ours."""
    return vector / torch.sqrt((vector * vector).mean() + 1e-6)


def lagged_queries(
    hidden: Float[Tensor, "time width"],
    tail: Float[Tensor, "tail width"],
    filters: Float[Tensor, "head lag width"],
    query_map: Float[Tensor, "query width"],
) -> Float[Tensor, "time head query"]:
    r"""Look back: $q_{t,h} = \mathrm{unit}(W_q \sum_l f_{h,l} \odot x_{t-l})$. Ours."""
    num_heads, num_lags, _ = filters.shape
    past, now = [*tail, *hidden], len(tail)

    def query(t: int, h: int) -> Tensor:
        mixed = sum([filters[h, lag] * past[now + t - lag] for lag in range(num_lags)])
        return unit_norm(query_map @ mixed)

    return _tensor(query, len(hidden), num_heads)


def slot_logits(
    queries: Float[Tensor, "head width"], addresses: Float[Tensor, "bank slot width"], temperature: Float[Tensor, ""]
) -> Float[Tensor, "head bank slot"]:
    r"""Compare: $\ell_{h,k,j} = \tau \langle q_h, \mathrm{unit}(K_{k,j}) \rangle$. Ours."""
    return _tensor(
        lambda h, k, j: temperature * (queries[h] @ unit_norm(addresses[k, j])), len(queries), *addresses.shape[:2]
    )


def slot_drive(logits: Float[Tensor, "head bank slot"]) -> Float[Tensor, "bank"]:
    r"""Match a token with a bank: $u_k = \langle \log \sum_j e^{\ell_{h,k,j}} \rangle_h$. Ours."""
    num_heads, num_banks, _ = logits.shape
    return _tensor(lambda k: sum([logits[h, k].exp().sum().log() for h in range(num_heads)]) / num_heads, num_banks)


def causal_mean(
    hidden: Float[Tensor, "time width"], past_sum: Float[Tensor, "width"], past_tokens: Float[Tensor, ""]
) -> Float[Tensor, "time width"]:
    r"""Average the segment so far: $m_t = (\sum_{i \le t} x_i) / t$. Ours."""
    return _tensor(lambda t: (past_sum + hidden[: t + 1].sum(0)) / (past_tokens + t + 1), len(hidden))


def running_mean(mean: Tensor, sample: Tensor, momentum: float) -> Tensor:
    r"""Move a slow mean: $\bar m \leftarrow \mu \bar m + (1 - \mu) m$. Ours."""
    return momentum * mean + (1.0 - momentum) * sample


def coupling_matrix(num_banks: int, sign: float) -> Float[Tensor, "bank bank"]:
    r"""Build $W_s = I + s (11^\top - I)$. The sign: arXiv 2603.03355; the form: ours."""
    return _tensor(lambda k, b: torch.tensor(1.0 if k == b else sign), num_banks, num_banks)


def bank_shares(drive: Tensor, coupling: Tensor, gain: float) -> Tensor:
    r"""Let banks compete: $p_k = e^{g (W_s u)_k} / \sum_b e^{g (W_s u)_b}$. Ours."""
    size = _tensor(lambda k: gain * (coupling[k] @ drive), len(drive))
    size = (size - size.max().detach()).exp()
    return _tensor(lambda k: size[k] / size.sum(), len(drive))


def signed_plasticity(
    axes: Float[Tensor, "bank width"],
    coupling: Float[Tensor, "bank bank"],
    shares: Float[Tensor, "sample bank"],
    contexts: Float[Tensor, "sample width"],
    rate: float,
    usual: Float[Tensor, "bank"],
) -> Float[Tensor, "bank width"]:
    r"""Move axes: $c_k \leftarrow (1-r) c_k + r \langle (W_s p / \bar p)_k m \rangle$. Ours."""

    def axis(k: int) -> Tensor:
        won = [coupling[k] @ (share / usual) for share in shares]
        pulls = [credit * mean for credit, mean in zip(won, contexts, strict=True)]
        return (1.0 - rate) * axes[k] + rate * sum(pulls) / len(pulls)

    return _tensor(axis, len(axes))


def received(
    context: Float[Tensor, "width"], won: Float[Tensor, "bank width"], coupling: Float[Tensor, "bank bank"]
) -> Float[Tensor, "bank width"]:
    r"""Pass on contexts: $r_k = W_{kk} m + \sum_{j \ne k} W_{kj} \mu_j$. Ours, a second reading."""
    banks = range(len(won))
    return _tensor(
        lambda k: coupling[k, k] * context + sum([coupling[k, j] * won[j] for j in banks if j != k]), len(won)
    )


def hebbian(
    axes: Float[Tensor, "bank width"],
    coupling: Float[Tensor, "bank bank"],
    shares: Float[Tensor, "sample bank"],
    contexts: Float[Tensor, "sample width"],
    won: Float[Tensor, "bank width"],
    rate: float,
    usual: Float[Tensor, "bank"],
) -> Float[Tensor, "bank width"]:
    r"""Move axes: $c_k \leftarrow (1-r) c_k + r \langle (p_k / \bar p_k) r_k \rangle$. Hebb's rule; ours here."""

    def axis(k: int) -> Tensor:
        pulls = [p[k] / usual[k] * received(m, won, coupling)[k] for p, m in zip(shares, contexts, strict=True)]
        return (1.0 - rate) * axes[k] + rate * sum(pulls) / len(pulls)

    return _tensor(axis, len(axes))


def mean_won(won_context: Float[Tensor, "bank width"], won_share: Float[Tensor, "bank"]) -> Float[Tensor, "bank width"]:
    r"""Say what each bank wins: $\mu_k = \overline{p_k m} / \overline{p_k}$, 0 before it won anything. Ours."""
    return _tensor(lambda k: won_context[k] / won_share[k] if won_share[k] > 0 else 0 * won_context[k], len(won_share))


def read(
    weights: Float[Tensor, "time head bank slot"], values: Float[Tensor, "bank slot width"]
) -> Float[Tensor, "time head width"]:
    r"""Retrieve $(A V)_{t,h} = \sum_{k,j} A_{t,h,k,j} V_{k,j}$. arXiv 2603.03355; heads: ours."""
    num_tokens, num_heads, num_banks, num_slots = weights.shape
    places = list(product(range(num_banks), range(num_slots)))
    return _tensor(lambda t, h: sum([weights[t, h, k, j] * values[k, j] for k, j in places]), num_tokens, num_heads)


def gate(hidden: Float[Tensor, "width"], weight: Float[Tensor, "width"], bias: Float[Tensor, ""]) -> Tensor:
    r"""Weigh a token: $s = 1 / (1 + e^{-\langle w, x \rangle - b})$. Ours."""
    return 1.0 / (1.0 + (-(weight @ hidden) - bias).exp())


def prominence(retrieved: Float[Tensor, "head width"], usual: Float[Tensor, ""]) -> tuple[Tensor, Tensor]:
    r"""Weigh a token: $s = \min(1, \lVert A V \rVert / \bar r)$. After arXiv 2603.07217."""
    size = torch.sqrt((retrieved * retrieved).sum())
    return (size / usual if usual > 0 and size < usual else torch.ones_like(size)), size


def co_activation(
    weights: Float[Tensor, "time slot"], salience: Float[Tensor, "time"] | None = None
) -> Float[Tensor, "slot slot"]:
    r"""Say which slots went together: $G_{ij} = \sum_t s_t A_{ti} A_{tj}$. arXiv 2603.03355; s: ours."""
    num_slots, s = weights.shape[1], torch.ones_like(weights[:, 0]) if salience is None else salience
    return _tensor(lambda i, j: (s * weights[:, i] * weights[:, j]).sum(), num_slots, num_slots)


def count_multiplications(
    order: str, num_tokens: int, num_slots: int, width: int, *, observed: bool = False, transformed: bool = False
) -> int:
    r"""Count the products in $A^\top (A V + X) W$, one loop per sum; ``order`` says what comes first. Ours."""
    tokens, slots, places = range(num_tokens), range(num_slots), range(width)
    there, back = [*product(tokens, places, slots)], [*product(slots, places, tokens)]
    turned = [*product(tokens if order == "tokens" else slots, places, places)] if transformed else []
    if order == "gram":
        there, back = [*product(slots, slots, tokens), *product(slots, places, slots)], back if observed else []
    return len(there) + len(back) + len(turned)


def consolidate(
    weights: Float[Tensor, "time slot"],
    values: Float[Tensor, "slot width"],
    observed: Float[Tensor, "time width"] | None = None,
    salience: Float[Tensor, "time"] | None = None,
    level: Callable[[Tensor], Tensor] = lambda retrieved: retrieved,
) -> Float[Tensor, "slot width"]:
    r"""Write back: $C_i = \sum_t s_t A_{ti} (\sum_j A_{tj} V_j + o_t)$. arXiv 2603.03355; s, o and level: ours."""
    num_tokens, num_slots = weights.shape

    def payload(t: int) -> Tensor:
        retrieved = level((weights[t][:, None] * values).sum(0))
        seen = retrieved if observed is None else retrieved + observed[t]
        return seen if salience is None else salience[t] * seen

    return _tensor(lambda i: sum([weights[t, i] * payload(t) for t in range(num_tokens)]), num_slots)


def send(
    weights: Float[Tensor, "time slot"],
    payload: Float[Tensor, "time width"],
    salience: Float[Tensor, "time"] | None = None,
) -> Float[Tensor, "slot width"]:
    r"""Send payloads to slots: $C_i = \sum_t s_t A_{ti} P_t$. Ours."""
    s = torch.ones_like(weights[:, 0]) if salience is None else salience
    return _tensor(lambda i: sum([s[t] * weights[t, i] * payload[t] for t in range(len(weights))]), weights.shape[1])


def transform(
    consolidated: Float[Tensor, "bank slot width"], maps: Float[Tensor, "bank width out"]
) -> Float[Tensor, "bank slot out"]:
    r"""Apply $C_k W_k$. arXiv 2603.03355; one W per bank is ours."""
    return _tensor(lambda k, i: consolidated[k, i] @ maps[k], *consolidated.shape[:2])


def bounded_write(trace: Tensor, update: Tensor, usage: Tensor, inertia: Tensor) -> Tensor:
    r"""Step each slot: $M_i \leftarrow M_i + (U_i - n_i M_i)/(n_i + \kappa)$. Ours."""
    return _tensor(lambda i: trace[i] + (update[i] - usage[i] * trace[i]) / (usage[i] + inertia), len(trace))


def additive_write(trace: Tensor, update: Tensor) -> Tensor:
    r"""Add the update as it is: $M \leftarrow M + A^\top A V W$. arXiv 2603.03355."""
    return trace + update


def delta_write(
    trace: Tensor,
    weights: Tensor,
    values: Tensor,
    maps: Tensor,
    inertia: Tensor,
    observed: Tensor | None = None,
    salience: Tensor | None = None,
    level: Callable[[Tensor], Tensor] = lambda retrieved: retrieved,
) -> Tensor:
    r"""Step each slot by errors: $M_i + \sum_t s_t A_{ti} ((A_t V + o_t) W - A_t M)/(n_i + \kappa)$. Ours."""
    s = torch.ones_like(weights[:, 0]) if salience is None else salience

    def error(t: int) -> Tensor:
        seen = level((weights[t][:, None] * values).sum(0))
        wanted = (seen if observed is None else seen + observed[t]) @ maps
        return wanted - (weights[t][:, None] * trace).sum(0)

    tokens = range(len(weights))
    return _tensor(
        lambda i: (
            trace[i] + sum([s[t] * weights[t, i] * error(t) for t in tokens]) / ((s * weights[:, i]).sum() + inertia)
        ),
        len(trace),
    )


def carry(total: Tensor, count: Tensor, seen: Float[Tensor, "time width"], rate: float) -> tuple[Tensor, Tensor]:
    r"""Hand the context on: $(S, N) \leftarrow \lambda (S + \sum_t x_t,\; N + T)$. Ours."""
    return rate * (total + sum(seen)), rate * (count + len(seen))


def recollect(before: Tensor, retrieved: Float[Tensor, "time head width"], rate: float) -> Tensor:
    r"""Average slowly: $b \leftarrow (1-r) b + r\,\mathrm{rms}(\langle A V \rangle_{t,h})$. After arXiv 2603.07217."""
    heads = [head for token in retrieved for head in token]
    return (1.0 - rate) * before + rate * rms_norm(sum(heads, 0 * before) / len(heads)) if heads else before


def contrast_metric(scatter: Float[Tensor, "width width"], contrast: float) -> Float[Tensor, "width width"]:
    r"""Weigh directions: $\Lambda (I + \kappa\,\Sigma\,\text{width} / \mathrm{tr}\Sigma) = I$. Ours."""
    width = len(scatter)
    trace = sum([scatter[i, i] for i in range(width)])
    against = torch.eye(width, dtype=scatter.dtype)
    if trace > 0:
        against = against + contrast * width * scatter / trace
    return torch.linalg.solve(against, torch.eye(width, dtype=scatter.dtype))


def whitened(hidden: Float[Tensor, "width"], parameters: Mapping[str, Tensor]) -> Float[Tensor, "width"]:
    r"""Whiten: $(h - \mu) \Omega$, where these were measured. Ours."""
    p = parameters
    return (hidden - p["hidden_mean"]) @ p["hidden_whitening"] if "hidden_mean" in p else hidden


def led_in(hidden: Float[Tensor, "width"], parameters: Mapping[str, Tensor]) -> Float[Tensor, "inner"]:
    r"""Whiten, narrow and scale: $x = \mathrm{rms}(W_{in} (h - \mu) \Omega)$, each where there is one. Ours."""
    whole = whitened(hidden, parameters)
    return rms_norm(parameters["inner_map"] @ whole if "inner_map" in parameters else whole)


def segment(
    hidden: Float[Tensor, "batch time width"],
    trace: Float[Tensor, "batch bank slot inner"],
    mask: Bool[Tensor, "batch time"],
    parameters: Mapping[str, Tensor],
    *,
    carried: tuple[Tensor, Tensor] | None = None,
    salience: Float[Tensor, "batch time"] | None = None,
    embedded: Float[Tensor, "batch time width"] | None = None,
    recollected: Float[Tensor, "batch inner"] | None = None,
    **scalars: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return read-out, memory, shares and what is recollected after a segment, masked tokens deleted first.

    ``carried`` is the context of earlier segments, its sum [batch, inner] and count [batch]; ``embedded`` are the
    model's embeddings of the tokens, where these are what is written of them; ``recollected`` is as before it.
    """
    outputs, traces, shares, averages = [], [], [], []
    nothing = torch.zeros_like(trace[:, 0, 0]), torch.zeros_like(hidden[:, 0, 0])
    given = torch.ones_like(hidden[..., 0]) if salience is None else salience
    what = [None] * len(hidden) if embedded is None else embedded
    average = nothing[0] if recollected is None else recollected
    rows = zip(hidden, what, trace, mask, given, average, *(carried or nothing), strict=True)
    for x, e, before, present, s, b, total, count in rows:
        y, after, p = [], before, []
        if present.any():
            own = None if e is None else e[present]
            how = {"past": (total, count), "embedded": own, **scalars}
            y, after, p, b = segment_of_row(x[present], before, s[present], parameters, b, **how)  # noqa: PLW2901
        outputs.append(_spread(y, present, x.new_zeros(x.shape[-1])))
        shares.append(_spread(p, present, x.new_zeros(len(before))))
        traces.append(after)
        averages.append(b)
    return torch.stack(outputs), torch.stack(traces), torch.stack(shares), torch.stack(averages)


def segment_of_row(
    hidden: Float[Tensor, "time width"],
    trace: Float[Tensor, "bank slot inner"],
    salience: Float[Tensor, "time"],
    parameters: Mapping[str, Tensor],
    recollected: Float[Tensor, "inner"],
    *,
    past: tuple[Tensor, Tensor],
    gain: float,
    drive: str,
    write: str,
    homeostasis: bool,
    context: str,
    contrast: float = 0.0,
    balance: float = 0.0,
    writers: str = "all",
    crosstalk: str = "drives",
    detach_context: bool = False,
    normalised: str = "slots",
    gates: str = "narrowed",
    recollection: float = 0.0,
    embedded: Float[Tensor, "time width"] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Take steps 1 to 6 for one row. $A^\top A V W$ is arXiv 2603.03355's, all around it ours."""
    p, times, banks = parameters, range(len(hidden)), range(len(trace))
    # 1, 2: query and address. A token of salience 0 is seen by none that come after it
    x = _tensor(lambda t: led_in(hidden[t], p), len(hidden))
    watched = _tensor(lambda t: rms_norm(whitened(hidden[t], p)), len(hidden)) if gates == "hidden" else x
    streams = [x[[*(i for i in range(t) if salience[i] > 0), t]] for t in times]
    queries = [lagged_queries(stream, p["start"], p["filters"], p["query_map"])[-1] for stream in streams]
    logits = [slot_logits(queries[t], p["addresses"], p["log_temperature"].exp()) for t in times]
    # 3: context and drive
    living = bool(p["slow_weight"] > 0)
    centre = p["slow_mean"] / p["slow_weight"] if homeostasis and living else 0 * p["slow_mean"]
    norm, largest = p["slow_norm"] / p["slow_weight"], math.sqrt(x.shape[-1])
    scale = norm if living and norm > 1e-6 * largest else largest
    bent = p["recollection_map"] @ recollected if recollection > 0 else 0 * recollected
    seen = [causal_mean(s + bent, *past)[-1] if context == "segment" else s[-1] + bent for s in streams]
    metric = contrast_metric(p["slow_scatter"], contrast) if contrast > 0 else torch.eye(len(x[0]))
    bias = p["excitability"] if balance > 0 else torch.zeros(())

    def drive_of(t: int) -> Tensor:
        if drive == "slots":
            return slot_drive(logits[t]) - centre
        m = (seen[t].detach() if detach_context else seen[t]) - centre
        if crosstalk == "received":
            r = received(m, mean_won(p["won_context"], p["won_share"]), p["coupling"])
            return _tensor(lambda k: p["axes"][k] @ metric.to(x) @ r[k] / scale, len(trace)) + bias
        return p["axes"] @ metric.to(x) @ m / scale + bias

    u = [drive_of(t) for t in times]
    # 4: cross-talk
    between = torch.eye(len(trace)).to(x) if crosstalk == "received" else p["coupling"]
    shares = torch.stack([bank_shares(u[t], between, gain) for t in times])
    # 5: read
    a = _tensor(lambda t, h, k: shares[t, k] * logits[t][h, k].softmax(-1), len(x), len(p["filters"]), len(trace))
    behind = normalised == "retrieved"
    size = (lambda v: v) if write == "additive" or behind else rms_norm
    values = _tensor(lambda k, j: size(p["prototypes"][k, j] + trace[k, j]), *trace.shape[:2])
    retrieved = read(a, values)
    heads = (lambda r: torch.cat([rms_norm(head) for head in r])) if behind else (lambda r: rms_norm(r.flatten()))
    y = _tensor(lambda t: p["output.weight"] @ heads(retrieved[t]), len(x))
    if "output_gate.weight" in p:
        y = _tensor(lambda t: gate(watched[t], p["output_gate.weight"][0], p["output_gate.bias"][0]) * y[t], len(x))
    recollected = recollect(recollected, retrieved[salience > 0], recollection)
    # 6: write
    writing = a[:, 1:] if writers == "lagged" else a
    touch = writing.sum(1) / writing.shape[1]
    own = x if embedded is None else _tensor(lambda t: rms_norm(embedded[t]), len(x))
    observed = own @ p["observation"] if "observation" in p else None
    s = salience
    if "salience_gate.weight" in p:
        s = s * _tensor(lambda t: gate(watched[t], p["salience_gate.weight"][0], p["salience_gate.bias"][0]), len(x))
    if "slow_retrieved" in p:
        usual = p["slow_retrieved"] / p["slow_weight"] if living else torch.zeros(())
        s = s * _tensor(lambda t: prominence(retrieved[t], usual)[0], len(x))
    level = rms_norm if behind else (lambda v: v)
    c = torch.stack([consolidate(touch[:, k], values[k], observed, s, level) for k in banks])
    update, usage, inertia = transform(c, p["maps"]), (s[:, None, None] * touch).sum(0), p["log_inertia"].exp()
    if write == "additive":
        return y, additive_write(trace, update), shares, recollected
    if write == "delta":
        by_bank = [(trace[k], touch[:, k], values[k], p["maps"][k], inertia, observed, s, level) for k in banks]
        return y, torch.stack([delta_write(*bank) for bank in by_bank]), shares, recollected
    written = [bounded_write(trace[k], update[k], usage[k], inertia) for k in banks]
    return y, torch.stack(written), shares, recollected
