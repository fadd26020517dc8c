"""A memory as a file: every bit comes back, every kind of damage is said, a kill leaves it whole."""

import json
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
from tests.laws import assert_same_bits

import callosal
from callosal import LateralMemory, MemoryConfig, MemoryState, load_memory, save_memory
from callosal.memory import MemoryFileError, read_header
from callosal.memory.config import describe
from callosal.memory.disk import format, storage  # noqa: A004
from callosal.memory.disk.format import Header, checksum_of_tensors, pack

CONFIG = MemoryConfig(width=4, num_slots=3, carry=0.5)
CASE = fill(build_memory(CONFIG), (3, 5))


def assert_same(actual: MemoryState, expected: MemoryState) -> None:
    assert actual.segment is None
    assert_same_bits(actual.trace, expected.trace)
    assert (actual.context is None) == (expected.context is None)
    if actual.context is not None and expected.context is not None:
        assert_same_bits(actual.context.signal_sum, expected.context.signal_sum)
        assert_same_bits(actual.context.num_tokens, expected.context.num_tokens)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved memory, to break."""
    place = tmp_path / "memory.safetensors"
    save_memory(CASE.state, place, CASE.memory, notes='Ünïcode, "quotes" and\nlines')
    return place


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("saved") / "memory.safetensors"
    save_memory(CASE.state, place, CASE.memory)
    return place.read_bytes()


# What works.


@given(case=cases())
def test_every_bit_comes_back(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("memory") / "new" / "folder" / "a.safetensors"
    save_memory(case.state, place, case.memory)
    assert_same(load_memory(place, case.memory), case.state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_every_dtype_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    memory = build_memory(CONFIG).to(dtype)
    state = memory.blank(2)
    _, state = memory(torch.randn(2, 5, 4).to(dtype), state)
    assert state.context is not None
    save_memory(state, tmp_path / "a", memory)
    again = load_memory(tmp_path / "a", memory)
    assert again.trace.dtype == dtype
    assert_same(again, state.detach())


def test_saved_and_loaded_goes_on_as_if_nothing_had_been(path: Path) -> None:
    after = CASE.memory(CASE.hidden, CASE.state)[1]
    again = CASE.memory(CASE.hidden, load_memory(path, CASE.memory))[1]
    assert_same(again, after)


def test_the_header_says_what_a_reader_wants_to_know(path: Path) -> None:
    header = read_header(path)
    assert header.config == describe(CONFIG)
    assert header.shapes["trace"] == (3, 2, 3, 4)
    assert header.shapes["context.num_tokens"] == (3,)
    assert header.package_version == callosal.__version__
    assert header.notes == 'Ünïcode, "quotes" and\nlines'
    assert 0.0 <= (datetime.now(UTC) - header.created).total_seconds() < 600.0
    assert header.max_slot_norm == CASE.memory.max_slot_norm
    assert header.format_version == format.FORMAT_VERSION


def test_safetensors_itself_reads_the_file(path: Path) -> None:
    assert_same_bits(safetensors.torch.load_file(path)["trace"], CASE.state.trace)


def test_the_bound_is_that_of_the_weights_at_the_time(tmp_path: Path) -> None:
    memory = build_memory(CONFIG)
    save_memory(memory.blank(1), tmp_path / "a", memory)
    with torch.no_grad():
        memory.maps.mul_(2.0)
    save_memory(memory.blank(1), tmp_path / "b", memory)
    before, after = (read_header(tmp_path / name).max_slot_norm for name in "ab")
    assert before is not None
    assert after == pytest.approx(2.0 * before)


def test_the_carried_context_may_be_missing(tmp_path: Path) -> None:
    state = replace(CASE.state, context=None)
    save_memory(state, tmp_path / "a", CASE.memory)
    assert_same(load_memory(tmp_path / "a", CASE.memory), state)


def test_fields_that_came_later_do_not_change_the_hash() -> None:
    plain = MemoryConfig(width=4)
    assert "carry" not in describe(plain)
    assert storage.hash_config(plain) == storage.hash_config(MemoryConfig(width=4, carry=0.0))
    for changed in ({"carry": 0.5}, {"gain": 5.0}, {"write": "delta"}, {"homeostasis": False}):
        assert storage.hash_config(plain) != storage.hash_config(replace(plain, **changed))


# What is refused when saving.


def test_an_open_segment_is_refused_and_the_old_file_stays(path: Path) -> None:
    before = path.read_bytes()
    opened = CASE.memory(CASE.hidden, CASE.state, commit=False)[1]
    with pytest.raises(MemoryFileError, match=r"open segment.*memory.commit"):
        save_memory(opened, path, CASE.memory)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_saved(wrong: float, path: Path) -> None:
    before = path.read_bytes()
    trace = CASE.state.trace.clone()
    trace[1, 0, 2, 3] = wrong
    with pytest.raises(MemoryFileError, match="trace with NaN or infinity"):
        save_memory(replace(CASE.state, trace=trace), path, CASE.memory)
    assert path.read_bytes() == before


def test_a_state_of_another_memory_is_not_saved(tmp_path: Path) -> None:
    other = build_memory(replace(CONFIG, num_slots=5))
    with pytest.raises(MemoryFileError, match="5 slots"):
        save_memory(CASE.state, tmp_path / "a", other)
    with pytest.raises(MemoryFileError, match=r"float64 meets a memory of torch.float32"):
        save_memory(CASE.state, tmp_path / "a", build_memory(CONFIG).float())
    assert not (tmp_path / "a").exists()


def test_notes_have_an_end(tmp_path: Path) -> None:
    save_memory(CASE.state, tmp_path / "a", CASE.memory, notes="n" * 10**6)
    assert len(read_header(tmp_path / "a").notes) == 10**6
    with pytest.raises(MemoryFileError, match=r"notes.*shorten"):
        save_memory(CASE.state, tmp_path / "a", CASE.memory, notes="n" * 10**7)


# What is refused when loading.


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], **tensors: Any) -> None:
    """Write the file anew, its checksum right, with a changed header and other tensors."""

    class Forged(Header):
        def to_plain(self) -> dict[str, Any]:
            plain = super().to_plain()
            change(plain)
            return plain

    header, held, _ = format.unpack(path.read_bytes(), path)
    path.write_bytes(pack(Forged(**vars(header)), held | tensors))


def refuses(path: Path, message: str, memory: LateralMemory = CASE.memory, **how: Any) -> None:
    """Expect one error of the one kind, that names the file and leaves the memory alone."""
    weights = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    with pytest.raises(MemoryFileError, match=message) as caught:
        load_memory(path, memory, **how)
    assert str(path) in str(caught.value)
    for name, tensor in memory.state_dict().items():
        assert_same_bits(tensor, weights[name])


def test_a_missing_file(tmp_path: Path) -> None:
    refuses(tmp_path / "none", "no memory file")
    refuses(tmp_path, "no memory file")
    with pytest.raises(MemoryFileError, match="no memory file"):
        read_header(tmp_path / "none")


@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_truncated_file(
    share: float, saved: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("cut") / "a"
    cut = int(share * len(saved))
    place.write_bytes(saved[:cut])
    refuses(place, "is truncated" if cut > 8 else "is not a memory file")
    with pytest.raises(MemoryFileError):
        read_header(place)


@given(data=st.data())
def test_a_flipped_bit(
    data: st.DataObject, saved: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("flip") / "a"
    at, bit = data.draw(st.integers(0, len(saved) - 1)), data.draw(st.integers(0, 7))
    place.write_bytes(saved[:at] + bytes([saved[at] ^ 1 << bit]) + saved[at + 1 :])
    refuses(place, "altered|truncated|not a memory file|of format")


def test_every_byte_of_a_file_is_under_the_checksum(saved: bytes, tmp_path: Path) -> None:
    place = tmp_path / "a"
    for at in range(0, len(saved), 7):
        place.write_bytes(saved[:at] + bytes([saved[at] ^ 4]) + saved[at + 1 :])
        with pytest.raises(MemoryFileError):
            load_memory(place, CASE.memory)


def test_something_appended(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")
    refuses(path, "altered")


@given(content=st.binary(max_size=64))
def test_not_a_memory_file(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("noise") / "a"
    place.write_bytes(content)
    refuses(place, "not a memory file|truncated|altered")


def test_files_of_other_kinds(tmp_path: Path) -> None:
    torch.save(CASE.state.trace, tmp_path / "pickled")
    refuses(tmp_path / "pickled", "is not a memory file")
    safetensors.torch.save_file({"trace": CASE.state.trace}, tmp_path / "plain")
    refuses(tmp_path / "plain", "without a callosal header")


@pytest.mark.parametrize("nested", [b"{" + b'"a":[' * 50_000, b'{"__metadata__":3}', b"{}"])
def test_a_header_that_is_none(nested: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(len(nested).to_bytes(8, "little") + nested)
    refuses(tmp_path / "a", "altered|not a memory file")


def test_another_configuration(path: Path) -> None:
    other = build_memory(replace(CONFIG, gain=5.0, contrast=3.0))
    refuses(path, "gain 4.0 in the file, 5.0 here; contrast at its default in the file", other)
    refuses(path, "another configuration", other, strict=False)


def test_other_weights(path: Path) -> None:
    other = build_memory(CONFIG, seed=1)
    refuses(path, "other weights.*strict=False", other)
    assert_same(load_memory(path, other, strict=False), CASE.state)


@pytest.mark.parametrize("name", [name for name, _ in CASE.memory.named_parameters()])
def test_every_parameter_counts(name: str, path: Path) -> None:
    other = build_memory(CONFIG)
    with torch.no_grad():
        other.get_parameter(name).view(-1)[-1] += 1e-12
    refuses(path, "other weights", other)


def test_the_slow_statistics_do_not_count(path: Path) -> None:
    """They move in use, with every commit in training mode, and the memory stays the same one."""
    other = build_memory(CONFIG).train()
    before = other.axes.clone()
    other(CASE.hidden, CASE.state)
    assert not torch.equal(other.axes, before)
    assert_same(load_memory(path, other), CASE.state)


def test_another_dtype(path: Path) -> None:
    refuses(
        path, r"holds torch.float64 and the memory is torch.float32", build_memory(CONFIG).float()
    )


def test_a_dtype_that_no_memory_has(path: Path) -> None:
    rewritten(path, lambda plain: None, trace=CASE.state.trace.to(torch.int32))
    refuses(path, "trace of dtype torch.int32")


@pytest.mark.parametrize("name", ["trace", "context.signal_sum"])
def test_nan_in_a_file(name: str, path: Path) -> None:
    tensor = safetensors.torch.load_file(path)[name]
    tensor.view(-1)[3] = torch.nan
    rewritten(path, lambda plain: None, **{name: tensor})
    refuses(path, f"{name} with NaN")


def test_tensors_that_a_memory_does_not_have(path: Path) -> None:
    rewritten(path, lambda plain: None, more=torch.zeros(2))
    refuses(path, "a memory holds a trace")


def test_shapes_that_the_header_does_not_say(path: Path) -> None:
    rewritten(path, lambda plain: None, trace=CASE.state.trace[:2])
    refuses(path, "not those of its header")


def test_a_forged_shape_is_noticed(path: Path) -> None:
    def forge(plain: dict[str, Any]) -> None:
        plain["shapes"]["trace"] = [3, 2, 7, 4]

    rewritten(path, forge, trace=torch.zeros(3, 2, 7, 4, dtype=torch.float64))
    refuses(path, "does not fit a memory")


def test_a_newer_format(path: Path) -> None:
    rewritten(path, lambda plain: plain.update(format_version=2, package_version="9.1"))
    refuses(path, "format 2, written by callosal 9.1.*up to 1: upgrade")


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": -1},
        {"format_version": "1"},
        {"format_version": None},
        {"created": "yesterday"},
        {"created": "2026-01-01T00:00:00"},
        {"notes": 3},
        {"shapes": {"trace": 4}},
        {"max_slot_norm": "large"},
        {"parents": "abc"},
        {"user": 5},
    ],
    ids=str,
)
def test_a_header_that_says_nonsense(change: dict[str, Any], path: Path) -> None:
    rewritten(path, lambda plain: plain.update(change))
    refuses(path, "altered")


def test_a_header_that_says_too_little(path: Path) -> None:
    rewritten(path, lambda plain: plain.pop("config_hash"))
    refuses(path, "not whole.*config_hash")


# Old formats.


def write_version_0(path: Path, state: MemoryState, memory: LateralMemory) -> None:
    """Write a file as format 0 was: another name, another time, a checksum of the tensors alone."""
    tensors = {"memory": state.trace}
    plain = {
        "format_version": 0,
        "package_version": "0.0.1",
        "config_hash": storage.hash_config(memory.config),
        "parameters_hash": storage.hash_parameters(memory),
        "shape": list(state.trace.shape),
        "created_seconds": 1_700_000_000.0,
    }
    metadata = {"callosal": json.dumps(plain), "sha256": checksum_of_tensors(tensors)}
    path.write_bytes(safetensors.torch.save(tensors, metadata))


def test_format_0_is_migrated(tmp_path: Path) -> None:
    old = replace(CASE.state, context=None)
    write_version_0(tmp_path / "old", old, CASE.memory)
    assert_same(load_memory(tmp_path / "old", CASE.memory), old)
    header = read_header(tmp_path / "old")
    assert header.format_version == 0
    assert header.created == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    # Saved again it is of the newest format and the same memory.
    save_memory(load_memory(tmp_path / "old", CASE.memory), tmp_path / "new", CASE.memory)
    assert read_header(tmp_path / "new").format_version == 1
    assert_same(load_memory(tmp_path / "new", CASE.memory), old)


def test_damage_to_format_0_is_noticed_too(tmp_path: Path) -> None:
    write_version_0(tmp_path / "old", replace(CASE.state, context=None), CASE.memory)
    data = (tmp_path / "old").read_bytes()
    (tmp_path / "old").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refuses(tmp_path / "old", "altered")
    refuses_other = build_memory(replace(CONFIG, gain=5.0))
    write_version_0(tmp_path / "old", CASE.state, CASE.memory)
    refuses(tmp_path / "old", "it does not say which", refuses_other)
