"""What a memory of the study is taught, and how much each part of it counts."""

from dataclasses import dataclass, field

from callosal.checks import require
from callosal.memory.config import ADDED


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Lessons of the study of SmolLM2.

    Attributes:
        facts: of a user, as drawn for each step.
        between: turns of other kinds among theirs, likewise.
        questions: to each user in a step.
        repeats: what is not about the user is counted as if it had been said so often, as drawn for each step of
            pointing, so that to forget for it costs something.
        floor: a token that is not where a question looks costs minus the logarithm of this.
        price: of a mean salience of one, in nats.
        silence: how much it weighs that the output gate is open where an answer is decided, and shut elsewhere.
        noise: on the states in pointing, whose root-mean-square is one.
        adapting: the banks' axes move in this share of the steps of pointing, since a write costs as much as the rest.
        held: share of the tokens of other turns that are held to what the model says alone.
        hold: how much that weighs beside the answers.
        salience: at the start; most tokens are worth nothing.
        loudness: size of what is read at the start, in spreads of the hidden states.
        dear: of a mean salience of one, in nats, while questions look without slots.
        blank: what a memory without content gives where what is retrieved is normalised, in shares of a token that a
            slot holds alone.
        level: as ``blank``, while pointing is learned through slots: what is heard at this level off the answers is
            priced, so that addresses learn silence too. None: ``blank`` itself, and the gate alone is priced.
        saying: what learns to speak, by the beginnings of the parameters' names: what a memory says and when, not where
            it looks.
        spelling: size of what is written of a token, in sizes of what it retrieved, at the start.
        tact: how much it weighs, where a ``level`` is set, that nothing is heard where replies begin to questions that
            are not about the user, and in answers about what this user never told. 0 asks none.
        ending: tact, where it is asked, asks it where an answer's value has ended, too.
    """

    facts: tuple[int, ...] = (1, 4, 8, 14, 16)
    between: tuple[int, ...] = (0, 2, 6)
    questions: int = 4
    repeats: tuple[int, ...] = (1, 10, 50)
    floor: float = 1e-4
    price: float = 1.0
    silence: float = 1.0
    noise: float = 0.3
    adapting: float = 0.25
    held: float = 0.3
    hold: float = 3.0
    salience: float = 0.08
    loudness: float = 4.0
    dear: float = field(default=0.3, metadata=ADDED)
    blank: float = field(default=0.02, metadata=ADDED)
    level: float | None = field(default=None, metadata=ADDED)
    saying: tuple[str, ...] = field(default=("maps", "observation", "output"), metadata=ADDED)
    spelling: float = field(default=1.0, metadata=ADDED)
    tact: float = field(default=0.0, metadata=ADDED)
    ending: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        for name in ("floor", "adapting", "held", "salience"):
            require(self, name, 0.0 < getattr(self, name) < 1.0, "it must be between 0 and 1")
