"""The bytes of memory files: safetensors, with our headers in it and one checksum over every byte.

A file of format 1 holds one memory. A file of format 2, which stores write, holds what one user has behind any number
of layers: a header each, and each tensor under ``layer/name``.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import safetensors.torch
import torch
from torch import Tensor

from callosal.memory.disk import atomic

FORMAT_VERSION, STORE_FORMAT_VERSION = 1, 2
# Keys of the metadata that safetensors keeps as text beside the tensors.
_HEADER, _CHECKSUM = "callosal", "sha256"
# The checksum is taken with its own place filled with this.
_NO_CHECKSUM = "0" * 64
# A header is read before anything of it is trusted; notes and a user id need far less.
MOST_HEADER_BYTES = 16 * 2**20
_USER, _FORMAT = re.compile(rb'\\"user\\": \\"([\w.~%/-]*)\\"'), re.compile(rb'\\"format_version\\": (\d+)')
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


class MemoryFileError(ValueError):
    """A memory file is missing, damaged, of another memory, or cannot be written as asked."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a memory file says of itself; it can be read without the tensors.

    Attributes:
        config_hash: of the memory's configuration.
        config: the configuration itself, as plain values.
        parameters_hash: of the weights that wrote the memory.
        shapes: of each tensor, by name.
        created: when the file was written, UTC.
        package_version: the callosal that wrote it.
        notes: free-form text.
        user: the id of the user that the memory belongs to, in a store; else None.
        max_slot_norm: what no slot's norm exceeds; None where the write has no such bound.
        parents: checksums of the files it was made of (merged, forked or reset), if any.
        format_version: of the file.
        version: which of a user's saves this was, in a store: a number drawn for it. 0 elsewhere.
    """

    config_hash: str
    config: Mapping[str, Any]
    parameters_hash: str
    shapes: Mapping[str, tuple[int, ...]]
    created: datetime
    package_version: str
    notes: str = ""
    user: str | None = None
    max_slot_norm: float | None = None
    parents: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION
    version: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return the header as values that JSON has."""
        fields = vars(self) if self.version else {name: f for name, f in vars(self).items() if name != "version"}
        return {
            **fields,
            "config": dict(self.config),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "created": self.created.astimezone(UTC).isoformat(),
            "user": None if self.user is None else _quoted(self.user),
            "parents": list(self.parents),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Header":
        """Read a header from values that JSON has; KeyError, TypeError or ValueError where one is not whole."""
        texts = {
            name: _checked(plain[name], str) for name in ("config_hash", "parameters_hash", "package_version", "notes")
        }
        user, bound = plain["user"], plain["max_slot_norm"]
        created = datetime.fromisoformat(_checked(plain["created"], str))
        if created.tzinfo is None:
            raise ValueError("created has no time zone")
        return cls(
            **texts,
            config=_checked(plain["config"], dict),
            shapes={
                name: tuple(_checked(size, int) for size in _checked(shape, list))
                for name, shape in _checked(plain["shapes"], dict).items()
            },
            created=created,
            user=None if user is None else _unquoted(user),
            max_slot_norm=None if bound is None else float(_checked(bound, (int, float))),
            format_version=_checked(plain["format_version"], int),
            version=_checked(plain.get("version", 0), int),
            parents=tuple(_checked(parent, str) for parent in _checked(plain["parents"], list)),
        )


class MissingMemoryFileError(MemoryFileError):
    """There is no such file."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What the beginning of a file says, before the rest is read.

    Attributes:
        headers: of each layer's memory; that of a file of format 1 is of the layer without a name.
        dtypes: of each layer's tensors, by their names.
        start: the bytes read so far.
        size: of the file, in bytes.
        checksum: that the rest must have.
    """

    headers: Mapping[str, Header]
    dtypes: Mapping[str, Mapping[str, torch.dtype]]
    start: bytes
    size: int
    checksum: str

    @property
    def first(self) -> Header:
        """The header of the first layer; all layers have the user and the format of the file."""
        return next(iter(self.headers.values()))


Tensors = Mapping[str, Tensor]


def pack(header: Header, tensors: Tensors) -> bytes:
    """Return the bytes of one memory's file; MemoryFileError where the header is longer than any reader takes."""
    return _packed(header.to_plain(), tensors)


def pack_layers(layers: Mapping[str, tuple[Header, Tensors]]) -> bytes:
    """Return the bytes of a file of format 2, of at least one layer; MemoryFileError as :func:`pack`."""
    plain = {
        "format_version": STORE_FORMAT_VERSION,
        "package_version": next(iter(layers.values()))[0].package_version,
        "layers": {
            _quoted(layer): header.to_plain() | {"format_version": STORE_FORMAT_VERSION}
            for layer, (header, _) in layers.items()
        },
    }
    named = {f"{_quoted(layer)}/{name}": t for layer, (_, held) in layers.items() for name, t in held.items()}
    return _packed(plain, named)


def read_outline(file: BufferedIOBase, size: int, place: object) -> Outline:
    """Read the beginning of a file, and judge all that can be judged by it.

    Args:
        file: at its start.
        size: of the file, in bytes.
        place: where it is, for messages.

    Raises:
        MemoryFileError: it is no memory file, or truncated, of another format, or its parts are not those of its
            headers.
    """
    start = file.read(8)
    start += file.read(min(int.from_bytes(start, "little"), MOST_HEADER_BYTES))
    container = _read_container(start, size, place)
    metadata = container.pop("__metadata__")
    headers = _headers_in(metadata, place)
    keys = {(layer, name): _key(layer, name, header) for layer, header in headers.items() for name in header.shapes}
    try:
        held = {name: tuple(part["shape"]) for name, part in container.items()}
        kinds = {name: part["dtype"] for name, part in container.items()}
        unknown = {name: kind for name, kind in kinds.items() if kind not in _DTYPES}
    except (TypeError, LookupError) as error:
        raise _altered(place, "its header cannot be read") from error
    said = {key: headers[layer].shapes[name] for (layer, name), key in keys.items()}
    if held != said:
        raise _altered(place, f"it holds tensors of shapes {held}, which are not those of its header ({said})")
    for name, kind in unknown.items():
        raise _altered(place, f"it holds a {name} of dtype {kind}; it may be one of {', '.join(_DTYPES)}")
    return Outline(
        headers=headers,
        dtypes={layer: {n: _DTYPES[kinds[keys[layer, n]]] for n in header.shapes} for layer, header in headers.items()},
        start=start,
        size=size,
        checksum=str(metadata.get(_CHECKSUM)),
    )


def read_tensors(outline: Outline, file: BufferedIOBase, place: object) -> dict[str, dict[str, Tensor]]:
    """Read the rest of a file: each layer's tensors, by their names; MemoryFileError where it is altered."""
    data = outline.start + file.read(outline.size - len(outline.start))
    try:
        tensors = safetensors.torch.load(data)
        computed = checksum_of(data)
    except Exception as error:  # altered bytes can break a reader in any way
        raise _altered(place, f"{type(error).__name__} while reading its tensors") from error
    if computed != outline.checksum:
        raise _altered(place, "its checksum does not fit its content")
    return {
        layer: {name: tensors[_key(layer, name, header)] for name in header.shapes}
        for layer, header in outline.headers.items()
    }


def read_header(path: str | Path) -> Header:
    """Read the header of a memory file without its tensors; their checksum is therefore not looked at.

    Raises:
        MemoryFileError: there is no such file, or it is no memory file, or truncated, of another format, or it holds
            the memories of several layers: :func:`read_headers`.
    """
    headers = read_headers(path)
    return headers[only_layer(headers, path)]


def read_headers(path: str | Path) -> dict[str, Header]:
    """Read the headers of a user's file in a store, by layer; MemoryFileError as :func:`read_header`."""
    with opened(path) as (file, size):
        return dict(read_outline(file, size, path).headers)


def only_layer(layers: Iterable[str], place: object) -> str:
    """Return the name of the only layer; MemoryFileError where there are more."""
    names = list(layers)
    if len(names) > 1:
        raise MemoryFileError(
            f"{place} holds one user's memories behind {len(names)} layers ({', '.join(map(ascii, names))}), and this "
            "takes a file of one memory; load them with the store's load_layers"
        )
    return names[0]


def read_user(start: bytes) -> tuple[str, int]:
    """Return whose a file is and its format, by the text of its header and quicker than that is parsed.

    Raises:
        ValueError: there is no such header here, or it is of no user.
    """
    # Inside other texts of the header, such as notes, these quotes are escaped twice.
    user, version = _USER.search(start), _FORMAT.search(start)
    if user is None or version is None:
        raise ValueError("it has no header that names a user")
    return _unquoted(user[1].decode()), int(version[1])


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BufferedIOBase, int]]:
    """Open a memory file to read, and tell its size; MissingMemoryFileError where there is none."""
    try:
        with atomic.opened(Path(path)) as file:
            yield file, os.fstat(file.fileno()).st_size
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise MissingMemoryFileError(
            f"there is no memory file at {path}; write one with callosal.save_memory"
        ) from error
    except atomic.SpecialFileError as error:
        raise MemoryFileError(str(error)) from None


