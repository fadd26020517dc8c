"""A store in a folder: names that are safe, damage that stays with one user, nothing left, older stores read."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.laws import assert_same_bits, assert_same_bits_of
from tests.stores.test_stores import LAYERS, MEMORY, ROWS, STRANGE, add, together, two

from callosal import ConflictError, LateralMemory, MemoryState, MemoryStore
from callosal.memory import MemoryFileError
from callosal.memory.disk.files import reset_file
from callosal.memory.disk.format import pack
from callosal.memory.disk.storage import describe_state, tensors_of


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "store")


@pytest.fixture
def ab(store: MemoryStore) -> MemoryStore:
    """The store with two users, a and b."""
    for row, user in enumerate("ab"):
        store.save(user, ROWS[row], MEMORY)
    return store


def files_of(store: MemoryStore) -> set[Path]:
    return {path for path in store.folder.rglob("*") if not path.is_dir()}


@given(users=st.lists(st.text(st.characters(), max_size=20), unique=True, max_size=6))
def test_no_two_ids_share_a_file(users: list[str]) -> None:
    store = MemoryStore("somewhere")
    paths = [store.path(user) for user in users]
    assert len(set(paths)) == len(users)
    for path in paths:
        assert path.resolve().is_relative_to(Path("somewhere").resolve())


def test_every_name_is_safe_anywhere_and_every_file_private(store: MemoryStore, tmp_path: Path) -> None:
    for user in STRANGE:
        store.save(user, ROWS[0], MEMORY)
    assert list(tmp_path.iterdir()) == [store.folder]
    for path in files_of(store):
        shard, name = path.relative_to(store.folder).parts
        stem, _, suffix = name.partition(".")
        assert shard == stem[:2]
        assert len(stem) == 64
        assert set(stem) <= set("0123456789abcdef")
        assert suffix in {"safetensors", "lock"}
        assert path.stat().st_mode & 0o777 == 0o600


# Damage.


def test_a_damaged_file_is_said_and_hurts_nobody_else(ab: MemoryStore) -> None:
    path = ab.path("a")
    path.write_bytes(path.read_bytes()[:-9])
    for use in (partial(ab.load, "a", MEMORY), partial(ab.save, "a", ROWS[2], MEMORY), partial(ab.layers, "a")):
        with pytest.raises(MemoryFileError, match=f"{path} is truncated"):
            use()
    # Whose it is can still be read, so that it can be forgotten; without, it is named.
    assert ab.users() == ["a", "b"]
    path.write_bytes(b"half a memory")
    with pytest.warns(UserWarning, match=f"{path} is left out"):
        assert ab.users() == ["b"]
    assert_same_bits(ab.load("b", MEMORY).trace, ROWS[1].trace)
    ab.save("a", ROWS[2], MEMORY, on_conflict="overwrite")
    assert_same_bits(ab.load("a", MEMORY).trace, ROWS[2].trace)
    path.write_bytes(path.read_bytes()[:-9])
    assert ab.forget("a") == ["?"]
    assert not path.exists()


def test_a_file_that_belongs_elsewhere_is_refused(ab: MemoryStore) -> None:
    shutil.copy(ab.path("a"), ab.path("b"))
    for use in (partial(ab.load, "b", MEMORY), partial(ab.save, "b", ROWS[0], MEMORY)):
        with pytest.raises(MemoryFileError, match="user 'b' belongs and says that it is of user 'a'"):
            use()
    with pytest.warns(UserWarning, match="user 'a', which belongs elsewhere"):
        assert ab.users() == ["a"]


def test_a_reset_file_stays_its_user_s_and_is_another_version(store: MemoryStore) -> None:
    saved = store.save_layers("ada", two(), LAYERS)
    reset_file(store.path("ada"), ["left"])
    for layer, state in store.load_layers("ada", LAYERS).items():
        assert not state.trace[:, 0].any()
        assert_same_bits(state.trace[:, 1], saved[layer].trace[:, 1])
    with pytest.raises(ConflictError, match="somebody else"):
        store.save_layers("ada", saved, LAYERS)


# Nothing is left.


def test_what_a_kill_left_behind_is_written_over_or_forgotten(store: MemoryStore) -> None:
    state = store.save("a", ROWS[0], MEMORY)
    left = store.path("a").with_suffix(".unfinished")
    left.write_bytes(b"half a memory")
    assert store.users() == ["a"]
    assert_same_bits(store.load("a", MEMORY).trace, ROWS[0].trace)
    store.save("a", add(state), MEMORY)
    assert not left.exists()
    for user in "ab":  # b was killed while it was saved for the first time
        store.path(user).parent.mkdir(exist_ok=True)
        store.path(user).with_suffix(".unfinished").write_bytes(b"half a memory")
    assert store.forget("a") == [""]
    assert store.forget("b") == []
    assert files_of(store) == set()


def test_a_link_to_elsewhere_is_forgotten_with_what_it_points_to(store: MemoryStore, tmp_path: Path) -> None:
    store.save("a", ROWS[0], MEMORY)
    kept = store.path("a").rename(tmp_path / "elsewhere")
    store.path("a").symlink_to(kept)
    store.save("a", add(store.load("a", MEMORY)), MEMORY)
    assert store.path("a").is_symlink()
    assert store.forget("a") == [""]
    assert not kept.exists()
    assert files_of(store) == set()


def test_who_waits_while_another_is_forgotten_is_let_in_alone(store: MemoryStore) -> None:
    inside: list[int] = []

    def forget_and_save() -> None:
        for _ in range(20):
            with store.writing("a"):
                inside.append(1)
                assert len(inside) == 1
                store.save("a", store.load("a", MEMORY), MEMORY)
                store.forget("a")
                inside.pop()

    together(forget_and_save, forget_and_save, forget_and_save)
    assert files_of(store) == set()


# Stores of version 0.1.0: a file per user and layer.


def older(store: MemoryStore, entry: str, state: MemoryState, memory: LateralMemory = MEMORY) -> Path:
    described = describe_state(state, memory, user=entry)
    path = store.path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(described.header, tensors_of(described.state)))
    path.with_suffix(".lock").touch()
    return path


@pytest.fixture
def old(store: MemoryStore) -> MemoryStore:
    for user, row in (("ada", 0), ("ada@example.org", 1)):
        for layer, state in two(row).items():
            older(store, f"{user}@{layer}", state, LAYERS[layer])
    older(store, "ada", ROWS[2])
    older(store, "bob@163.com", ROWS[3])
    return store


def test_an_older_store_is_read_and_moves_on_with_the_next_save(old: MemoryStore) -> None:
    assert old.users() == ["ada", "ada@example.org", "bob@163.com"]
    for user, row in (("ada", 0), ("ada@example.org", 1)):
        for layer, state in old.load_layers(user, LAYERS).items():
            assert_same_bits_of(replace(state, version=None), two(row)[layer])
    assert_same_bits(old.load("ada@h.1", LAYERS["h.1"]).trace, two()["h.1"].trace)
    assert_same_bits(old.load("ada", MEMORY).trace, ROWS[2].trace)
    assert_same_bits(old.load("bob@163.com", MEMORY).trace, ROWS[3].trace)

    stale = old.load_layers("ada", LAYERS)
    old.save("ada@h.0", add(old.load("ada@h.0", MEMORY)), MEMORY)
    assert not old.path("ada@h.0").exists()
    with pytest.raises(ConflictError, match=r"layer 'h\.0'"):
        old.save_layers("ada", stale, LAYERS)
    new = old.save_layers("ada", old.load_layers("ada", LAYERS), LAYERS)
    assert_same_bits(new["h.0"].trace, add(ROWS[0]).trace)
    assert sorted(old.layers("ada")) == ["", "h.0", "h.1"]
    assert not old.path("ada@h.1").exists()
    old.save("bob@163.com", old.load("bob@163.com", MEMORY), MEMORY)
    assert old.users() == ["ada", "ada@example.org", "bob@163.com"]


def test_forgetting_and_exporting_take_what_older_versions_kept_apart(old: MemoryStore, tmp_path: Path) -> None:
    older(old, "ada@example.org", ROWS[0])
    for use in (partial(old.export_user, "ada", tmp_path / "ada"), partial(old.forget, "ada")):
        with pytest.warns(UserWarning, match=r"'ada@example\.org': a layer of 'ada', or somebody else"):
            layers = use()
        assert sorted(layers) == ["", "h.0", "h.1"]
    assert old.users() == ["ada@example.org", "bob@163.com"]
    for user in old.users():
        old.forget(user)
    assert files_of(old) == set()


def test_a_user_who_is_called_like_an_older_entry_stays_a_user(store: MemoryStore) -> None:
    store.save("ada@h.0", ROWS[0], MEMORY)
    assert store.users() == ["ada@h.0"]
    assert not store.load_layers("ada", LAYERS)["h.0"].trace.any()
    store.save_layers("ada", {"h.0": ROWS[1]}, LAYERS)
    assert_same_bits(store.load("ada@h.0", MEMORY).trace, ROWS[0].trace)
    store.forget("ada")
    assert store.users() == ["ada@h.0"]
