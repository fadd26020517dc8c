"""A memory as a file: every bit comes back, and every kind of damage is said."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import Case, build_memory, cases, fill
from tests.laws import assert_same_bits, assert_same_bits_of

import callosal
from callosal import LateralMemory, MemoryConfig, MemoryState, load_memory, save_memory
from callosal.memory import MemoryFileError, read_header
from callosal.memory.config import describe
from callosal.memory.disk import atomic, format, storage  # noqa: A004
from callosal.memory.disk.format import Header, pack

CONFIG = MemoryConfig(width=4, num_slots=3, carry=0.5)
CASE = fill(build_memory(CONFIG), (3, 5))
DAMAGE = r"altered|truncated|not a memory file|of format"
NOTES = 'Ünïcode, "quotes" and\nlines'


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a saved memory."""
    place = tmp_path_factory.mktemp("saved") / "memory.safetensors"
    save_memory(CASE.state, place, CASE.memory, notes=NOTES)
    return place.read_bytes()


@pytest.fixture
def path(saved: bytes, tmp_path: Path) -> Path:
    """A saved memory, to break."""
    (tmp_path / "a").write_bytes(saved)
    return tmp_path / "a"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one drawn file after another is written."""
    return tmp_path_factory.mktemp("drawn") / "new" / "folder" / "a"


# What works.


@given(case=cases())
def test_every_bit_comes_back(case: Case, place: Path) -> None:
    save_memory(case.state, place, case.memory)
    assert_same_bits_of(load_memory(place, case.memory), case.state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_every_dtype_comes_back_with_or_without_context(dtype: torch.dtype, tmp_path: Path) -> None:
    memory = build_memory(CONFIG).to(dtype)
    _, state = memory(torch.randn(2, 5, 4).to(dtype))
    assert state.context is not None
    blank = replace(state.detach(), context=memory.blank(2).context)
    for saved, one in ((state.detach(), state.detach()), (replace(blank, context=None), blank)):
        save_memory(saved, tmp_path / "a", memory)
        assert_same_bits_of(load_memory(tmp_path / "a", memory), one)


RECOLLECTS = fill(build_memory(replace(CONFIG, recollection=0.3)), (3, 5))


def test_what_is_recollected_comes_back_and_a_blank_stands_for_none(tmp_path: Path) -> None:
    path, (memory, _, state, _) = tmp_path / "a", RECOLLECTS
    save_memory(state, path, memory)
    assert_same_bits_of(load_memory(path, memory), state)
    assert read_header(path).shapes["recollected"] == (3, 4)
    save_memory(replace(state, recollected=None), path, memory)
    assert_same_bits_of(load_memory(path, memory), replace(state, recollected=memory.blank(3).recollected))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recollected": None}, "does not fit a memory of .* with a carried context that recollects, though"),
        ({"recollected": torch.zeros(2, 4).double()}, "not of equally many rows"),
        ({"recollected": torch.zeros(3).double()}, "tensors of axes"),
        ({"recollected": torch.full((3, 4), torch.nan).double()}, "a recollected with NaN"),
    ],
    ids=["lost", "rows", "axes", "nan"],
)
def test_what_is_recollected_must_fit(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path, (memory, _, state, _) = tmp_path / "a", RECOLLECTS
    save_memory(state, path, memory)
    parts = {"trace": state.trace, **change}

    def shapes(plain: dict[str, Any]) -> None:
        held = plain["shapes"]
        plain["shapes"] = {
            n: list(parts[n].shape) if n in parts else s for n, s in held.items() if parts.get(n, s) is not None
        }

    rewritten(path, shapes, **change)
    refuses(path, message, memory)


def test_a_state_that_recollects_is_not_saved_with_a_memory_that_does_not(tmp_path: Path) -> None:
    state = replace(CASE.state, recollected=torch.zeros(3, 4).double())
    with pytest.raises(MemoryFileError, match=r"its recollection is 0\); save it with"):
        save_memory(state, tmp_path / "a", CASE.memory)


def test_saved_and_loaded_goes_on_as_if_nothing_had_been(path: Path) -> None:
    after = CASE.memory(CASE.hidden, CASE.state)[1]
    assert_same_bits_of(CASE.memory(CASE.hidden, load_memory(path, CASE.memory))[1], after)


def test_the_header_says_what_a_reader_wants_to_know(path: Path) -> None:
    header = read_header(path)
    assert header.config == describe(CONFIG)
    assert header.shapes["trace"] == (3, 2, 3, 4)
    assert header.shapes["context.num_tokens"] == (3,)
    assert header.package_version == callosal.__version__
    assert header.notes == NOTES
    assert 0.0 <= (datetime.now(UTC) - header.created).total_seconds() < 600.0
    assert header.max_slot_norm == CASE.memory.max_slot_norm
    assert header.format_version == 1
    # Safetensors itself reads the file, too.
    assert_same_bits(safetensors.torch.load_file(path)["trace"], CASE.state.trace)


def test_the_bound_is_that_of_the_weights_at_the_time(tmp_path: Path) -> None:
    memory, bounds = build_memory(CONFIG), []
    for _ in range(2):
        save_memory(memory.blank(1), tmp_path / "a", memory)
        bounds.append(read_header(tmp_path / "a").max_slot_norm)
        with torch.no_grad():
            memory.maps.mul_(2.0)
    assert bounds[1] == pytest.approx(2.0 * bounds[0])


def test_fields_that_came_later_do_not_change_the_hash() -> None:
    plain = MemoryConfig(width=4)
    assert "carry" not in describe(plain)
    assert storage.hash_config(plain) == storage.hash_config(MemoryConfig(width=4, carry=0.0))
    for changed in ({"carry": 0.5}, {"gain": 5.0}, {"write": "delta"}, {"homeostasis": False}):
        assert storage.hash_config(plain) != storage.hash_config(replace(plain, **changed))


def test_the_slow_statistics_do_not_count(path: Path) -> None:
    """They move in use, with every commit in training mode, and the memory stays the same one."""
    other = build_memory(CONFIG).train()
    before = other.axes.clone()
    other(CASE.hidden, CASE.state)
    assert not torch.equal(other.axes, before)
    assert_same_bits_of(load_memory(path, other), CASE.state)


# What is refused when saving.


def holding(wrong: float) -> MemoryState:
    trace = CASE.state.trace.clone()
    trace[1, 0, 2, 3] = wrong
    return replace(CASE.state, trace=trace)


OPENED = CASE.memory(CASE.hidden, CASE.state, commit=False)[1]


@pytest.mark.parametrize(
    ("state", "memory", "notes", "message"),
    [
        (OPENED, CASE.memory, "", r"open segment.*memory.commit"),
        (holding(torch.nan), CASE.memory, "", "trace with NaN or infinity"),
        (holding(torch.inf), CASE.memory, "", "trace with NaN or infinity"),
        (CASE.state, build_memory(replace(CONFIG, num_slots=5)), "", "5 slots"),
        (CASE.state, build_memory(CONFIG).float(), "", "float64 meets a memory of torch.float32"),
        (CASE.state, CASE.memory, "n" * 10**7, "notes.*shorten"),
    ],
    ids=["open", "nan", "inf", "shape", "dtype", "notes"],
)
def test_what_cannot_be_saved_leaves_the_old_file(
    state: MemoryState, memory: LateralMemory, notes: str, message: str, path: Path
) -> None:
    before = path.read_bytes()
    for where in (path, path.with_name("new")):
        with pytest.raises(MemoryFileError, match=message):
            save_memory(state, where, memory, notes=notes)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# What is refused when loading.


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any], **tensors: Any) -> None:
    """Write the file anew, its checksum right, with a changed header and other tensors."""

    class Forged(Header):
        def to_plain(self) -> dict[str, Any]:
            plain = super().to_plain()
            change(plain)
            return plain

    file, size = format.of_bytes(path.read_bytes())
    outline = format.read_outline(file, size, path)
    (held,) = format.read_tensors(outline, file, path).values()
    parts = {name: tensor for name, tensor in (held | tensors).items() if tensor is not None}
    path.write_bytes(pack(Forged(**vars(outline.first)), parts))


def refuses(path: Path, message: str, memory: LateralMemory = CASE.memory, **how: Any) -> None:
    """Expect one error of the one kind, that names the file and leaves the memory alone."""
    weights = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    with pytest.raises(MemoryFileError, match=message) as caught:
        load_memory(path, memory, **how)
    assert str(path) in str(caught.value)
    assert_same_bits_of(memory.state_dict(), weights)


@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_truncated_file(share: float, saved: bytes, place: Path) -> None:
    cut = int(share * len(saved))
    atomic.write_atomically(place, saved[:cut])
    refuses(place, "is truncated" if cut > 8 else "is not a memory file")
    with pytest.raises(MemoryFileError):
        read_header(place)


def test_every_byte_of_a_file_is_under_the_checksum(saved: bytes, tmp_path: Path) -> None:
    for at in range(len(saved)):
        changed = saved[:at] + bytes([saved[at] ^ 1 << at % 8]) + saved[at + 1 :]
        with pytest.raises(MemoryFileError, match=DAMAGE):
            storage.read_layers(*format.of_bytes(changed), tmp_path)


@given(content=st.binary(max_size=64))
def test_not_a_memory_file(content: bytes, place: Path) -> None:
    atomic.write_atomically(place, content)
    refuses(place, "not a memory file|truncated|altered")


NESTED = b"{" + b'"a":[' * 50_000


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda place: None, "no memory file"),
        (lambda place: place.mkdir(), "no memory file"),
        (lambda place: torch.save(CASE.state.trace, place), "is not a memory file"),
        (lambda place: safetensors.torch.save_file({"trace": CASE.state.trace}, place), "without a callosal header"),
        *[
            (lambda place, text=text: place.write_bytes(len(text).to_bytes(8, "little") + text), m)
            for text, m in [(NESTED, "altered"), (b'{"__metadata__":3}', "not a"), (b"{}", "not a")]
        ],
    ],
    ids=["none", "folder", "pickle", "plain", "nested", "metadata", "empty"],
)
def test_files_of_other_kinds(write: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a")
    refuses(tmp_path / "a", message)
    with pytest.raises(MemoryFileError, match=message):
        read_header(tmp_path / "a")


OTHER = build_memory(replace(CONFIG, gain=5.0, contrast=3.0))


@pytest.mark.parametrize(
    ("memory", "how", "message"),
    [
        (OTHER, {}, "gain 4.0 in the file, 5.0 here; contrast at its default in the file"),
        (OTHER, {"strict": False}, "another configuration"),
        (build_memory(CONFIG, seed=1), {}, "other weights.*strict=False"),
        (build_memory(CONFIG).float(), {}, "holds torch.float64 and the memory is torch.float32"),
    ],
    ids=["config", "config, not strict", "weights", "dtype"],
)
def test_a_file_of_another_memory(memory: LateralMemory, how: dict[str, Any], message: str, path: Path) -> None:
    refuses(path, message, memory, **how)


def test_other_weights_are_taken_where_asked_for(path: Path) -> None:
    loaded = load_memory(path, build_memory(CONFIG, seed=1), strict=False)
    assert_same_bits_of(loaded, CASE.state)


@pytest.mark.parametrize("name", [name for name, _ in CASE.memory.named_parameters()])
def test_every_parameter_counts(name: str, path: Path) -> None:
    other = build_memory(CONFIG)
    with torch.no_grad():
        other.get_parameter(name).view(-1)[-1] += 1e-12
    refuses(path, "other weights", other)


NONSENSE = {"format_version": ["1", None], "created": ["yesterday", "2026-01-01T00:00:00"], "notes": [3], "user": [5]}
NONSENSE |= {"shapes": [{"trace": 4}], "max_slot_norm": ["large"], "parents": ["abc"]}
NAN = CASE.state.context.signal_sum * torch.nan if CASE.state.context else torch.empty(0)


@pytest.mark.parametrize(
    ("change", "tensors", "message"),
    [
        ({}, {"trace": CASE.state.trace.to(torch.int32)}, "trace of dtype I32; it may be one of F16"),
        ({}, {"trace": holding(torch.nan).trace}, "trace with NaN"),
        ({}, {"context.signal_sum": NAN}, "context.signal_sum with NaN"),
        ({}, {"more": torch.zeros(2)}, "not those of its header"),
        ({}, {"trace": CASE.state.trace[:2]}, "not those of its header"),
        *[
            ({"format_version": n, "package_version": "9.1"}, {}, f"format {n}, written by.* 9.1.*{m}")
            for n, m in [(3, "formats 1 and 2 only: upgrade"), (0, "no release"), (-1, "no release")]
        ],
        *[({field: value}, {}, "altered") for field, values in NONSENSE.items() for value in values],
    ],
    ids=str,
)
def test_a_file_that_says_or_holds_nonsense(
    change: dict[str, Any], tensors: dict[str, Any], message: str, path: Path
) -> None:
    rewritten(path, lambda plain: plain.update(change), **tensors)
    refuses(path, message)


PARTS: list[tuple[dict[str, Any], str]] = [
    ({"context.signal_sum": torch.zeros(3, 7).double()}, "not of equally many rows and of one width"),
    ({"context.num_tokens": torch.zeros(2).double()}, "not of equally many rows"),
    ({"context.num_tokens": torch.tensor([1.0, -2.0, 0.0]).double()}, "counts -2 tokens"),
    ({"context.num_tokens": None}, "may hold a context"),
    ({"context.num_tokens": None, "context.signal_sum": None}, "does not fit a memory .* with a carried context"),
]


@pytest.mark.parametrize(("parts", "message"), PARTS, ids=["width", "rows", "count", "half", "none"])
def test_parts_that_disagree_though_header_and_checksum_say_so(parts: dict[str, Any], message: str, path: Path) -> None:
    def say(plain: dict[str, Any]) -> None:
        shapes = {name: None if part is None else list(part.shape) for name, part in parts.items()}
        plain["shapes"] = {name: shape for name, shape in (plain["shapes"] | shapes).items() if shape is not None}

    rewritten(path, say, **parts)
    refuses(path, message)


def test_the_header_is_judged_before_a_large_file_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "read_tensors", lambda *_: pytest.fail("it was read"))
    refuses(path, "another configuration", OTHER)
    refuses(path, "other weights", build_memory(CONFIG, seed=1))


def test_something_appended_forged_or_left_out(path: Path, saved: bytes) -> None:
    path.write_bytes(saved + b"more")
    refuses(path, "altered")
    path.write_bytes(saved)
    forged = torch.zeros(3, 2, 7, 4, dtype=torch.float64)
    rewritten(path, lambda plain: plain["shapes"].update(trace=[3, 2, 7, 4]), trace=forged)
    refuses(path, "does not fit a memory")
    path.write_bytes(saved)
    rewritten(path, lambda plain: plain.pop("config_hash"))
    refuses(path, "not whole.*config_hash")
