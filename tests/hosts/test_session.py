"""Sessions: what is carried, committed, saved, switched, taken back, lesioned and refused."""

import copy
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.hosts.hosts import CONFIG, USERS, DictStore, make, prompts, remembering, same_bits, trained
from tests.laws import assert_near
from tests.tolerances import SINGLE
from torch import Tensor

from callosal import ConflictError, MemoryState, MemoryStore, Session, attach, merge
from callosal.hosts.session import SessionSaveError, entry
from callosal.memory import reset_banks


def fail(*_: object) -> None:
    raise ZeroDivisionError


def test_a_session_shows_what_a_user_calls_and_nothing_else() -> None:
    methods = "bind close turn one_turn save switch replace lesion muted heard loudness select stop_gradient detach"
    shown = {"users", "states", "lesioned", "sequence_group", *methods.split()}
    _, memories = remembering()
    assert {name for name in dir(memories.session()) if not name.startswith("_")} == shown
    assert shown - {"users", "lesioned"} == {n for n in dir(Session) if not n.startswith("_")}


def test_what_was_saved_goes_on_in_any_batch() -> None:
    model, memories = remembering()
    store, tokens = DictStore(), prompts()
    with memories.session(USERS, store) as session:
        model(tokens)
        session.turn()
        expected = model(tokens.flip(1)).logits
    again = DictStore()
    with memories.session(USERS, again):
        model(tokens)
    assert sorted(again.entries) == sorted(entry(u, n) for u in USERS for n in memories)
    assert all(state.segment is None for state in again.entries.values())
    with memories.session(["cy", "ada"], again):
        got = model(tokens.flip(1)[[2, 0]]).logits
    assert_near(got, expected[[2, 0]], SINGLE)


def test_a_call_without_a_past_begins_a_turn() -> None:
    (model, memories), tokens = remembering(), prompts()
    with memories.session() as session:
        model(tokens)
        opened = session.states
        assert all(state.segment is not None for state in opened.values())
        assert all(not state.trace.any() for state in opened.values())
        session.turn()
        explicit = session.states
        assert all(state.segment is None and state.trace.any() for state in explicit.values())
        session.turn()
        assert same_bits(session.states, explicit)
        second = model(tokens).logits
    session = memories.session(USERS)
    with session:
        model(tokens)
        assert torch.equal(model(tokens).logits, second)
        session.replace(explicit)
    with session:  # taken up again, it goes on where it was
        assert torch.equal(model(tokens).logits, second)


def test_a_cache_goes_on_with_the_turn_in_whatever_a_model_puts_it() -> None:
    (model, memories), tokens = remembering(), prompts()
    states = []
    for whole in (True, False):
        with memories.session() as session:
            first = model(tokens[:, :4], use_cache=True, return_dict=whole)
            cache = first.past_key_values if whole else first[1]
            model(tokens[:, 4:], past_key_values=cache, use_cache=True)
            states.append(session.states)
    assert same_bits(states[0], states[1])
    assert all((state.segment.num_tokens == tokens.shape[1]).all() for state in states[1].values())


def test_after_an_error_nothing_is_saved_and_the_model_is_free() -> None:
    model, memories = remembering(warn_outside_session=False)
    store, tokens = DictStore(), prompts(rows=1)
    base = make()(tokens).logits
    with pytest.raises(ZeroDivisionError), memories.session("ada", store):
        fail(model(tokens))
    assert not store.entries
    assert not memories.in_use
    assert torch.equal(model(tokens).logits, base)
    with memories.session("ada", store):
        model(tokens)
    assert len(store.entries) == 2


def test_a_call_that_fails_half_way_leaves_all_layers_as_they_were() -> None:
    (model, memories), tokens = remembering(), prompts()
    with memories.session() as session:
        model(tokens)
        before = session.states
        for part in (memories["model.layers.1"], model.lm_head):
            for call in (lambda: model(tokens), lambda: model.generate(tokens, max_new_tokens=2)):
                handle = part.register_forward_pre_hook(fail)
                with pytest.raises(ZeroDivisionError):
                    call()
                handle.remove()
                assert same_bits(session.states, before)
        with pytest.raises(ValueError, match="batch_size"):
            model(tokens, labels=tokens[:1])
        assert same_bits(session.states, before)
        after = model(tokens).logits
    with memories.session():
        model(tokens)
        assert torch.equal(model(tokens).logits, after)


