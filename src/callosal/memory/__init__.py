"""Memory layers: modules with parameters, their state passed in and handed back."""

from callosal.memory.calibration import calibrate
from callosal.memory.config import MemoryConfig
from callosal.memory.disk.format import Header, MemoryFileError, read_header, read_headers
from callosal.memory.disk.storage import load_memory, save_memory
from callosal.memory.editing import fork, merge, reset_banks
from callosal.memory.inspection import diff, summarise
from callosal.memory.lateral import LateralMemory
from callosal.memory.protocol import Memory, Penalised, Routes, State
from callosal.memory.sequence import sequence_parallel
from callosal.memory.shared import SharedMemory
from callosal.memory.state import CarriedContext, MemoryState, OpenSegment, RowState

__all__ = [
    "CarriedContext",
    "Header",
    "LateralMemory",
    "Memory",
    "MemoryConfig",
    "MemoryFileError",
    "MemoryState",
    "OpenSegment",
    "Penalised",
    "Routes",
    "RowState",
    "SharedMemory",
    "State",
    "calibrate",
    "diff",
    "fork",
    "load_memory",
    "merge",
    "read_header",
    "read_headers",
    "reset_banks",
    "save_memory",
    "sequence_parallel",
    "summarise",
]


def __dir__() -> list[str]:
    return list(__all__)
