"""What every store owes: each gets their own back, nobody's update is lost, whoever is forgotten is gone."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cases import build_memory, fill
from tests.laws import assert_same_bits, assert_same_bits_of
from tests.shapes import unchecked

from callosal import ConflictError, MemoryState, MemoryStore, merge, save_memory
from callosal.memory import MemoryFileError
from callosal.memory.editing import fork, reset_banks
from callosal.stores import OnConflict, Store

MEMORY, CARRIES = build_memory(), build_memory(seed=1, carry=0.5)
LAYERS = {"h.0": MEMORY, "h.1": CARRIES}
ROWS, CARRIED = fill(MEMORY, (4, 5)).state, fill(CARRIES, (4, 5)).state
HEARD = fill(MEMORY, (4, 5)).hidden
# Some would lead out of a folder, some are no file's name, some are alike to a careless reader or mean something.
STRANGE = ["", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "~", "%2E%2E", "-rf *", "a*", "[a]", "a?"]
STRANGE += ["A", "a", "\xe4", "a\u0308", "CON", "nul.txt", "None", "with\0null", "\n", "@", "a@", "@a", "a@b@c"]
STRANGE += ["ada@example.org", "ada@h.0", "example.org", "x" * 10_000, "x" * 9_999]
STRANGE += ["\ud800", "\ud83d\ude00", "\N{GRINNING FACE}"]


def labelled(label: float, like: MemoryState = ROWS) -> MemoryState:
    return MemoryState(trace=torch.full_like(like.trace[:1], label))


def add(state: MemoryState, number: float = 1.0) -> MemoryState:
    return replace(state, trace=state.trace + number)


def two(row: int = 0) -> dict[str, MemoryState]:
    return {"h.0": ROWS[row], "h.1": CARRIED[row]}


def together(*works: Callable[[], Any]) -> list[Any]:
    """Run functions in threads of their own and raise what any of them raises."""
    with ThreadPoolExecutor(len(works)) as threads:
        return [done.result() for done in [threads.submit(work) for work in works]]


# Users and layers.


def test_an_unknown_user_is_blank_and_leaves_nothing_behind(store: Store) -> None:
    state = store.load("nobody", MEMORY)
    assert not state.trace.any()
    assert state.version is not None
    assert state.version.tolist() == [0]
    assert store.users() == store.forget("nobody") == []
    assert store.layers("nobody") == {}


def test_each_gets_their_own_back(store: Store) -> None:
    for row, user in enumerate("abcd"):
        store.save(user, ROWS[row], MEMORY)
    for row, user in enumerate("abcd"):
        assert_same_bits(store.load(user, MEMORY).trace, ROWS[row].trace)
    assert store.users() == list("abcd")
    assert store.forget("b") == [""]
    assert store.users() == list("acd")
    assert not store.load("b", MEMORY).trace.any()


@unchecked()
def test_any_string_is_an_id_and_nothing_else_is(store: Store) -> None:
    for label, user in enumerate(STRANGE):
        store.save(user, labelled(label + 1.0), MEMORY)
    for label, user in enumerate(STRANGE):
        assert (store.load(user, MEMORY).trace == label + 1.0).all(), ascii(user)[:40]
    assert store.users() == sorted(STRANGE)
    layers = {"h.0": labelled(1.0)}
    for user in (7, b"ada", None, Path("ada")):
        wrong: Any = user
        for use in (
            partial(store.load, wrong, MEMORY),
            partial(store.save, wrong, ROWS[0], MEMORY),
            partial(store.load_layers, wrong, LAYERS),
            partial(store.save_layers, wrong, layers, LAYERS),
            *(partial(method, wrong) for method in (store.layers, store.forget, store.writing)),
            partial(store.export_user, wrong, "nowhere"),
        ):
            with pytest.raises(TypeError, match=r"called by a string, and .*str\(id\)"):
                use()
    assert store.users() == sorted(STRANGE)


def test_the_layers_of_a_user_are_one_value(store: Store) -> None:
    saved = store.save_layers("ada", two(), LAYERS)
    store.save("ada", ROWS[1], MEMORY)  # of the module itself, behind no layer
    loaded = store.load_layers("ada", LAYERS)
    for layer, state in two().items():
        assert_same_bits_of(loaded[layer], saved[layer])
        assert_same_bits_of(replace(loaded[layer], version=None), state)
    assert_same_bits(store.load("ada", MEMORY).trace, ROWS[1].trace)
    # By the name of earlier versions, which is nobody's.
    named = store.load("ada@h.0", MEMORY)
    assert_same_bits_of(named, loaded["h.0"])
    store.save("ada@h.0", add(named), MEMORY)
    assert_same_bits(store.load_layers("ada", LAYERS)["h.0"].trace, add(named).trace)
    assert store.users() == ["ada"]
    assert sorted(store.layers("ada")) == ["", "h.0", "h.1"]
    assert store.forget("ada") == ["h.0", "h.1", ""]
    assert store.users() == []


def test_all_layers_are_saved_or_none(store: Store) -> None:
    saved = store.save_layers("ada", two(), LAYERS)
    store.save("ada@h.1", add(saved["h.1"]), CARRIES)
    wrong = torch.full_like(ROWS.trace[:1], torch.nan)
    opened = CARRIES(torch.zeros(1, 2, 4).double(), saved["h.1"], commit=False)[1]
    for second, kind, message in (
        (saved["h.1"], ConflictError, r"user 'ada' behind layer 'h.1'.*somebody else"),
        (MemoryState(trace=wrong), MemoryFileError, "NaN"),
        (opened, MemoryFileError, "open segment"),
        (CARRIED, MemoryFileError, r"4 rows for one user.*state\[row\]"),
    ):
        with pytest.raises(kind, match=message):
            store.save_layers("ada", {"h.0": add(saved["h.0"]), "h.1": second}, LAYERS)
        assert_same_bits_of(store.load_layers("ada", LAYERS)["h.0"], saved["h.0"])
    with pytest.raises(ValueError, match=r"states of the layers \['h.9'\]"):
        store.save_layers("ada", {"h.9": ROWS[0]}, LAYERS)


def test_a_memory_of_another_model_is_refused(store: Store) -> None:
    store.save_layers("ada", {"h.0": ROWS[0]}, LAYERS)
    other, another = build_memory(seed=1), build_memory(gain=9.0)
    assert_same_bits(store.load_layers("ada", {"h.0": other}, strict=False)["h.0"].trace, ROWS[0].trace)
    for memory, message in ((other, "layer 'h.0' was written by other weights"), (another, "another configuration")):
        with pytest.raises(MemoryFileError, match=message):
            store.load_layers("ada", {"h.0": memory})


# Versions.


@pytest.mark.parametrize(
    "change",
    [
        lambda state: MEMORY(HEARD[:1], state)[1],
        lambda state: MEMORY.commit(MEMORY(HEARD[:1], state, commit=False)[1]),
        lambda state: MEMORY(HEARD[:1].expand(1, 2, 5, 4), state)[1].detach().clone(),
        lambda state: MemoryState.stack([add(state), labelled(0.0)])[[1, 0]][1],
        lambda state: add(state.to(torch.float32).to("cpu", torch.float64)),
        lambda state: add(state.reset([0])),
        lambda state: fork(reset_banks(state, ["left"]), 3)[2],
    ],
    ids=["call", "commit", "segments", "rows", "cast", "reset", "fork"],
)
def test_a_state_remembers_what_it_was_loaded_from(change: Callable[[MemoryState], MemoryState], store: Store) -> None:
    store.save("ada", ROWS[0], MEMORY)
    state = change(store.load("ada", MEMORY))
    state = store.save("ada", state, MEMORY)
    assert_same_bits_of(store.load("ada", MEMORY), state)
    store.save("ada", change(state), MEMORY)


@unchecked()
def test_a_newer_version_is_not_written_over_unless_asked(store: Store) -> None:
    blank = store.load("ada", MEMORY)
    first = store.save("ada", ROWS[0], MEMORY)
    for stale, said in ((add(blank), "not loaded from it"), (add(ROWS[1]), "not loaded from it")):
        with pytest.raises(ConflictError, match=f"nothing was saved: the memory of user 'ada'.*{said}"):
            store.save("ada", stale, MEMORY)
    second = store.save("ada", add(first), MEMORY)
    with pytest.raises(ConflictError, match=r"saved by somebody else since.*load it again.*on_conflict"):
        store.save("ada", add(first, 2.0), MEMORY)
    assert_same_bits_of(store.load("ada", MEMORY), second)
    with pytest.raises(ConflictError):  # though it holds the same: two have added something
        store.save("ada", add(first), MEMORY)

    merged = store.save("ada", add(first, 2.0), MEMORY, on_conflict="merge")
    assert_same_bits_of(store.load("ada", MEMORY), merged)
    assert_same_bits(merged.trace, merge(second, add(first, 2.0)).trace)
    over = store.save("ada", add(first, 3.0), MEMORY, on_conflict="overwrite")
    assert_same_bits_of(store.load("ada", MEMORY), over)
    assert_same_bits(over.trace, add(first, 3.0).trace)
    with pytest.raises(ValueError, match="'newest'; it may be one of 'error', 'overwrite', 'merge'"):
        store.save("ada", over, MEMORY, on_conflict="newest")  # pyright: ignore[reportArgumentType]
    store.on_conflict = "overwrite"
    store.save("ada", ROWS[2], MEMORY)


def test_memories_of_two_models_are_not_merged(store: Store) -> None:
    store.save("ada", ROWS[0], MEMORY)
    with pytest.raises(ConflictError, match="other weights"):
        store.save("ada", ROWS[1], build_memory(seed=1), on_conflict="merge")


@pytest.mark.parametrize("how", ["error", "overwrite", "merge"])
def test_nobody_who_was_forgotten_comes_back(how: OnConflict, store: Store) -> None:
    state = store.save("ada", ROWS[0], MEMORY)
    store.forget("ada")
    with pytest.raises(ConflictError, match="was forgotten since"):
        store.save("ada", add(state), MEMORY, on_conflict=how)
    assert store.users() == []
    store.save("ada", replace(state, version=None), MEMORY)


# Out and in.


def test_a_user_goes_from_one_store_into_another(store: Store, tmp_path: Path) -> None:
    store.save_layers("ada@example.org", two(), LAYERS, notes="kept")
    path, other = tmp_path / "ada", MemoryStore(tmp_path / "other")
    assert store.export_user("ada@example.org", path) == ["h.0", "h.1"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert other.import_user(path) == "ada@example.org"
    assert other.import_user(path, "bob") == "bob"
    assert other.users() == ["ada@example.org", "bob"]
    for user in other.users():
        for layer, state in store.load_layers("ada@example.org", LAYERS).items():
            assert_same_bits_of(replace(other.load_layers(user, LAYERS)[layer], version=state.version), state)
        assert {one.header.notes for one in other.layers(user).values()} == {"kept"}

    store.save("ada@example.org@h.0", labelled(9.0), MEMORY, on_conflict="overwrite")
    with pytest.raises(ConflictError, match="is there already"):
        store.import_user(path)
    store.import_user(path, on_conflict="overwrite")
    assert_same_bits(store.load("ada@example.org@h.0", MEMORY).trace, ROWS[0].trace)
    save_memory(ROWS[:1], tmp_path / "one", MEMORY)
    save_memory(ROWS, tmp_path / "four", MEMORY)
    for use, message in (
        (partial(store.export_user, "ada@example.org", path), "there is a file"),
        (partial(store.export_user, "eve", tmp_path / "eve"), "does not know user 'eve'"),
        (partial(store.import_user, tmp_path / "one"), "of no user"),
        (partial(store.import_user, tmp_path / "four", "eve"), "4 rows"),
    ):
        with pytest.raises(MemoryFileError, match=message):
            use()
    assert store.import_user(tmp_path / "one", "eve") == "eve"
    assert_same_bits(store.load("eve", MEMORY).trace, ROWS[0].trace)


# Several at once.


def test_readers_see_the_old_memory_or_the_new_one_of_all_layers(store: Store) -> None:
    memories = {"h.0": MEMORY, "h.1": MEMORY}

    def both(label: float) -> dict[str, MemoryState]:
        return dict.fromkeys(memories, labelled(label))

    store.save_layers("a", both(0.0), memories)
    done = threading.Event()
    seen: set[float] = set()

    def write() -> None:
        try:
            for label in range(1, 40):
                store.save_layers("a", both(float(label)), memories, on_conflict="overwrite")
        finally:
            done.set()

    def read() -> None:
        last = 0.0
        while not done.is_set():
            first, second = (state.trace for state in store.load_layers("a", memories).values())
            label = first[0, 0, 0, 0].item()
            assert (first == label).all()
            assert (second == label).all()
            assert label >= last
            seen.add(label)
            last = label

    together(write, read, read)
    assert len(seen) > 2
    assert (store.load("a@h.1", MEMORY).trace == 39.0).all()


def test_of_writers_that_ask_again_nobody_loses_anything(store: Store) -> None:
    """By versions alone: none of them holds a lock."""

    def count() -> int:
        conflicts = 0
        for _ in range(15):
            while True:
                try:
                    store.save("a", add(store.load("a", MEMORY)), MEMORY)
                    break
                except ConflictError:
                    conflicts += 1
        return conflicts

    conflicts = sum(together(count, count, count))
    assert (store.load("a", MEMORY).trace == 45.0).all()
    assert conflicts > 0


def test_writers_that_hold_the_lock_wait_for_each_other(store: Store) -> None:
    def count() -> None:
        for _ in range(10):
            with store.writing("a"):
                store.save("a", add(store.load("a", MEMORY)), MEMORY)

    together(count, count, count)
    assert (store.load("a", MEMORY).trace == 30.0).all()


def test_tasks_of_one_thread_wait_for_each_other_or_are_told(store: Store) -> None:
    inside = 0

    async def count(*, patient: bool) -> None:
        nonlocal inside
        writing = store.writing("a")
        async with writing if patient else Both(writing):
            inside += 1
            assert inside == 1
            state = store.load("a", MEMORY)
            await asyncio.sleep(0.02)
            with store.writing("a"):  # again, by the one who is in it
                state = store.save("a", add(state), MEMORY)
            store.save("a", add(state), MEMORY)
            inside -= 1

    async def all_of(*, patient: bool) -> list[Any]:
        return await asyncio.gather(*(count(patient=patient) for _ in range(4)), return_exceptions=True)

    assert asyncio.run(all_of(patient=True)) == [None] * 4
    assert (store.load("a", MEMORY).trace == 8.0).all()
    told = asyncio.run(all_of(patient=False))
    assert told[0] is None
    assert all(isinstance(one, TimeoutError) and "another task of this thread" in str(one) for one in told[1:])
    assert (store.load("a", MEMORY).trace == 10.0).all()

    async def beside() -> None:
        async with store.writing("a"):
            await asyncio.create_task(save())

    async def save() -> None:
        store.save("b", labelled(1.0), MEMORY)
        with pytest.raises(TimeoutError, match="another task of this thread"):
            store.save("a", labelled(1.0), MEMORY, on_conflict="overwrite")

    asyncio.run(beside())


class Both:
    """What is entered by ``with``, as if by ``async with``."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    async def __aenter__(self) -> Any:
        return self.plain.__enter__()

    async def __aexit__(self, *error: Any) -> None:
        self.plain.__exit__(*error)