def test_in_training_a_call_that_fails_leaves_the_buffers_too() -> None:
    answers = []
    for fails in (False, True):
        model, memories = remembering()
        model.train()
        with memories.session() as session:
            model(prompts())
            if fails:
                handle = model.lm_head.register_forward_pre_hook(fail)
                with pytest.raises(ZeroDivisionError):
                    model(prompts(seed=3))
                handle.remove()
            model(prompts(seed=3))
            session.turn()
            answers.append(session.states | dict(memories.named_buffers()))
    assert all(b.any() for n, b in answers[0].items() if "slow" in n)
    assert same_bits(*answers)


def test_a_switch_saves_and_loads_and_after_an_error_the_users_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    model, memories = remembering()
    store, tokens = DictStore(), prompts(rows=1)
    with memories.session("bob", store):
        model(tokens.flip(1))
    bob = copy.deepcopy(store.entries)
    with memories.session("ada", store) as session:
        model(tokens)
        session.switch("bob")
        assert session.users == ("bob",)
        assert all(same_bits(session.states[n], bob[entry("bob", n)]) for n in memories)
        ada = store.entries[entry("ada", "model.layers.0")]
        assert ada.segment is None
        assert ada.trace.any()
        with monkeypatch.context() as patch:
            patch.setattr(store, "load", fail)
            with pytest.raises(ZeroDivisionError):
                session.switch(["ada", "cy"])
        assert session.users == ("bob",)
        assert len(session.states["model.layers.0"]) == 1
        with pytest.raises(ValueError, match="only once"):
            session.switch(["ada", "ada"])
    with memories.session() as session, pytest.raises(ValueError, match="rows of no user"):
        session.switch("ada")


def test_a_turn_is_taken_back_by_replacing_the_states() -> None:
    (model, memories), tokens = remembering(), prompts()
    for users in (None, USERS):
        with memories.session(users) as session:
            blank = session.states
            model(tokens.flip(1))
            session.replace(blank)
            model(tokens)
            first = session.states
            model(tokens.flip(1))
            session.replace(first)
            got = model(tokens).logits
        with memories.session():
            model(tokens)
            assert torch.equal(model(tokens).logits, got)


def test_a_lesioned_bank_reads_as_blank_and_is_written_as_ever() -> None:
    model = make()
    memories = trained(attach(model, layers=[-1], config=CONFIG))
    (layer,) = memories
    first, second, third = (prompts(seed=seed) for seed in (3, 4, 5))

    def listen(*lesions: tuple[str | int, ...]) -> tuple[Tensor, MemoryState]:
        store = DictStore()
        with memories.session(USERS, store) as session:
            model(first)
            session.lesion(*lesions[0])
            model(second)
            session.lesion(*lesions[1])
            logits = model(third).logits
            session.save()
            kept = MemoryState.stack([store.entries[entry(user, layer)] for user in USERS])
            assert same_bits(kept, session.states[layer])
        return logits, kept

    whole, kept = listen((), ())
    some = [(("left",), ("left",)), (("right", 0), ()), ((), (1,)), ((0,), ("left", "right"))]
    for lesions in some:
        logits, after = listen(*lesions)
        assert same_bits(after, kept)  # nothing that anybody saves is lesioned
        assert torch.equal(logits, whole) == (not lesions[-1])

    # A reader of its own: the memory before the last turn, without its left bank.
    with memories.session(USERS) as session:
        model(first)
        model(second)
        session.turn()
        session.replace({n: reset_banks(s, ["left"]) for n, s in session.states.items()})
        expected = model(third).logits
    assert torch.equal(listen(("right",), ("left",))[0], expected)


def test_a_lesion_holds_inside_a_turn_and_is_named() -> None:
    (model, memories), tokens = remembering(), prompts()
    with memories.session(USERS) as session:
        model(prompts(seed=3))
        session.lesion("left", 0)
        assert session.lesioned == ("left",)
        before = session.states
        at_once = model(tokens).logits
        session.replace(before)
        first = model(tokens[:, :3])
        last = model(tokens[:, 3:], past_key_values=first.past_key_values).logits
        assert_near(torch.cat([first.logits, last], 1), at_once, SINGLE)
        with pytest.raises(ValueError, match="it may be 0, 1, left, right"):
            session.lesion("middle")
        assert session.lesioned == ("left",)
        session.lesion()
        assert session.lesioned == ()


