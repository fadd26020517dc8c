"""Cued recall: a reply begins with words behind which memories were taught to say what they hold, and nowhere else.

A memory that speaks at every token gets words of its user into replies about other things. Behind a cue, such as "You
said", it can be heard before a reply begins whether it has anything to say: if so the reply begins with the cue, and if
not the memory is not read in it. Ours.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from callosal.checks import require
from callosal.hosts.session import Session


@dataclass(frozen=True, kw_only=True)
class Cue:
    """Words that a reply begins with where memories have something to say behind them.

    Attributes:
        tokens: of the words.
        loudness: from which on a reply begins so, and the memories are heard in it; see :meth:`Session.loudness`. Above
            0.
        until: what ends such a reply, as in ``stop_strings`` of ``generate``; "" for what ends any.

    Raises:
        ValueError: a field is outside of its range.
    """

    tokens: tuple[int, ...]
    loudness: float = 1.0
    until: str = ""

    def __post_init__(self) -> None:
        whole = self.tokens and all(isinstance(token, int) and token >= 0 for token in self.tokens)
        require(self, "tokens", bool(whole), "it must be numbers of tokens, one at least")
        require(self, "loudness", self.loudness > 0.0, "it must be above 0")

    def behind(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tokens and mask, [row, time], with the cue behind each row."""
        longer = dict(tokens)
        rows = len(tokens["input_ids"])
        longer["input_ids"] = torch.cat([tokens["input_ids"], tokens["input_ids"].new_tensor([self.tokens] * rows)], 1)
        if (mask := tokens.get("attention_mask")) is not None:
            longer["attention_mask"] = torch.cat([mask, mask.new_ones(rows, len(self.tokens))], 1)
        return longer

    def plain(self) -> dict[str, Any]:
        """Return what :meth:`of` takes, for a file of JSON."""
        return asdict(self) | {"tokens": list(self.tokens)}

    @classmethod
    def of(cls, plain: Any) -> "Cue":
        """Return the cue that a file describes.

        Raises:
            TypeError: it is no table of a cue's fields.
            ValueError: a field is outside of its range.
        """
        kinds = {"tokens": list, "loudness": (int, float), "until": str}
        known = isinstance(plain, dict) and plain.keys() == kinds.keys()
        if not known or any(not isinstance(plain[name], kind) for name, kind in kinds.items()):
            raise TypeError(f"its cue is {plain!r}")
        return cls(tokens=tuple(plain["tokens"]), loudness=plain["loudness"], until=plain["until"])


@contextmanager
def recall(session: Session, cue: Cue, tokens: Mapping[str, Tensor]) -> Iterator[bool]:
    """Say whether the reply to a turn is to begin with the cue: where the memories are loud behind it.

    Where they are not, they are not heard inside, so that the reply is the model's own; where they are, they are heard
    at tokens at which they are as loud. They are written as ever.

    Args:
        session: of one user.
        cue: that the memories were taught.
        tokens: ``input_ids`` and ``attention_mask`` of the turn, up to the reply; [1, time].

    Raises:
        ValueError: there is more than one row.
    """
    if len(tokens["input_ids"]) != 1:
        raise ValueError(f"a reply to {len(tokens['input_ids'])} rows; whether it begins with the cue is one user's")
    known = session.loudness(**cue.behind(tokens)).item() >= cue.loudness
    with session.muted(cue.loudness if known else math.inf):
        yield known
