"""Memory layers: modules with parameters, their state passed in and handed back."""

from callosal.memory.lateral import LateralMemory, MemoryConfig
from callosal.memory.state import MemoryState, OpenSegment

__all__ = ["LateralMemory", "MemoryConfig", "MemoryState", "OpenSegment"]
