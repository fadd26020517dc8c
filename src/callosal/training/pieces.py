"""Turns cut into pieces, one for each process, and whether a model can read them so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from callosal.hosts.memories import Memories
from callosal.training import UNSCORED

# What a turn is filled up with where there is nothing.
NOTHING = {"input_ids": 0, "attention_mask": 0, "labels": UNSCORED}
# Tokens on each side of the cut that a model is tried at.
NEAR = 32


def piece_of(turn: dict[str, Tensor], number: int, num_pieces: int) -> dict[str, Tensor]:
    """Return a piece of a turn, which is cut along time into pieces of equal length, or nearly.

    Of the labels it has one more, that of the token which the next piece begins with: it is predicted from the last one
    here.
    """
    short = num_pieces - turn["input_ids"].shape[1]
    if short > 0:  # no model need read nothing
        turn = {key: pad(turn[key], (0, short), value=value) for key, value in NOTHING.items()}
    time = turn["input_ids"].shape[1]
    start, stop = (n * time // num_pieces for n in (number, number + 1))
    piece = {key: turn[key][:, start:stop] for key in ("input_ids", "attention_mask")}
    return piece | {"labels": turn["labels"][:, start : stop + 1]}


def require_apart(memories: Memories, turn: dict[str, Tensor]) -> bool:
    """Refuse a model that joins tokens by itself: pieces of a text would lack what stands before them.

    Without memories, it must give the tokens behind a cut the same logits whether those before it are there or not. It
    is tried on the middle of the longest text of a turn; all processes try the same.

    Returns:
        Whether it could be tried; it takes two tokens.

    Raises:
        ValueError: the logits differ, by attention or because positions are counted from the start of a piece.
    """
    exists = turn["attention_mask"].bool()
    row = int(exists.sum(1).argmax())
    text = turn["input_ids"][row][exists[row]]
    half = min(NEAR, len(text) // 2)
    if half == 0:
        return False
    with torch.no_grad(), _silent(memories):
        whole, alone = (_logits(memories.model, text[None, start : 2 * half]) for start in (0, half))
    apart = (whole[:, half:] - alone).abs().max()
    # Rounding is far below the root of the smallest step, and what attention or a position adds is far above.
    if apart > torch.finfo(whole.dtype).eps ** 0.5 * whole.abs().max():
        raise ValueError(
            f"sequence_parallel gives each process a piece of every turn, and {type(memories.model).__name__} joins "
            f"pieces by more than its memories: without those before them, logits of the same tokens differ by "
            f"{apart.item():.2g} (attention, or positions counted from where a piece starts). Each layer must treat "
            "tokens one by one; for this model let sequence_parallel be False, which divides conversations among the "
            "processes"
        )
    return True


def _logits(model: Any, text: Int[Tensor, "row time"]) -> Float[Tensor, "row time word"]:
    return model(input_ids=text, attention_mask=torch.ones_like(text), use_cache=False).logits


@contextmanager
def _silent(memories: Memories) -> Iterator[None]:
    """Let the model be what it is without memories and without dropout."""
    warns, modes = memories.warn_outside_session, [(module, module.training) for module in memories.model.modules()]
    memories.warn_outside_session = False
    memories.model.eval()
    try:
        yield
    finally:
        memories.warn_outside_session = warns
        for module, training in modes:
            module.training = training
