"""What is tried on every family: the laws that a memory has to keep whatever model it stands in.

A check returns ``right``, with a note where the model contradicts itself. What it raises is put into words by
:func:`tried`: ``refused: ...`` for an error of callosal's own, ``model: ...`` where the model fails without memories,
``wrong: ...`` for all else.
"""

import logging
import math
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from benchmarks.families.building import END, LAYERS, PAD, build, context
from benchmarks.families.host import Host, ImpossibleError
from torch import Tensor, nn

import callosal
from callosal import MemoryState

States = dict[str, MemoryState]

# Of the largest number compared, in single precision; a token that is lost or counted twice moves a state by 1e-2.
TOLERANCE = 1e-4


class WrongError(Exception):
    """A value is not right."""


def tried(kind: str, family: str) -> dict[str, Any]:
    """Build a family and try it: the names of the layers, and what each check found."""
    transformers.logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings():
        # What transformers says of its own models is not ours to mend.
        warnings.simplefilter("ignore")
        try:
            model: Any = build(kind, family)
        except Exception as error:  # noqa: BLE001
            return {"layers": [], "checks": {"build": f"model: {_words(error)}"}}
        # Once it has read something, RWKV adds the rows of a batch to each other.
        host = Host(model=model, context=context(family, model), rows=1 if family == "rwkv" else 2)
        return _tried(host, LAYERS.get(family, (0, -1)))


def pieces(host: Host) -> str:
    """A text in pieces, the cache handed on, is the text at once."""
    prompt, _ = host.texts()
    return _judged(host, lambda: host.pieces(prompt, 4), lambda: host.call(prompt))


def generated(host: Host) -> str:
    """What ``generate`` leaves is what its text leaves, read in one call."""
    prompt, replies = host.texts()
    won: list[Tensor] = []
    return _judged(host, lambda: won.append(host.generate(prompt, replies)), lambda: host.call(won[-1][:, :-1]))


def beams(host: Host) -> str:
    """After a beam search, the text that won is remembered."""
    prompt, _ = host.texts()
    won: list[Tensor] = []

    def read() -> None:
        # Without a cache, as a session does; FSMT reads otherwise with one.
        host.call(won[-1][:, :-1], use_cache=False)

    return _judged(host, lambda: won.append(host.generate(prompt, num_beams=3)), read)


def ended(host: Host) -> str:
    """Of a row that has ended, what it said until then is remembered."""
    prompt, replies = host.texts(two=True)
    replies[0, 1] = END
    text = torch.cat([prompt, replies[:, :1]], 1)[:1]
    real = torch.arange(prompt.shape[1] + replies.shape[1] - 1) < text.shape[1]

    def generate() -> None:
        said = host.generate(prompt, replies, eos_token_id=END)[:, prompt.shape[1] :]
        if not torch.equal(said[:, :2], replies[:, :2]):
            raise ImpossibleError("it cannot be made to end a row")

    return _judged(host, generate, lambda: host.call(text, slice(0, 1)), row=0, real=real)


def padded(host: Host) -> str:
    """Padding before a row is not there."""
    prompt, replies = host.texts(two=True)
    prompt[1, :2] = PAD
    mask = (prompt != PAD).long()
    alone, row = prompt[1:, 2:], slice(1, 2)
    if host.has_source:
        return _judged(host, lambda: host.call(prompt, mask=mask), lambda: host.call(alone, row), 1, mask[1].bool())
    return _judged(
        host,
        lambda: host.generate(prompt, replies, mask=mask),
        lambda: host.generate(alone, replies[1:], row),
        row=1,
        real=torch.cat([mask[1], torch.ones(replies.shape[1] - 1)]).bool(),
    )


def rows_apart(host: Host) -> str:
    """A row of a batch is that row alone."""
    prompt, _ = host.texts(two=True)
    return _judged(host, lambda: host.call(prompt), lambda: host.call(prompt[1:], slice(1, 2)), row=1)


CHECKS: dict[str, Callable[[Host], str]] = {
    "pieces": pieces,
    "generate": generated,
    "beams": beams,
    "ended row": ended,
    "left padding": padded,
    "rows apart": rows_apart,
}


