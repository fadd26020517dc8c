"""Who a call belongs to: threads, tasks, streams and generators each to their own session, or to none."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from tests.hosts.hosts import DictStore, make, prompts, remembering, same_bits
from transformers import TextIteratorStreamer
from transformers.generation.streamers import BaseStreamer

from callosal import Memories
from callosal.hosts.hooks import OutsideSessionWarning

TIMEOUT = 60


def in_a_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(TIMEOUT)


def told(memories: Memories, seed: int) -> Any:
    """What one user's memory is after her text, alone."""
    model: Any = memories.model
    with memories.session() as session:
        model(prompts(1, seed=seed))
        model.generate(prompts(1, seed=seed + 1), max_new_tokens=3, do_sample=False)
        session.turn()
        return session.states


def test_a_thread_without_a_session_gets_the_base_model_and_leaves_ada_alone() -> None:
    base = make()
    model, memories = remembering()
    with memories.session() as session:
        model(prompts(1, seed=3))
        with pytest.warns(OutsideSessionWarning, match=r"session\.bind\(function\)"):
            logits = in_a_thread(lambda: model(prompts(2)).logits)
        assert torch.equal(logits, base(prompts(2)).logits)
        reply = in_a_thread(lambda: model.generate(prompts(2), max_new_tokens=3, do_sample=False))
        assert torch.equal(reply, base.generate(prompts(2), max_new_tokens=3, do_sample=False))
        assert in_a_thread(lambda: memories.active) is None
        model.generate(prompts(1, seed=4), max_new_tokens=3, do_sample=False)
        session.turn()
        assert same_bits(session.states, told(remembering()[1], 3))


def test_threads_serve_users_at_once_each_in_a_session_of_its_own() -> None:
    (model, memories), store, users = remembering(), DictStore(), range(8)
    turn = threading.Barrier(len(users), timeout=TIMEOUT)

    def serve(number: int) -> None:
        with memories.session(str(number), store):
            turn.wait()
            model(prompts(1, seed=number))
            turn.wait()
            model.generate(prompts(1, seed=number + 1), max_new_tokens=3, do_sample=False)

    with ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(serve, users))
    assert not memories.in_use
    for number in users:
        for name, state in told(memories, number).items():
            assert same_bits(state, store.entries[f"{number}@{name}"])


def test_tasks_serve_users_at_once_and_to_thread_hands_the_session_on() -> None:
    (model, memories), store = remembering(), DictStore()

    async def serve(number: int) -> None:
        with memories.session(str(number), store) as session:
            assert memories.active is session
            await asyncio.sleep(0)
            model(prompts(1, seed=number))
            await asyncio.sleep(0.01 * (number % 2))
            await asyncio.to_thread(model.generate, prompts(1, seed=number + 1), max_new_tokens=3, do_sample=False)

    async def main() -> None:
        await asyncio.gather(*map(serve, range(4)))

    asyncio.run(main())
    for number in range(4):
        for name, state in told(memories, number).items():
            assert same_bits(state, store.entries[f"{number}@{name}"])


def test_a_stream_is_part_of_the_session_it_was_bound_to() -> None:
    model, memories = remembering()

    class Words:
        def decode(self, tokens: Any, **_: object) -> str:
            return "".join(f"{int(t)} " for t in tokens)

    expected = told(memories, 3)
    for hand_on in ("bind", "context"):
        with memories.session() as session:
            model(prompts(1, seed=3))
            streamer = TextIteratorStreamer(Words(), timeout=TIMEOUT)  # type: ignore[arg-type]
            settings: Any = {"max_new_tokens": 3, "do_sample": False, "streamer": streamer}
            run = session.bind(model.generate)
            if hand_on == "context":
                run = partial(contextvars.copy_context().run, model.generate)
            thread = threading.Thread(target=run, args=(prompts(1, seed=4),), kwargs=settings)
            thread.start()
            assert len("".join(streamer).split()) == 7 + 3
        # The end of the session waits for the thread, which has more to do after its last word.
        assert same_bits({n: memories[n].commit(s) for n, s in session.states.items()}, expected)
        thread.join()
    with pytest.raises(RuntimeError, match="bound to has ended"):
        session.bind(model.generate)(prompts(1))


class Gate(BaseStreamer):
    """Lets a generation come to its third word and no further before it is told to."""

    def __init__(self) -> None:
        self.words, self.seen, self.go = 0, threading.Event(), threading.Event()

    def put(self, value: Any) -> None:  # noqa: ARG002
        self.words += 1
        if self.words == 3:
            self.seen.set()
            assert self.go.wait(TIMEOUT)

    def end(self) -> None:
        self.words = -1


def test_a_stream_whose_client_left_stops_and_writes_nothing() -> None:
    (model, memories), gate, errors, store = remembering(), Gate(), [], DictStore()

    def generate(session: Any) -> None:
        try:
            session.bind(model.generate)(prompts(1, seed=4), max_new_tokens=9, do_sample=False, streamer=gate)
        except RuntimeError as error:
            errors.append(str(error))

    def stream() -> Generator[threading.Thread]:
        with memories.session("ada", store) as session:
            model(prompts(1, seed=3))
            thread = threading.Thread(target=generate, args=(session,))
            thread.start()
            assert gate.seen.wait(TIMEOUT)
            with pytest.raises(RuntimeError, match="another thread is calling the model"):
                model(prompts(1))
            yield thread

    client = stream()
    thread = next(client)
    client.close()
    with memories.session() as session:
        model(prompts(1, seed=5))
        gate.go.set()
        thread.join(TIMEOUT)
        model.generate(prompts(1, seed=6), max_new_tokens=3, do_sample=False)
        session.turn()
        assert same_bits(session.states, told(remembering()[1], 5))
    assert "nothing of the call is kept" in errors[0]
    assert gate.words == 3  # the next step found the session ended
    assert not store.entries
    assert not memories.in_use


def test_generators_that_take_turns_do_not_mix_users_up() -> None:
    (model, memories), store = remembering(warn_outside_session=False), DictStore()

    def stream(user: str) -> Generator[None]:
        with memories.session(user, store):
            yield
            model(prompts(1))
            yield

    ada, bob = stream("ada"), stream("bob")
    next(ada)
    with pytest.raises(RuntimeError, match="a session inside a session"):
        next(bob)
    list(ada)
    assert list(store.entries) == [f"ada@{n}" for n in memories]

    # A server that goes on with a generator in other threads, each in a context of its own.
    late = stream("cy")
    for _ in range(3):
        in_a_thread(lambda: next(late, None))
    assert not memories.in_use
    with memories.session():
        pass


def test_a_session_that_lost_its_block_can_be_closed() -> None:
    _, memories = remembering()
    memories.session().__enter__()
    with pytest.raises(RuntimeError, match=r"memories\.active\.close\(\)"), memories.session():
        pass
    active = memories.active
    assert active is not None
    active.close()
    assert memories.active is None
    with memories.session():
        pass


def test_a_session_that_cannot_load_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, memories), store = remembering(), DictStore()
    monkeypatch.setattr(store, "load", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), memories.session("ada", store):
        pass
    assert not memories.in_use


def test_sessions_of_two_models_go_side_by_side() -> None:
    (first, ours), (second, theirs) = remembering(), remembering("gpt2")
    with ours.session() as a, theirs.session() as b:
        first(prompts(1))
        second(prompts(1))
        assert ours.active is a
        assert theirs.active is b
        assert set(a.states) == set(ours)
        assert set(b.states) == set(theirs)
