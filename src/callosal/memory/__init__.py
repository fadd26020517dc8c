"""Memory layers: modules with parameters, their state passed in and handed back."""

from callosal.memory.config import MemoryConfig
from callosal.memory.lateral import LateralMemory
from callosal.memory.protocol import Memory, Penalised, Routes, State
from callosal.memory.state import CarriedContext, MemoryState, OpenSegment, RowState

__all__ = [
    "CarriedContext",
    "LateralMemory",
    "Memory",
    "MemoryConfig",
    "MemoryState",
    "OpenSegment",
    "Penalised",
    "Routes",
    "RowState",
    "State",
]
