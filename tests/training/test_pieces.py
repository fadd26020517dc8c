"""Turns cut into pieces, and models that can read them so."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.hosts.hosts import ALL
from tests.training.conversations import conversation, frozen
from tests.training.pieces import per_token

from callosal.training.conversations import collate_conversations, num_scored
from callosal.training.pieces import piece_of, require_apart


@given(st.integers(0, 50), st.integers(1, 9))
def test_pieces_of_a_turn_put_together_are_the_turn(seed: int, num_pieces: int) -> None:
    """Each token once, and each label once: it is predicted where the token before it is."""
    (turn,) = collate_conversations([conversation(seed, 1), conversation(seed + 1, 1)])
    pieces = [piece_of(turn, number, num_pieces) for number in range(num_pieces)]
    time = turn["labels"].shape[1]
    for key in ("input_ids", "attention_mask"):
        joined = torch.cat([piece[key] for piece in pieces], dim=1)
        assert torch.equal(joined[:, :time], turn[key])
        assert not joined[:, time:].any()
    following = torch.cat([piece["labels"][:, 1:] for piece in pieces], dim=1)
    assert torch.equal(following[:, : time - 1], turn["labels"][:, 1:])
    assert num_scored(pieces) == num_scored([turn])
    lengths = {piece["input_ids"].shape[1] for piece in pieces}
    assert min(lengths) > 0
    assert max(lengths) - min(lengths) <= 1
    for piece in pieces[:-1]:
        assert piece["labels"].shape[1] == piece["input_ids"].shape[1] + 1


@ALL
def test_a_model_with_attention_is_refused(name: str) -> None:
    memories = frozen(name)
    (turn,) = collate_conversations([conversation(2, 1), conversation(1, 1)])
    assert turn["input_ids"].shape[1] > 1
    memories.model.train()
    with pytest.raises(ValueError, match="without those before them, logits of the same tokens differ"):
        require_apart(memories, turn)
    assert all(module.training for module in memories.model.modules())
    # What was tried was outside a session, and is not worth a warning.
    assert memories.warn_outside_session


def test_a_model_of_single_tokens_is_read_in_pieces_wherever_its_texts_stand() -> None:
    memories = per_token()
    (turn,) = collate_conversations([conversation(2, 1), conversation(1, 1)])
    assert require_apart(memories, turn)
    assert require_apart(memories, {key: tensor.flip(1) for key, tensor in turn.items()})
    memories.model.float()
    assert require_apart(memories, turn)
    assert not require_apart(memories, {key: tensor[:, :1] for key, tensor in turn.items()})
    with pytest.raises(ValueError, match="positions counted from where a piece starts"):
        require_apart(per_token(positions=True), turn)
