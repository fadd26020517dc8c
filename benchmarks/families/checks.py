"""What is tried on every family: the laws that a memory has to keep whatever model it stands in."""

import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers
from benchmarks.families.building import BEGIN, END, LAYERS, PAD, TEXT, VOCABULARY, build, context
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.modeling_outputs import BaseModelOutput

import callosal
from callosal import MemoryState
from callosal.hosts.layers import keeps_time_first

States = dict[str, MemoryState]

# Of the largest number compared, in single precision; a token that is lost or counted twice moves a state by 1e-2.
TOLERANCE = 1e-4

# What a model may call the cache that it hands on.
CACHES = ("past_key_values", "cache_params", "state", "mems", "past_buckets_states")


class Wrong(Exception):
    """A value is not right."""


class Impossible(Exception):
    """The model fails without memories, so that nothing can be asked of them."""


class Forced(LogitsProcessor):
    """Make every family reply the same: row ``r`` says ``replies[r]``, one token a step."""

    def __init__(self, replies: Tensor) -> None:
        self.replies, self.step = replies, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """Leave the wanted tokens alone possible."""
        wanted = self.replies[:, self.step, None]
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, wanted, 0.0)


@dataclass(kw_only=True)
class Host:
    """A model with memories, and how a text is given to it.

    Attributes:
        model: tiny and random.
        context: what every call takes beside the text: a source, an image; a row each.
        rows: 2, or 1 for a model whose rows do not keep apart.
        memories: attached to it.
        seen: what each layer gave in the calls of the model since it was cleared, before its memory added to it.
    """

    model: Any
    context: dict[str, Tensor]
    rows: int = 2
    memories: callosal.Memories = field(init=False)
    seen: dict[str, list[Tensor]] = field(default_factory=dict)

    def seen_of(self, rows: slice) -> dict[str, Tensor]:
        """Return what layers gave of these rows, all calls one after another; nothing where the rows changed."""
        # Beams come and go, and the text that won is read row by row.
        if len({len(part) for parts in self.seen.values() for part in parts}) > 1:
            return {}
        return {name: torch.cat(parts, 1)[rows] for name, parts in self.seen.items()}

    @property
    def has_source(self) -> bool:
        """Whether the text is a decoder's, which stands behind an encoder."""
        return bool(getattr(self.model.config, "is_encoder_decoder", False))

    def texts(self, *, two: bool = False) -> tuple[Tensor, Tensor]:
        """Return what the rows read, and what each replies, of tokens that mean nothing special."""
        if two and self.rows < 2:
            raise Impossible("of its rows, each changes the others")
        generator = torch.Generator().manual_seed(2)
        prompt = torch.randint(3, TEXT, (2, 7), generator=generator)
        prompt[:, 0] = BEGIN
        return prompt[: self.rows], torch.randint(3, TEXT, (2, 5), generator=generator)[: self.rows]

    def inputs(self, text: Tensor, rows: slice, mask: Tensor | None) -> dict[str, Any]:
        """Return the arguments of a call."""
        prefix = "decoder_" if self.has_source else ""
        given: dict[str, Any] = {name: tensor[rows] for name, tensor in self.context.items()}
        given[f"{prefix}input_ids"] = text
        if mask is not None:
            given[f"{prefix}attention_mask"] = mask
        return given

    @torch.no_grad()
    def call(self, text: Tensor, rows: slice = slice(None), mask: Tensor | None = None, **settings: Any) -> Tensor:
        """Call the model on a text of these rows of the context; return the logits."""
        return self.model(**self.inputs(text, rows, mask), **settings).logits

    @torch.no_grad()
    def pieces(self, text: Tensor, first: int) -> None:
        """Call the model on the first tokens, then on one at a time, handing on its cache."""
        out = self.model(**self.inputs(text[:, :first], slice(None), None), use_cache=True)
        encoded = getattr(out, "encoder_last_hidden_state", None)
        for token in text[:, first:].split(1, 1):
            name = next((n for n in CACHES if getattr(out, n, None) is not None), None)
            if name is None:
                raise Impossible("it hands on no cache")
            given = self.inputs(token, slice(None), None) | {name: getattr(out, name), "use_cache": True}
            if encoded is not None:
                given["encoder_outputs"] = BaseModelOutput(last_hidden_state=encoded)
            out = self.model(**given)

    def generate(
        self,
        text: Tensor,
        replies: Tensor | None = None,
        rows: slice = slice(None),
        mask: Tensor | None = None,
        **settings: Any,
    ) -> Tensor:
        """Let the model reply, by a wish if there is one, and return prompt and reply."""
        given = self.inputs(text, rows, torch.ones_like(text) if mask is None else mask)
        given |= {"max_new_tokens": 5, "do_sample": False, "num_beams": 1, "eos_token_id": None, "pad_token_id": PAD}
        # What stands for an image or the like is no text.
        given["suppress_tokens"] = [END, *range(TEXT, VOCABULARY)]
        if self.has_source:
            given["decoder_start_token_id"] = BEGIN
        if replies is not None:
            given["logits_processor"] = LogitsProcessorList([Forced(replies)])
        out = self.model.generate(**(given | settings))
        return out if isinstance(out, Tensor) else out.sequences


