"""The chat remembers by its store alone, shows what was read, and a turn that fails leaves no trace."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tests.demo.conftest import NUM_NEW

from callosal import MemoryState
from callosal.demo.talk import Reply, Talk, Turn, load_talk
from callosal.hosts.cue import Cue
from callosal.lab.measures.recording import record_shares


def said(talk: Talk, user: str, text: str, lesioned: tuple[str, ...] = ()) -> Reply:
    *_, last = talk.reply(user, text, lesioned)
    return last


def turn_of(talk: Talk, user: str, text: str, lesioned: tuple[str, ...] = ()) -> Turn:
    turn = said(talk, user, text, lesioned).turn
    assert turn is not None
    return turn


def same(left: dict[str, MemoryState], right: dict[str, MemoryState]) -> bool:
    return all(torch.equal(left[name].trace, right[name].trace) for name in left)


def test_a_reply_grows_and_ends_with_the_turn(talk: Talk) -> None:
    replies = list(talk.reply("ada", "hello my name is ada"))
    texts = [reply.text for reply in replies]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert [reply.turn is None for reply in replies] == [True] * (len(replies) - 1) + [False]
    turn = replies[-1].turn
    assert turn is not None
    assert turn.tokens[:5] == ("hello", "my", "name", "is", "ada")
    assert len(turn.tokens) == 5 + NUM_NEW
    assert list(turn.layers) == ["transformer.h.0", "transformer.h.1"]
    for seen in turn.layers.values():
        # The reply's last token went into no call.
        assert seen.shares.shape == (5 + NUM_NEW - 1, 2)
        assert seen.salience is not None
        assert len(seen.salience) == len(seen.shares)
        assert 0.0 < seen.salience.min() < seen.salience.max() < 1.0
        assert min(seen.moved) > 0.0


def test_the_shares_are_those_by_which_the_memory_was_written(talk: Talk) -> None:
    with record_shares(talk.memories) as recorded:
        turn = turn_of(talk, "ada", "I like tea")
    calls = [shares[0] for shares in recorded]
    # Layer by layer in every call: the prompt's, then token by token. What was asked of the memory later is behind.
    for place, seen in enumerate(turn.layers.values()):
        torch.testing.assert_close(seen.shares, torch.cat(calls[place : 2 * NUM_NEW : 2]))


def test_what_was_said_is_remembered_by_the_store_alone(talk: Talk, chat_model: Path, tmp_path: Path) -> None:
    said(talk, "ada", "my name is ada")
    second = said(talk, "ada", "what do I like")
    assert second.text != said(talk, "bob", "what do I like").text
    assert sorted(talk.store.users()) == ["ada", "bob"]
    other = load_talk(str(chat_model), str(chat_model / "adapter"), tmp_path / "others")
    other.generation["max_new_tokens"] = NUM_NEW
    said(other, "ada", "my name is ada")
    again = load_talk(str(chat_model), str(chat_model / "adapter"), tmp_path / "others")
    again.generation["max_new_tokens"] = NUM_NEW
    assert said(again, "ada", "what do I like").text == second.text


def test_a_reply_says_whether_it_began_with_the_cue_and_shows_what_was_read_then_alone(talk: Talk) -> None:
    talk.tell("ada", "my name is ada and I like tea")
    talk.tell("bob", "my name is ada and I like tea")
    assert turn_of(talk, "ada", "what do I like").cue is None
    tokens = tuple(talk.tokenizer("you like")["input_ids"])
    talk.memories.cue = Cue(tokens=tokens, loudness=1e-9, end=1)
    begun = said(talk, "bob", "what do I like")
    assert begun.turn is not None
    assert begun.turn.cue == "you like"
    assert begun.text.startswith("you like")
    assert begun.turn.tokens[:6] == ("what", "do", "I", "like", "you", "like")
    assert {len(seen.shares) for seen in begun.turn.layers.values()} == {6 + NUM_NEW - 1}
    # Whoever was told nothing is answered alike where nothing is heard.
    talk.memories.cue = Cue(tokens=tokens, loudness=1e9, end=1)
    silent = [said(talk, user, "what do I like") for user in ("ada", "cy")]
    assert silent[0].text == silent[1].text
    assert all(reply.turn is not None and reply.turn.cue == "" for reply in silent)
    assert all(state.trace.any() for state in talk.states("cy").values())


def test_a_lesion_is_of_reading_alone(talk: Talk) -> None:
    for user in ("ada", "bob", "cy"):
        talk.tell(user, "my name is ada and I like tea")
    assert same(talk.states("ada"), talk.states("bob"))
    whole = said(talk, "ada", "what do I like")
    lesioned = said(talk, "bob", "what do I like", ("left", "right"))
    assert whole.text != lesioned.text
    assert lesioned.turn is not None
    # The memory is called twice then, and what it read is shown once.
    assert {len(seen.shares) for seen in lesioned.turn.layers.values()} == {4 + NUM_NEW - 1}
    assert talk.banks() == ["left", "right"]


def test_what_is_only_told_is_read_to_its_end(talk: Talk) -> None:
    turn = talk.tell("ada", "I like tea")
    assert turn.tokens == ("I", "like", "tea")
    assert all(len(seen.shares) == 3 for seen in turn.layers.values())
    assert all(state.trace.any() for state in talk.states("ada").values())


def test_forgetting_is_of_one_bank_or_of_all(talk: Talk) -> None:
    talk.tell("ada", "I like tea")
    before = talk.states("ada")
    talk.forget("ada", "left")
    for name, state in talk.states("ada").items():
        assert not state.trace[:, 0].any()
        assert torch.equal(state.trace[:, 1], before[name].trace[:, 1])
    talk.forget("ada")
    assert talk.store.users() == []
    assert not any(state.trace.any() for state in talk.states("ada").values())
    talk.tell("ada", "I like tea")
    assert same(talk.states("ada"), before)


def test_a_turn_that_fails_leaves_no_trace_and_the_talk_goes_on(talk: Talk) -> None:
    talk.tell("ada", "I like tea")
    before = talk.states("ada")
    # The model has 40 positions: the one fails at once, the other in the middle of its reply.
    for text in ("tea " * 60, "tea " * 38):
        with pytest.raises(IndexError):
            said(talk, "ada", text)
    with pytest.raises(IndexError):
        talk.tell("ada", "tea " * 60)
    with pytest.raises(ValueError, match=r"no token in this"):
        said(talk, "ada", "")
    with pytest.raises(ValueError, match=r"it may be 0, 1, left, right"):
        said(talk, "ada", "tea", ("middle",))
    assert same(talk.states("ada"), before)
    assert said(talk, "ada", "tea").turn is not None


def test_a_reply_that_nobody_listens_to_is_whole(talk: Talk) -> None:
    reply = talk.reply("ada", "I like tea")
    next(reply)
    reply.close()
    said(talk, "bob", "I like tea")  # waits for its turn
    assert same(talk.states("ada"), talk.states("bob"))


def test_what_cannot_be_loaded_is_said(chat_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"no model and tokenizer in"):
        load_talk(str(tmp_path / "nowhere"), None, tmp_path / "users")
    with pytest.raises(FileNotFoundError, match=r"callosal_config.json is missing"):
        load_talk(str(chat_model), str(chat_model), tmp_path / "users")
    untrained = load_talk(str(chat_model), None, tmp_path / "users")
    assert not untrained.is_trained
    assert list(untrained.memories) == ["transformer.h.1"]
    assert untrained.tell("ada", "I like tea").layers["transformer.h.1"].salience is None