def _tried(host: Host, layers: Sequence[int | str]) -> dict[str, Any]:
    """Attach, all checks, unload; return the names of the layers and what each check found."""
    model, (prompt, _) = host.model, host.texts()
    try:
        names = list(callosal.attach(model, layers))
    except ValueError as error:
        return {"layers": [], "checks": {"attach": f"refused: {error}"}}
    callosal.unload(model)
    try:
        before = host.call(prompt)
        if not torch.equal(host.call(prompt), before):
            return {"layers": [], "checks": {"call": "model: two calls differ"}}
    except Exception as error:  # noqa: BLE001
        return {"layers": [], "checks": {"call": f"model: {_words(error)}"}}
    # BigBird changes itself in its first call.
    marks, handles = _marks(model), host.record(names)
    host.memories = callosal.attach(model, names, warn_outside_session=False)

    def same_bits(host: Host) -> str:
        outside = host.call(prompt)
        with host.memories.session():
            inside = host.call(prompt)
        if not (torch.equal(outside, before) and torch.equal(inside, before)):
            raise WrongError(f"off by {_gap(outside, before):.1g} outside a session, {_gap(inside, before):.1g} inside")
        return "right"

    def unloaded(host: Host) -> str:
        callosal.unload(model)
        for handle in handles:
            handle.remove()
        after = host.call(prompt)
        if not torch.equal(after, before) or _marks(model) != marks:
            raise WrongError(f"off by {_gap(after, before):.1g}, or something is left behind")
        return "right"

    found = {"same bits": _found(same_bits, host)}
    _train(host.memories)
    found |= {name: _found(check, host) for name, check in CHECKS.items()}
    return {"layers": names, "checks": found | {"unload": _found(unloaded, host)}}


def _found(check: Callable[[Host], str], host: Host) -> str:
    try:
        return check(host)
    except ImpossibleError as error:
        return f"model: {error}"
    except WrongError as error:
        return f"wrong: {error}"
    except Exception as error:  # noqa: BLE001
        ours = "/callosal/" in traceback.extract_tb(error.__traceback__)[-1].filename
        refused = ours and isinstance(error, ValueError | RuntimeError)
        return f"refused: {error}" if refused else f"wrong: {_words(error)}"


def _judged(
    host: Host, run: Callable[[], Any], want: Callable[[], Any], row: int | None = None, real: Tensor | None = None
) -> str:
    """Compare what is remembered of two runs that should be one to a memory.

    Where they differ, and the model without memories contradicts itself in them too, what its layers gave is the judge:
    a memory that reads it at once must hold the same.

    Args:
        host: of both.
        run: under test.
        want: what its memories should be like.
        row: of the first run, that the second is of alone; None for all.
        real: which tokens of the first run exist, all its calls one after another.
    """
    rows = slice(None) if row is None else slice(row, row + 1)
    try:
        base, wanted = _seen_in(host, run, rows, real), _seen_in(host, want)
    except ImpossibleError:
        raise
    except Exception as error:
        raise ImpossibleError(_words(error)) from error
    with host.memories.session() as session:
        seen = _seen_in(host, run, rows, real)
        session.turn()
        have = {name: state[rows] for name, state in session.states.items()}
    with host.memories.session() as session:
        want()
        session.turn()
        off = _states_gap(have, session.states)
    if off <= TOLERANCE:
        return "right"
    contradiction = max((_gap(base[name], wanted[name]) for name in base), default=0.0)
    if contradiction <= TOLERANCE or set(seen) != set(have):
        raise WrongError(f"off by {off:.1g}")
    off = _states_gap(have, {name: _read(memory, seen[name]) for name, memory in host.memories.items()})
    if off <= TOLERANCE:
        return f"right; the model contradicts itself by {contradiction:.1g}"
    raise WrongError(f"off by {off:.1g} from what its layers gave; the model contradicts itself by {contradiction:.1g}")


def _seen_in(
    host: Host, run: Callable[[], Any], rows: slice = slice(None), real: Tensor | None = None
) -> dict[str, Tensor]:
    """Return what the layers gave in a run, of tokens that exist; nothing where the tokens are others."""
    host.seen.clear()
    run()
    seen = host.seen_of(rows)
    return seen if real is None else {n: t[:, real] for n, t in seen.items() if t.shape[1] == len(real)}


@torch.no_grad()
def _read(memory: callosal.LateralMemory, hidden: Tensor) -> MemoryState:
    return memory(hidden, memory.blank(len(hidden)))[1]


def _states_gap(left: States, right: States) -> float:
    for state in right.values():
        if not float(state.trace.detach().abs().max()) > 1e-3:
            raise WrongError("a memory is blank after a text")
    return max(_gap(left[name].trace, right[name].trace) for name in right)


def _gap(left: Tensor, right: Tensor) -> float:
    """Return the largest difference over the largest number, infinite where there is none."""
    if left.shape != right.shape:
        return math.inf
    found = float((left - right).detach().abs().max() / right.detach().abs().max().clamp_min(1e-6))
    return found if math.isfinite(found) else math.inf


def _marks(model: nn.Module) -> list[str]:
    """Return the names of all that stands on a model and its parts, and how many hooks."""
    return [
        f"{name}.{key}:{len(value) if 'hooks' in key else ''}"
        for name, module in model.named_modules()
        for key, value in sorted(vars(module).items())
    ]


def _train(memories: callosal.Memories) -> None:
    """Give the output maps weights, as training would."""
    generator = torch.Generator().manual_seed(1)
    for name in memories:
        nn.init.normal_(memories[name].output.weight, std=0.3, generator=generator)


def _words(error: Exception) -> str:
    """Return the kind of an error and the beginning of what it says."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