def test_mistakes_in_a_session_are_named() -> None:
    (model, memories), tokens = remembering(), prompts()
    with memories.session(USERS) as session:
        with pytest.raises(RuntimeError, match="a session inside a session"), memories.session():
            pass
        with pytest.raises(ValueError, match="2 rows in a session of 3"):
            model(tokens[:2])
        model(tokens)
        with pytest.raises(RuntimeError, match="outside a call of the model"):
            model.model.layers[0](torch.randn(3, 1, 32), position_embeddings=rope(model))
        with pytest.raises(ValueError, match="6 rows in a session of 3"):
            model(tokens.repeat(2, 1))
        with pytest.raises(ValueError, match="cannot tell which tokens exist"):
            model(tokens, attention_mask=torch.zeros(3, 1, 7, 7))
        states = session.states
        narrow = {n: MemoryState(trace=s.trace[..., :4]) for n, s in states.items()}
        for wrong, message in (
            ({}, "there are memories behind"),
            ({"elsewhere": states["model.layers.0"]}, "there are memories behind"),
            ({n: s[:2] for n, s in states.items()}, "one per user"),
            (narrow, "(bank, slot, width)"),
        ):
            with pytest.raises(ValueError, match=re.escape(message)):
                session.replace(wrong)
        assert same_bits(session.states, states)
    for users, message in (([], "at least one"), (["ada", "ada"], "only once")):
        with pytest.raises(ValueError, match=message):
            memories.session(users)
    with pytest.raises(ValueError, match="a store but no user"):
        memories.session(store=DictStore())
    pieces = torch.distributed.ProcessGroup(0, 2)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match="each process would save the same memories"):
        memories.session("ada", DictStore(), sequence_group=pieces)
    shared = attach(make(), [0, 1], CONFIG, shared=True)
    with pytest.raises(ValueError, match="is not added up over processes"):
        shared.session(sequence_group=pieces)
    with memories.session("ada", sequence_group=pieces), pytest.raises(ValueError, match="none has its end"):
        model.generate(tokens[:1], max_new_tokens=2)


def rope(model: Any) -> Any:
    return model.model.rotary_emb(torch.randn(3, 1, 32), torch.zeros(3, 1, dtype=torch.long))


def test_users_who_cannot_be_saved_are_named_and_the_others_are_saved(tmp_path: Path) -> None:
    (model, memories), store = remembering(), MemoryStore(tmp_path)
    other = memories["model.layers.0"]
    state = replace(other.blank(1), trace=torch.ones_like(other.blank(1).trace))
    failing = pytest.raises(SessionSaveError, match=r"1 of 3 users .*'bob'")
    with failing as raised, memories.session(USERS, store):
        model(prompts())
        store.save_layers("bob", {"model.layers.0": state}, {"model.layers.0": other})
    assert isinstance(raised.value.failed["bob"], ConflictError)
    assert store.users() == sorted(USERS)
    assert torch.equal(store.load_layers("bob", {"model.layers.0": other})["model.layers.0"].trace, state.trace)
    with memories.session(["ada", "cy"], store) as session:
        assert all(state.trace.any() for state in session.states.values())


@pytest.mark.parametrize("how", ["error", "merge", "overwrite"])
def test_two_sessions_of_one_user_lose_nothing_in_silence(how: Any, tmp_path: Path) -> None:
    (model, memories), store = remembering(), MemoryStore(tmp_path)
    layer = memories["model.layers.0"]

    def told(seed: int) -> MemoryState:
        with memories.session("ada") as session:
            model(prompts(1, seed=seed))
            session.turn()
            return session.states["model.layers.0"]

    first = memories.session("ada", store, on_conflict=how)
    with pytest.raises(ConflictError, match="'ada'") if how == "error" else nullcontext(), first:
        model(prompts(1, seed=3))
        with ThreadPoolExecutor(1) as pool:

            def meanwhile() -> None:
                with memories.session("ada", store):
                    model(prompts(1, seed=4))

            pool.submit(meanwhile).result()
        if how != "error":
            first.save()
            first.save()  # what was merged is what goes on, and no conflict of its own
    ours, theirs = told(3), told(4)
    wanted = {"error": theirs, "merge": merge(theirs, ours), "overwrite": ours}[how]
    assert torch.equal(store.load_layers("ada", {"model.layers.0": layer})["model.layers.0"].trace, wanted.trace)
