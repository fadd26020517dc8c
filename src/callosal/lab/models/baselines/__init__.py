"""Other memories as baselines, behind the lateralized memory's contract, and two bounds.

:class:`FeedForward` remembers nothing, :class:`FullHistory` everything; the others are memories (or, for
:class:`SwitchMixture`, a division of labour) from the literature, rebuilt at the same scale.
"""

from callosal.lab.models.baselines.base import SegmentMemory
from callosal.lab.models.baselines.feed_forward import FeedForward, FeedForwardConfig, NoState
from callosal.lab.models.baselines.history import FullHistory, FullHistoryConfig, HistoryState
from callosal.lab.models.baselines.memory_network import MemoryNetwork, MemoryNetworkConfig, RingState
from callosal.lab.models.baselines.mixture import RoutingState, SwitchConfig, SwitchMixture
from callosal.lab.models.baselines.recurrent import RecurrentConfig, RecurrentTokens, TokenState
from callosal.lab.models.baselines.titans import TitansConfig, TitansMemory, TitansState
from callosal.lab.models.baselines.turing import TuringConfig, TuringMemory, TuringState

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
