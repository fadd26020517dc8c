"""Rivals of the lateralized memory, behind the same contract, and two bounds to hold it against.

:class:`FeedForward` remembers nothing, :class:`FullHistory` everything; the others are memories (or,
for :class:`SwitchMixture`, a division of labour) from the literature, rebuilt at the same scale.
"""

from callosal.models.rivals.base import SegmentMemory
from callosal.models.rivals.feed_forward import FeedForward, FeedForwardConfig, NoState
from callosal.models.rivals.history import FullHistory, FullHistoryConfig, HistoryState
from callosal.models.rivals.memory_network import MemoryNetwork, MemoryNetworkConfig, RingState
from callosal.models.rivals.mixture import RoutingState, SwitchConfig, SwitchMixture
from callosal.models.rivals.recurrent import RecurrentConfig, RecurrentTokens, TokenState
from callosal.models.rivals.titans import TitansConfig, TitansMemory, TitansState
from callosal.models.rivals.turing import TuringConfig, TuringMemory, TuringState

__all__ = [
    "FeedForward",
    "FeedForwardConfig",
    "FullHistory",
    "FullHistoryConfig",
    "HistoryState",
    "MemoryNetwork",
    "MemoryNetworkConfig",
    "NoState",
    "RecurrentConfig",
    "RecurrentTokens",
    "RingState",
    "RoutingState",
    "SegmentMemory",
    "SwitchConfig",
    "SwitchMixture",
    "TitansConfig",
    "TitansMemory",
    "TitansState",
    "TokenState",
    "TuringConfig",
    "TuringMemory",
    "TuringState",
]
