"""Sizes and dynamics of the lateralized memory, with the ranges that make sense."""

import dataclasses
import math
from dataclasses import MISSING, dataclass, field
from typing import Any, Literal, get_args

from callosal.checks import require, require_counts, require_positive

Drive = Literal["axis", "gradient", "slots"]
Context = Literal["segment", "token"]
WriteRule = Literal["bounded", "additive", "delta"]
Salience = Literal["even", "learned", "retrieved"]
Writers = Literal["all", "lagged"]
Crosstalk = Literal["drives", "received"]
Normalised = Literal["slots", "retrieved"]
Gates = Literal["narrowed", "hidden"]

# Fields that came after runs were recorded: at their default they leave a run's fingerprint alone.
ADDED = {"added": True}
# Fields that name a run and change no number of it.
LABEL = {"label": True}

_CHOICES = {
    "drive": Drive,
    "write": WriteRule,
    "context": Context,
    "salience": Salience,
    "writers": Writers,
    "crosstalk": Crosstalk,
    "normalised": Normalised,
    "gates": Gates,
}


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """Sizes and dynamics of a :class:`LateralMemory`.

    Attributes:
        width: width of the hidden states, and of a slot unless ``inner_width`` says otherwise.
        num_banks: 2 is left and right; 1 is a memory without cross-talk.
        num_slots: slots per bank.
        num_heads: head h starts out looking at the token h steps back.
        num_lags: tokens that a head's causal filter spans.
        sign: s in [-1, 1]; -1 is inhibition between banks, +1 excitation.
        gain: how sharply the banks compete, above 0.
        temperature: start of tau, the sharpness of addressing, above 0.
        inertia: start of kappa, in tokens, above 0: how hard a slot is to move.
        write_scale: the transforms W start as an orthogonal matrix times this.
        drive: what moves a bank: "axis" (its context axis, signed plasticity), "gradient" (its context axis, learned
            from the loss alone) or "slots" (how well the token matches its slots).
        plasticity_rate: r in [0, 1], per training step; 0 keeps the axes where they started.
        homeostasis: take a slow running mean away from the drive's input.
        momentum: of that running mean, in [0, 1).
        learn_crosstalk: let the gradient move the cross-talk matrix from where the sign put it.
        write: "bounded"; "additive", which the paper's abstract writes and which can overflow; or "delta", which takes
            away what the touched slots hold together, not each slot's own.
        context: what the axes look at: the mean of the "segment" so far, or the "token" alone.
        carry: share of the context that is carried into the next segment, in [0, 1); 0 starts each segment anew,
            towards 1 it is a slow buffer of what was seen. Not that of arXiv 2603.07217, which is ``recollection``.
        recollection: rate r in [0, 1] of a slow average of what segments retrieved, b <- (1 - r) b + r rms(mean A V),
            which a learned map adds to every token that the banks compete for; 0 is without. The slow buffer of arXiv
            2603.07217 as its readers describe it. Segments are then read one after another, also within a call.
        contrast: kappa, at least 0: how much less axes look where tokens differ in a segment; 10 for over two banks.
        balance: rho, at least 0, per training step: how fast a bank that wins less than its even share becomes more
            excitable. For as many banks as domains of equal frequency; 0.1 there.
        crosstalk: what the cross-talk matrix acts on: the banks' "drives", and the plasticity with them; or what is
            "received" by them, a second reading of the paper: the context, and the mean contexts that the other banks
            win. Axes then learn by Hebb's rule what their bank receives where it wins. Needs drive "axis".
        detach_context: no gradient passes from the banks' shares into the hidden states that the context averages.
        observe: write what the tokens are beside what they retrieved, C = A^T (A V + X U) W. Without it, the paper's
            form, no content of a token is written: only which slots it touched.
        embedded: what the tokens are is taken from the embeddings that the model gives its input tokens, not from the
            hidden states, in which little of a token is left after many layers. Needs ``observe``.
        writers: whose addresses a token is written to: those of "all" heads, or of the "lagged" ones, all but head 0.
            With these what follows a token is found where that token points, as by an induction head.
        salience: how much each token weighs in what is written, C = A^T diag(s) (...), n = A^T s: "even", all one;
            "learned", a gate on the token's hidden state, 0.9 at the start; or "retrieved", the norm of what the token
            retrieved over its running mean, at most 1, after the amygdala of arXiv 2603.07217.
        output_gate: each token gives out what it retrieved times a learned gate on its hidden state, 0.9 at the start,
            as in an LSTM: silence where nothing of the memory is wanted. What is written does not see it.
        normalised: what is brought to root-mean-square one: what each of the "slots" holds, prototype plus trace; or
            what a token "retrieved" of all of them, for reading and for what is written alike. So a slot that was
            touched in passing does not speak as loud as one that was written to, and prototypes are the level below
            which nothing is heard.
        gates: what the gates of salience and output look at: a token's state as it was "narrowed"; or as "hidden", as
            wide as it came, calibrated, at root-mean-square one. Where a memory is much narrower than its host, that
            tells tokens apart that are one to the memory.
        inner_width: width of a slot and of all that is computed with it, at most ``width``; a learned map leads in, the
            output map leads out. None is the hidden states' own.
        calibrated: take the mean away from the hidden states and whiten them, by statistics measured once
            (:func:`callosal.memory.calibrate`, which sets this). For pretrained models.
    """

    width: int
    num_banks: int = 2
    num_slots: int = 64
    num_heads: int = 2
    num_lags: int = 3
    sign: float = -1.0
    gain: float = 4.0
    temperature: float = 20.0
    inertia: float = 3.0
    write_scale: float = 4.0
    drive: Drive = "axis"
    plasticity_rate: float = 0.05
    homeostasis: bool = True
    momentum: float = 0.98
    learn_crosstalk: bool = True
    write: WriteRule = "bounded"
    context: Context = field(default="segment", metadata=ADDED)
    carry: float = field(default=0.0, metadata=ADDED)
    recollection: float = field(default=0.0, metadata=ADDED)
    contrast: float = field(default=0.0, metadata=ADDED)
    balance: float = field(default=0.0, metadata=ADDED)
    crosstalk: Crosstalk = field(default="drives", metadata=ADDED)
    detach_context: bool = field(default=False, metadata=ADDED)
    observe: bool = field(default=False, metadata=ADDED)
    embedded: bool = field(default=False, metadata=ADDED)
    writers: Writers = field(default="all", metadata=ADDED)
    salience: Salience = field(default="even", metadata=ADDED)
    normalised: Normalised = field(default="slots", metadata=ADDED)
    gates: Gates = field(default="narrowed", metadata=ADDED)
    inner_width: int | None = field(default=None, metadata=ADDED)
    output_gate: bool = field(default=False, metadata=ADDED)
    calibrated: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        require_counts(self, "width", "num_banks", "num_slots", "num_heads", "num_lags")
        most = f"it must be at most num_lags ({self.num_lags}), since head h starts at lag h"
        require(self, "num_heads", self.num_heads <= self.num_lags, most)
        require(self, "sign", -1.0 <= self.sign <= 1.0, "it must be between -1 and 1")
        require_positive(self, "gain", "temperature", "inertia", "write_scale")
        require(self, "plasticity_rate", 0.0 <= self.plasticity_rate <= 1.0, "it must be between 0 and 1")
        require(self, "momentum", 0.0 <= self.momentum < 1.0, "it must be in [0, 1)")
        for name, choices in _CHOICES.items():
            require(self, name, getattr(self, name) in get_args(choices), f"it must be one of {get_args(choices)}")
        require(self, "carry", 0.0 <= self.carry < 1.0, "it must be in [0, 1)")
        means = self.drive != "slots" and self.context == "segment"
        require(self, "carry", self.carry == 0.0 or means, "it must be 0 where the drive averages no context")
        require(self, "recollection", 0.0 <= self.recollection <= 1.0, "it must be between 0 and 1")
        looks = self.recollection == 0.0 or self.drive != "slots"
        require(self, "recollection", looks, 'it must be 0 with drive "slots", which has no context')
        latest = self.context == "token" or self.contrast != 0.0
        why = 'it must be at least 2 with context="token" or a contrast, which need the latest token kept'
        require(self, "num_lags", self.num_lags > 1 or not latest, why)
        for name in ("contrast", "balance"):
            require(self, name, 0.0 <= getattr(self, name) < math.inf, "it must be at least 0 and finite")
            only = getattr(self, name) == 0.0 or self.drive == "axis"
            require(self, name, only, 'it must be 0 unless drive is "axis"')
        by_axes = self.crosstalk == "drives" or self.drive == "axis"
        require(self, "crosstalk", by_axes, 'it must be "drives" unless drive is "axis"')
        attached = not self.detach_context or self.drive != "slots"
        require(self, "detach_context", attached, 'it must be False with drive "slots", which has no context')
        require(self, "embedded", self.observe or not self.embedded, "it must be False unless observe is True")
        lagged = self.writers == "all" or self.num_heads > 1
        require(self, "writers", lagged, 'it must be "all" with one head, which has no lag')
        within = self.inner_width is None or 1 <= self.inner_width <= self.width
        require(self, "inner_width", within, f"it must be None or from 1 to width ({self.width})")

    @property
    def slot_width(self) -> int:
        """Width of a slot."""
        return self.inner_width or self.width


def describe(config: Any) -> dict[str, Any]:
    """Return a configuration as plain values; fields added later only where they differ from their default.

    So what is recorded of a run, or in a memory's file, does not change when a later version can do more.
    """
    described = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        known = item.default if item.default is not MISSING else None
        if item.metadata.get("label") or (item.metadata.get("added") and value == known):
            continue
        described[item.name] = describe(value) if dataclasses.is_dataclass(value) else value
    return described