def judge(
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

    def states_after(call: Callable[[], Any], of: slice) -> tuple[States, dict[str, Tensor]]:
        host.seen.clear()
        with host.memories.session() as session:
            call()
            session.turn()
            states = {name: state[of] for name, state in session.states.items()}
        return states, host.seen_of(of)

    try:
        host.seen.clear()
        run()
        base = host.seen_of(rows)
        host.seen.clear()
        want()
        wanted = host.seen_of(slice(None))
    except Impossible:
        raise
    except Exception as error:
        raise Impossible(said(error)) from error
    have, hidden = states_after(run, rows)
    found = state_gap(have, states_after(want, slice(None))[0])
    if found <= TOLERANCE:
        return "right"
    existing = {name: t if real is None else t[:, real] for name, t in hidden.items() if real is None or t.shape[1] == len(real)}
    contradiction = max(
        (gap(t if real is None or t.shape[1] != len(real) else t[:, real], wanted[name]) for name, t in base.items()),
        default=0.0,
    )
    if contradiction <= TOLERANCE or set(existing) != set(have):
        raise Wrong(f"off by {found:.1g}")
    own: States = {}
    for name, memory in host.memories.items():
        with torch.no_grad():
            _, own[name] = memory(existing[name], memory.blank(len(existing[name])))
    left = state_gap(have, own)
    if left <= TOLERANCE:
        return f"right; the model contradicts itself by {contradiction:.1g}"
    raise Wrong(f"off by {found:.1g}, and by {left:.1g} from what its layers gave (model: {contradiction:.1g})")


def gap(left: Tensor, right: Tensor) -> float:
    """Return the largest difference over the largest number, infinite where there is none."""
    if left.shape != right.shape:
        return float("inf")
    found = float((left - right).detach().abs().max() / right.detach().abs().max().clamp_min(1e-6))
    return min(float("inf"), found)


def state_gap(left: States, right: States) -> float:
    """Return the largest gap of the traces of two states."""
    for state in right.values():
        if not float(state.trace.detach().abs().max()) > 1e-3:
            raise Wrong("a memory is blank after a text")
    return max(gap(left[name].trace, right[name].trace) for name in right)


def pieces(host: Host) -> str:
    """A text in pieces, the cache handed on, is the text at once."""
    prompt, _ = host.texts()
    return judge(host, lambda: host.pieces(prompt, 4), lambda: host.call(prompt))


def generated(host: Host) -> str:
    """What ``generate`` leaves is what its text leaves, read in one call."""
    prompt, replies = host.texts()
    won: list[Tensor] = []
    return judge(host, lambda: won.append(host.generate(prompt, replies)), lambda: host.call(won[-1][:, :-1]))


def beams(host: Host) -> str:
    """After a beam search, the text that won is remembered."""
    prompt, _ = host.texts()
    won: list[Tensor] = []
    # The second run is without a cache, as the memories' own is; FSMT reads otherwise with one.
    return judge(
        host,
        lambda: won.append(host.generate(prompt, num_beams=3)),
        lambda: host.call(won[-1][:, :-1], use_cache=False),
    )


def ended(host: Host) -> str:
    """Of a row that has ended, what it said until then is remembered."""
    prompt, replies = host.texts(two=True)
    replies[0, 1] = END
    text = torch.cat([prompt, replies[:, :1]], 1)[:1]
    real = torch.arange(prompt.shape[1] + replies.shape[1] - 1) < text.shape[1]

    def generate() -> None:
        said = host.generate(prompt, replies, eos_token_id=END)[:, prompt.shape[1] :]
        if not torch.equal(said[:, :2], replies[:, :2]):
            raise Impossible("it cannot be made to end a row")

    return judge(host, generate, lambda: host.call(text, slice(0, 1)), row=0, real=real)


def padded(host: Host) -> str:
    """Padding before a row is not there."""
    prompt, replies = host.texts(two=True)
    prompt[1, :2] = PAD
    mask = (prompt != PAD).long()
    alone, row = prompt[1:, 2:], slice(1, 2)
    if host.has_source:
        return judge(
            host, lambda: host.call(prompt, mask=mask), lambda: host.call(alone, row), row=1, real=mask[1].bool()
        )
    real = torch.cat([mask[1], torch.ones(replies.shape[1] - 1)]).bool()
    return judge(
        host,
        lambda: host.generate(prompt, replies, mask=mask),
        lambda: host.generate(alone, replies[1:], row),
        row=1,
        real=real,
    )


def rows_apart(host: Host) -> str:
    """A row of a batch is that row alone."""
    prompt, _ = host.texts(two=True)
    return judge(host, lambda: host.call(prompt), lambda: host.call(prompt[1:], slice(1, 2)), row=1)


CHECKS: dict[str, Callable[[Host], str]] = {
    "pieces": pieces,
    "generate": generated,
    "beams": beams,
    "ended row": ended,
    "left padding": padded,
    "rows apart": rows_apart,
}


def tried(kind: str, family: str) -> dict[str, Any]:
    """Build a family and try it: the names of the layers, and what each check found."""
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    with warnings.catch_warnings():
        # What transformers says of its own models is not ours to mend.
        warnings.simplefilter("ignore")
        try:
            model: Any = build(kind, family)
        except Exception as error:
            return {"layers": [], "checks": {"build": f"model: {said(error)}"}}
        # Once it has read something, RWKV adds the rows of a batch to each other.
        host = Host(model=model, context=context(family, model), rows=1 if family == "rwkv" else 2)
        return verdicts(host, LAYERS.get(family, (0, -1)))


def verdicts(host: Host, layers: Sequence[int | str] = (0, -1)) -> dict[str, Any]:
    """Try a model: attach, all checks, unload; return the names of the layers and what each check found."""
    model = host.model
    prompt, _ = host.texts()
    found: dict[str, str] = {}
    try:
        before = host.call(prompt)
        if not torch.equal(host.call(prompt), before):
            return {"layers": [], "checks": {"call": "model: two calls differ"}}
    except Exception as error:
        return {"layers": [], "checks": {"call": f"model: {said(error)}"}}
    marks = vars_of(model)
    try:
        host.memories = callosal.attach(model, layers, warn_outside_session=False)
    except ValueError as error:
        return {"layers": [], "checks": {"attach": f"refused: {error}"}}
    names = list(host.memories)
    callosal.unload(model)
    handles = [model.get_submodule(name).register_forward_hook(partial(recorded, host, name)) for name in names]
    host.memories = callosal.attach(model, names, warn_outside_session=False)

    def bits(host: Host) -> str:
        outside = host.call(prompt)
        with host.memories.session():
            inside = host.call(prompt)
        if not (torch.equal(outside, before) and torch.equal(inside, before)):
            raise Wrong(f"off by {gap(outside, before):.1g} outside a session, {gap(inside, before):.1g} inside")
        return "right"

    def unloaded(host: Host) -> str:
        callosal.unload(model)
        for handle in handles:
            handle.remove()
        if not torch.equal(host.call(prompt), before):
            raise Wrong(f"off by {gap(host.call(prompt), before):.1g}")
        if vars_of(model) != marks:
            raise Wrong("something is left behind")
        return "right"

    found["same bits"] = outcome(bits, host)
    train(host.memories)
    for name, check in CHECKS.items():
        found[name] = outcome(check, host)
    found["unload"] = outcome(unloaded, host)
    return {"layers": names, "checks": found}


def recorded(host: Host, name: str, _: nn.Module, __: Any, output: Any) -> None:
    """Keep what a layer gave."""
    hidden = output if isinstance(output, Tensor) else output[0]
    if keeps_time_first(host.model):
        hidden = hidden.transpose(0, 1)
    host.seen.setdefault(name, []).append(hidden.detach().clone())


def vars_of(model: nn.Module) -> list[str]:
    """Return all that stands on a model and its parts: attributes and hooks."""
    return [
        f"{name}.{key}:{len(value) if 'hooks' in key else ''}"
        for name, module in model.named_modules()
        for key, value in sorted(vars(module).items())
    ]


def train(memories: callosal.Memories) -> None:
    """Give the output maps weights, as training would."""
    generator = torch.Generator().manual_seed(1)
    for name in memories:
        nn.init.normal_(memories[name].output.weight, std=0.3, generator=generator)


def outcome(check: Callable[[Host], str], host: Host) -> str:
    """Return what a check found: right, refused, wrong, or that the model cannot do it."""
    try:
        return check(host)
    except Impossible as error:
        return f"model: {error}"
    except Wrong as error:
        return f"wrong: {error}"
    except Exception as error:
        ours = "/callosal/" in traceback.extract_tb(error.__traceback__)[-1].filename
        refused = ours and isinstance(error, ValueError | RuntimeError)
        return f"refused: {error}" if refused else f"wrong: {said(error)}"


def said(error: Exception) -> str:
    """Return the kind of an error and what it says, if that is short."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}"