def of_bytes(data: bytes) -> tuple[BufferedIOBase, int]:
    """Return bytes as :func:`opened` gives a file."""
    return io.BytesIO(data), len(data)


def checksum_of(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, the checksum's own place (else ValueError) filled with zeros."""
    return hashlib.sha256(_with_checksum(data, _NO_CHECKSUM)).hexdigest()


def checksum_of_tensors(tensors: Tensors) -> str:
    """Return a hash of tensors: names, types, shapes and every bit."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()


def _packed(plain: Mapping[str, Any], tensors: Tensors) -> bytes:
    text = json.dumps(plain)
    if len(text) > MOST_HEADER_BYTES // 2:
        raise MemoryFileError(
            f"the notes and the user id make a header of {len(text)} bytes; it may have at most "
            f"{MOST_HEADER_BYTES // 2}: shorten them"
        )
    # Copies, because safetensors refuses tensors that share memory.
    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    data = safetensors.torch.save(copies, {_HEADER: text, _CHECKSUM: _NO_CHECKSUM})
    return _with_checksum(data, checksum_of(data))


def _key(layer: str, name: str, header: Header) -> str:
    """Return a tensor's name in a file."""
    return name if header.format_version == FORMAT_VERSION else f"{_quoted(layer)}/{name}"


def _quoted(text: str) -> str:
    # JSON cannot keep every Python string apart (lone surrogates), and safetensors takes no other.
    return quote(text, errors="surrogatepass", safe="")


def _unquoted(text: Any) -> str:
    return unquote(_checked(text, str), errors="surrogatepass")


def _with_checksum(data: bytes, checksum: str) -> bytes:
    # Quotes inside other texts of a JSON header are escaped, so that this occurs once.
    mark = f'"{_CHECKSUM}":"'.encode()
    place = data.index(mark) + len(mark)
    return data[:place] + checksum.encode() + data[place + len(checksum) :]


def _read_container(start: bytes, size: int, path: object) -> dict[str, Any]:
    """Return the JSON at the start of a safetensors file, after looking at the file's size."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{" or length > MOST_HEADER_BYTES:
        raise _foreign(path, f"its {size} bytes do not begin as one does")
    if size < 8 + length:
        raise _truncated(path, size, 8 + length)
    try:
        container = json.loads(start[8 : 8 + length])
        parts = [part for name, part in container.items() if name != "__metadata__"]
        end = 8 + length + max((part["data_offsets"][1] for part in parts), default=0)
        metadata = container.get("__metadata__")
        shorter, longer = size < end, size > end
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise _altered(path, "its header cannot be read") from error
    if not isinstance(metadata, dict) or _HEADER not in metadata:
        raise _foreign(path, f"it is a safetensors file without a {_HEADER} header")
    if shorter:
        raise _truncated(path, size, end)
    if longer:
        raise _altered(path, f"{size} bytes where {end} should be")
    return container


def _headers_in(metadata: Mapping[str, Any], place: object) -> dict[str, Header]:
    """Return the headers among a file's metadata, by layer."""
    try:
        plain = json.loads(metadata[_HEADER])
        version = _checked(plain["format_version"], int)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise _altered(place, "its header cannot be read") from error
    if version not in (FORMAT_VERSION, STORE_FORMAT_VERSION):
        remedy = "upgrade it" if version > STORE_FORMAT_VERSION else "no release wrote an older one"
        raise MemoryFileError(
            f"{place} is of format {version}, written by callosal {plain.get('package_version')}; this callosal reads "
            f"formats {FORMAT_VERSION} and {STORE_FORMAT_VERSION} only: {remedy}"
        )
    try:
        layers = {"": plain} if version == FORMAT_VERSION else _checked(plain["layers"], dict)
        headers = {_unquoted(layer): Header.from_plain(header) for layer, header in layers.items()}
        owners = {(header.user, header.format_version) for header in headers.values()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _altered(place, f"its header is not whole ({error})") from error
    if len(owners) != 1:
        raise _altered(place, "its layers are of several users, or there are none")
    return headers


def _checked(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"a {type(value).__name__} where another kind of value belongs")
    return value


def _foreign(path: object, reason: str) -> MemoryFileError:
    return MemoryFileError(f"{path} is not a memory file: {reason}; give a file that callosal.save_memory wrote")


def _truncated(path: object, size: int, least: int) -> MemoryFileError:
    return MemoryFileError(f"{path} is truncated: {size} bytes of at least {least}; restore it from a copy")


def _altered(path: object, reason: str) -> MemoryFileError:
    return MemoryFileError(f"{path} is altered or damaged: {reason}; restore it from a copy")
