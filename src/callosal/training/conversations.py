"""Conversations as training data, and a model that takes a stretch of one in a single forward call."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy, pad

from callosal.hosts.memories import Memories, attached
from callosal.hosts.session import Session
from callosal.memory.processes import everyone, pooled
from callosal.training import UNSCORED
from callosal.training.pieces import NOTHING, piece_of, require_apart

# A turn as lists of equal length; what is not to be scored has the label that it has in transformers.
Turn = Mapping[str, Sequence[int]]
Batch = list[dict[str, Tensor]]


def collate_conversations(conversations: Sequence[Sequence[Turn]], pad_id: int = 0) -> Batch:
    """Put the first turns of all conversations into one batch, the second turns into the next, and so on.

    Texts are padded on the right. A conversation that is over, or an empty turn, is a row of padding alone: it is not
    scored, and leaves its memory as it was.

    >>> statement = {"input_ids": [5, 6, 7], "labels": [5, 6, 7]}
    >>> question = {"input_ids": [5, 8], "labels": [-100, 8]}
    >>> first, second = collate_conversations([[statement, question], [question]])
    >>> second["attention_mask"]
    tensor([[1, 1],
            [0, 0]])

    Args:
        conversations: of each, its turns: ``input_ids``, and ``labels`` of the same length: the token itself where it
            is scored, -100 elsewhere. As in transformers a label is predicted from the token before it, so the first
            label of a turn never counts.
        pad_id: the token to pad with; what it means does not matter, since it is masked.

    Returns:
        For each turn ``input_ids``, ``attention_mask`` and ``labels``, [rows, time] each.

    Raises:
        ValueError: there is nothing to collate, or a turn's ids and labels differ in length.
    """
    num_turns = max((len(turns) for turns in conversations), default=0)
    if num_turns == 0:
        raise ValueError("no turns to collate; pass at least one conversation of at least one turn")
    for row, turns in enumerate(conversations):
        for number, turn in enumerate(turns):
            if len(turn["input_ids"]) != len(turn["labels"]):
                raise ValueError(
                    f"turn {number} of conversation {row} has {len(turn['input_ids'])} input_ids and "
                    f"{len(turn['labels'])} labels; give each token one, {UNSCORED} if it is not scored"
                )
    nothing: Turn = {"input_ids": (), "labels": ()}
    batch = []
    for number in range(num_turns):
        rows = [turns[number] if number < len(turns) else nothing for turns in conversations]
        time = max(1, *(len(row["input_ids"]) for row in rows))
        batch.append(
            {
                "input_ids": _filled([row["input_ids"] for row in rows], time, pad_id),
                "attention_mask": _filled([[1] * len(row["input_ids"]) for row in rows], time, 0),
                "labels": _filled([row["labels"] for row in rows], time, UNSCORED),
            }
        )
    return batch


def num_scored(turns: Batch) -> int:
    """Return how many tokens of these turns have a label that counts."""
    return sum(int((turn["labels"][:, 1:] != UNSCORED).sum()) for turn in turns)


def evened(turns: Batch) -> Batch:
    """Add empty turns and empty rows until all processes have as many; on one process, nothing."""
    group = everyone()
    if group is None:
        return turns
    sizes = torch.tensor([len(turns), len(turns[0]["labels"])], device=turns[0]["labels"].device)
    distributed.all_reduce(sizes, distributed.ReduceOp.MAX, group)
    num_turns, num_rows = sizes.tolist()
    empty = {k: torch.full_like(turns[0][k][:, :1], value) for k, value in NOTHING.items()}
    turns = [*turns, *[empty] * (num_turns - len(turns))]
    missing = num_rows - len(turns[0]["labels"])
    if not missing:
        return turns
    return [{key: pad(turn[key], (0, 0, 0, missing), value=v) for key, v in NOTHING.items()} for turn in turns]


class Conversations(nn.Module):
    """A causal language model with memories, as a model of conversations: many turns in, one loss out.

    One call here is many calls of the model in one session, so that whoever wraps models (DDP, FSDP,
    ``transformers.Trainer``) sees one forward for each backward, and every write happens inside it. In training mode on
    several processes the memories' buffers move by the rows of all, as in one process: all must then call it alike.
    In a session of a ``sequence_group`` each is given the same turns and reads its piece of them; the loss is then its
    share of the whole one.

    Args:
        memories: what ``callosal.attach`` returned.
    """

    def __init__(self, memories: Memories) -> None:
        super().__init__()
        self.model = memories.model
        self._apart = False  # whether the model was seen to join tokens by its memories alone
        self.register_state_dict_post_hook(_without_twins)
        self.register_load_state_dict_pre_hook(_with_twins)

    @property
    def memories(self) -> Memories:
        """The memories that are attached to the model."""
        memories = attached(self.model)
        assert memories is not None
        return memories

    def forward(
        self,
        turns: Batch,
        session: Session | None = None,
        scored: int | None = None,
        return_loss: bool = True,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Read the turns one after another and return ``{"loss": ...}``, a cross-entropy in nats.

        Args:
            turns: as :func:`collate_conversations` gives them.
            session: to go on with, for the next turns of the same conversations; None starts blank.
            scored: what to divide the sum over scored tokens by, when these turns are a part of something longer; None
                for their own number.
            return_loss: what the Trainer's ``evaluate`` looks for; the loss is always returned.

        Raises:
            ValueError: the session is of a ``sequence_group``, and the model joins tokens by more than its memories.
        """
        session = session or self.memories.session()
        scored = num_scored(turns) if scored is None else scored
        layers = [self.memories[name] for name in self.memories]
        pieces = session.sequence_group
        if pieces is None:
            turns, group = (evened(turns), everyone()) if self.training else (turns, None)
            pool = pooled(layers, group)
        else:
            self._apart = self._apart or any(require_apart(self.memories, turn) for turn in turns)
            # All have the same rows, and so the same buffers.
            turns, pool = [piece_of(turn, pieces.rank(), pieces.size()) for turn in turns], nullcontext()
        losses = []
        with pool, session:
            for turn in turns:
                seen = {key: turn[key] for key in ("input_ids", "attention_mask")}
                logits = self.model(**seen, use_cache=False).logits
                losses.append(_cross_entropy(logits, turn["labels"]))
        # The sum of nothing: zero, and yet every parameter of the last write, which nobody has read, gets a gradient
        # (of zero). DDP waits for it, and no process may differ from another in it.
        unread = [state.trace[:0].sum() for state in session.states.values()]
        total = torch.stack([*losses, *unread]).sum()
        return {"loss": total / max(scored, 1)}


def _twins(module: nn.Module) -> dict[str, str]:
    """Return the other names of tied parameters, each with the first."""
    first: dict[int, str] = {}
    named = module.named_parameters(remove_duplicate=False)
    every = {name: first.setdefault(id(parameter), name) for name, parameter in named}
    return {name: original for name, original in every.items() if name != original}


def _without_twins(module: nn.Module, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    """Keep tied weights once, as safetensors asks for: the Trainer saves models of others as they are."""
    for name in _twins(module):
        state.pop(prefix + name, None)


def _with_twins(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for name, original in _twins(module).items():
        if prefix + original in state:
            state.setdefault(prefix + name, state[prefix + original])


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over the scored tokens; only their logits leave half precision."""
    where = labels[:, 1:] != UNSCORED
    # A piece has the label of the token behind it too.
    predicted = logits[:, : where.shape[1]][where]
    exact = predicted.to(torch.promote_types(predicted.dtype, torch.float32))
    return cross_entropy(exact, labels[:, 1:][where], reduction="sum")


def _filled(rows: Sequence[Sequence[int]], time: int, value: int) -> Tensor:
    return torch.tensor([[*row, *[value] * (time - len(row))] for row in rows])
