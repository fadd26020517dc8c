"""A store of many users: any id is safe, nobody waits to read, one writes, a kill loses nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import build_memory, fill
from tests.laws import assert_same_bits

from callosal import MemoryState, MemoryStore
from callosal.memory import MemoryFileError
from callosal.memory.disk.files import reset_file

MEMORY = build_memory()
ROWS = fill(MEMORY, (4, 5)).state
# Some would lead out of the folder, some are no file's name, some are alike to a careless reader.
STRANGE = ["", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "~", "%2E%2E", "-rf *"]
STRANGE += ["A", "a", "\xe4", "a\u0308", "CON", "nul.txt", "None", "with\0null", "\n"]
STRANGE += ["x" * 10_000, "x" * 9_999, "\ud800", "\ud83d\ude00", "\N{GRINNING FACE}"]


def labelled(label: float) -> MemoryState:
    return MemoryState(trace=torch.full_like(ROWS.trace[:1], label))


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "store")


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def together(*works: Callable[[], None]) -> None:
    """Run functions in threads of their own and raise what any of them raises."""
    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(work) for work in works]:
            done.result()


# Users.


def test_an_unknown_user_is_blank_and_leaves_nothing_behind(store: MemoryStore) -> None:
    assert not store.load("nobody", MEMORY).trace.any()
    assert store.users() == []
    assert not store.folder.exists()
    assert store.forget("nobody") is False


def test_each_gets_their_own_back(store: MemoryStore) -> None:
    for row, user in enumerate("abcd"):
        store.save(user, ROWS[row], MEMORY)
    for row, user in enumerate("abcd"):
        assert_same_bits(store.load(user, MEMORY).trace, ROWS[row].trace)
    assert sorted(store.users()) == list("abcd")
    assert store.forget("b") is True
    assert sorted(store.users()) == list("acd")
    assert not store.load("b", MEMORY).trace.any()
    # Another object on the same folder sees the same.
    assert_same_bits(MemoryStore(store.folder).load("c", MEMORY).trace, ROWS[2].trace)


def test_any_string_is_an_id(store: MemoryStore, tmp_path: Path) -> None:
    for label, user in enumerate(STRANGE):
        store.save(user, labelled(label + 1.0), MEMORY)
    for label, user in enumerate(STRANGE):
        assert (store.load(user, MEMORY).trace == label + 1.0).all(), ascii(user)[:40]
    assert sorted(store.users()) == sorted(STRANGE)
    # Nothing lies outside the folder, and every name in it is safe anywhere.
    assert list(tmp_path.iterdir()) == [store.folder]
    for path in files_of(store.folder):
        shard, name = path.relative_to(store.folder).parts
        stem, _, suffix = name.partition(".")
        assert shard == stem[:2]
        assert len(stem) == 64
        assert set(stem) <= set("0123456789abcdef")
        assert suffix in {"safetensors", "lock"}


@given(users=st.lists(st.text(st.characters(), max_size=20), unique=True, max_size=6))
def test_no_two_ids_share_a_file(users: list[str]) -> None:
    store = MemoryStore("somewhere")
    paths = [store.path(user) for user in users]
    assert len(set(paths)) == len(users)
    for path in paths:
        assert path.resolve().is_relative_to(Path("somewhere").resolve())


def test_a_state_that_cannot_be_saved_leaves_the_old_one(store: MemoryStore) -> None:
    store.save("a", ROWS[0], MEMORY)
    opened = MEMORY(torch.zeros(1, 2, 4).double(), ROWS[1], commit=False)[1]
    for state, message in ((opened, "open segment"), (ROWS, r"4 rows for one user.*state\[row\]")):
        with pytest.raises(MemoryFileError, match=message):
            store.save("a", state, MEMORY)
    assert_same_bits(store.load("a", MEMORY).trace, ROWS[0].trace)


# Damage.


@pytest.fixture
def two(store: MemoryStore) -> MemoryStore:
    """The store with two users, a and b."""
    for row, user in enumerate("ab"):
        store.save(user, ROWS[row], MEMORY)
    return store


def test_a_damaged_file_is_said_and_hurts_nobody_else(two: MemoryStore) -> None:
    path = two.path("a")
    path.write_bytes(path.read_bytes()[:-9])
    for read in (partial(two.load, "a", MEMORY), two.users):
        with pytest.raises(MemoryFileError, match="truncated"):
            read()
    assert_same_bits(two.load("b", MEMORY).trace, ROWS[1].trace)
    two.save("a", ROWS[2], MEMORY)
    assert_same_bits(two.load("a", MEMORY).trace, ROWS[2].trace)


def test_a_file_that_belongs_elsewhere_is_refused(two: MemoryStore) -> None:
    other, another = build_memory(seed=1), build_memory(gain=9.0)
    assert_same_bits(two.load("a", other, strict=False).trace, ROWS[0].trace)
    two.path("b").write_bytes(two.path("a").read_bytes())
    for read, message in (
        (partial(two.load, "a", other), "other weights"),
        (partial(two.load, "a", another), "another configuration"),
        (partial(two.load, "b", MEMORY), "user 'b' belongs and says that it is of user 'a'"),
        (two.users, "belongs elsewhere"),
    ):
        with pytest.raises(MemoryFileError, match=message):
            read()


def test_a_reset_file_stays_its_user_s(store: MemoryStore) -> None:
    store.save("a", ROWS[0], MEMORY)
    reset_file(store.path("a"), ["left"])
    state = store.load("a", MEMORY)
    assert not state.trace[:, 0].any()
    assert_same_bits(state.trace[:, 1], ROWS[0].trace[:, 1])


def test_what_a_kill_left_behind_is_written_over(store: MemoryStore) -> None:
    store.save("a", ROWS[0], MEMORY)
    left = store.path("a").with_suffix(".unfinished")
    left.write_bytes(b"half a memory")
    assert store.users() == ["a"]
    assert_same_bits(store.load("a", MEMORY).trace, ROWS[0].trace)
    store.save("a", ROWS[1], MEMORY)
    assert not left.exists()
    left.write_bytes(b"half a memory")
    store.forget("a")
    assert not left.exists()


# Several at once.


def test_readers_see_the_old_memory_or_the_new_one(store: MemoryStore) -> None:
    store.save("a", labelled(0.0), MEMORY)
    done = threading.Event()
    seen: set[float] = set()

    def write() -> None:
        try:
            for label in range(1, 40):
                store.save("a", labelled(float(label)), MEMORY)
        finally:
            done.set()

    def read() -> None:
        last = 0.0
        while not done.is_set():
            trace = MemoryStore(store.folder).load("a", MEMORY).trace
            label = trace[0, 0, 0, 0].item()
            assert (trace == label).all()
            assert label >= last
            seen.add(label)
            last = label

    together(write, read, read)
    assert len(seen) > 2
    assert (store.load("a", MEMORY).trace == 39.0).all()


def test_two_writers_of_one_user_wait_for_each_other(store: MemoryStore) -> None:
    """Nothing that either of them added is lost."""

    def add() -> None:
        ours = MemoryStore(store.folder)
        for _ in range(15):
            with ours.writing("a"):
                state = ours.load("a", MEMORY)
                ours.save("a", replace(state, trace=state.trace + 1.0), MEMORY)

    together(add, add, add)
    assert (store.load("a", MEMORY).trace == 45.0).all()


def test_a_writer_that_waits_too_long_gets_an_error(store: MemoryStore) -> None:
    def wait() -> None:
        with (
            pytest.raises(TimeoutError, match=r"user 'a' for 0\.1 seconds"),
            MemoryStore(store.folder).writing("a", timeout_seconds=0.1),
        ):
            pass
        # Another user's writer and any reader do not wait.
        store.save("b", labelled(2.0), MEMORY)
        assert (store.load("a", MEMORY).trace == 1.0).all()

    store.save("a", labelled(1.0), MEMORY)
    with store.writing("a"):
        together(wait)
    with store.writing("a", timeout_seconds=0.1):
        store.save("a", labelled(3.0), MEMORY)
    assert (store.load("a", MEMORY).trace == 3.0).all()


def test_the_lock_ends_with_an_error_inside(store: MemoryStore) -> None:
    with pytest.raises(KeyError), store.writing("a"):
        raise KeyError
    together(lambda: store.save("a", ROWS[0], MEMORY))
