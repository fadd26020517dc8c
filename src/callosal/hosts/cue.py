"""Cued recall: a reply begins with words behind which memories were taught to say what they hold, and nowhere else.

A memory that speaks at every token gets words of its user into replies about other things. Behind a cue, such as "You
said", it can be heard before a reply begins whether it has anything to say: if so the reply begins with the cue and
ends where the memory has no more to say, and if not the memory is not heard in it. For causal models. Ours.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from callosal.checks import require, require_positive
from callosal.hosts.session import Session

_KINDS = {"tokens": list, "loudness": float, "end": int}


@dataclass(frozen=True, kw_only=True)
class Cue:
    """Words that a reply begins with where memories have something to say behind them.

    Attributes:
        tokens: of the words.
        loudness: from which on a reply begins so, and the memories are heard in it; see :meth:`Session.loudness`. Above
            0.
        end: the token that ends such a reply, as a full stop does.

    Raises:
        ValueError: a field is outside of its range.
    """

    tokens: tuple[int, ...]
    loudness: float = 1.0
    end: int

    def __post_init__(self) -> None:
        require(self, "tokens", bool(self.tokens) and min(self.tokens) >= 0, "it must be tokens' numbers, one at least")
        require(self, "end", self.end >= 0, "it must be a token's number")
        require_positive(self, "loudness")

    def behind(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tokens and mask, [row, time], with the cue behind each row."""
        rows = len(tokens["input_ids"])
        longer = dict(tokens) | {
            "input_ids": torch.cat([tokens["input_ids"], tokens["input_ids"].new_tensor([self.tokens] * rows)], 1)
        }
        if (mask := tokens.get("attention_mask")) is not None:
            longer["attention_mask"] = torch.cat([mask, mask.new_ones(rows, len(self.tokens))], 1)
        return longer

    def ends(self, session: Session, stops: Sequence[int | None]) -> dict[str, Any]:
        """Return arguments of ``generate``, inside ``session.muted(loudness)``, that end a reply begun with the cue.

        It ends where the memories are not heard any more, or by itself.

        Args:
            session: the model's.
            stops: tokens that end the model's own replies; None among them stands for nothing.
        """
        own = [token for token in stops if token is not None]
        return {"logits_processor": [_Ending(session, self)], "eos_token_id": [self.end, *own]}

    def is_loud(self, session: Session, tokens: Mapping[str, Tensor]) -> Bool[Tensor, "row"]:
        """Return whether the memories are loud enough behind the cue for a reply to each row to begin with it."""
        return session.loudness(**self.behind(tokens)) >= self.loudness

    @classmethod
    def of(cls, plain: Any) -> "Cue":
        """Return the cue that a file of JSON describes, its fields in a table.

        Raises:
            TypeError: it is no table of a cue's fields.
            ValueError: a field is outside of its range.
        """
        known = isinstance(plain, dict) and plain.keys() == _KINDS.keys()
        if (
            not known
            or any(type(plain[name]) is not kind for name, kind in _KINDS.items())
            or any(type(token) is not int for token in plain["tokens"])
        ):
            raise TypeError(
                f"its cue is {plain!r}, where tokens are numbers in a list, loudness is one, end is a token"
            )
        return cls(tokens=tuple(plain["tokens"]), loudness=plain["loudness"], end=plain["end"])


class _Ending:
    """Ends a reply, as one of ``generate``'s logits processors, where the memories are not loud any more."""

    def __init__(self, session: Session, cue: Cue) -> None:
        self.session, self.cue = session, cue

    def __call__(self, input_ids: Int[Tensor, "row time"], scores: Float[Tensor, "row word"]) -> Tensor:  # noqa: ARG002
        loud = self.session.heard.to(scores.device) >= self.cue.loudness
        ended = torch.full_like(scores, -math.inf)
        ended[:, self.cue.end] = 0.0
        return torch.where(loud[:, None], scores, ended)


@contextmanager
def recall(session: Session, cue: Cue, tokens: Mapping[str, Tensor]) -> Iterator[bool]:
    """Say whether the reply to a turn is to begin with the cue: where the memories are loud behind it.

    Where they are not, they are not heard inside, so that the reply is the model's own; where they are, they are heard
    at tokens at which they are as loud. They go on writing.

    Args:
        session: of one user.
        cue: that the memories were taught.
        tokens: ``input_ids`` and ``attention_mask`` of the turn, up to the reply; [1, time].

    Raises:
        ValueError: there is more than one row.
    """
    if len(tokens["input_ids"]) != 1:
        raise ValueError(f"a reply to {len(tokens['input_ids'])} rows; whether it begins with the cue is one user's")
    known = bool(cue.is_loud(session, tokens))
    with session.muted(cue.loudness if known else math.inf):
        yield known