def test_a_writer_that_waits_too_long_gets_an_error(store: Store) -> None:
    def wait() -> None:
        with pytest.raises(TimeoutError, match=r"user 'a' for 0\.1 seconds"), store.writing("a", timeout_seconds=0.1):
            pass
        # Another user's writer and any reader do not wait.
        store.save("b", labelled(2.0), MEMORY)
        assert (store.load("a", MEMORY).trace == 1.0).all()

    state = store.save("a", labelled(1.0), MEMORY)
    with store.writing("a"):
        together(wait)
    with store.writing("a", timeout_seconds=0.1):
        state = store.save("a", add(state, 2.0), MEMORY)
    assert (store.load("a", MEMORY).trace == 3.0).all()


def test_a_save_waits_for_whoever_holds_the_lock(store: Store) -> None:
    entered, seen = threading.Event(), []

    def hold() -> None:
        with store.writing("a"):
            entered.set()
            state = store.save("a", labelled(1.0), MEMORY)
            seen.append(store.save("a", add(state), MEMORY))

    def save() -> None:
        entered.wait()
        store.save("a", labelled(5.0), MEMORY, on_conflict="overwrite")

    together(hold, save)
    assert len(seen) == 1
    assert (store.load("a", MEMORY).trace == 5.0).all()


def test_the_lock_ends_with_an_error_inside(store: Store) -> None:
    with pytest.raises(KeyError), store.writing("a"):
        raise KeyError
    together(lambda: store.save("a", ROWS[0], MEMORY))
