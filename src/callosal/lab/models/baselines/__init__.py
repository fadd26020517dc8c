"""Other memories as baselines, behind the lateralized memory's contract, and two bounds.

:class:`FeedForward` remembers nothing, :class:`FullHistory` everything; the others are memories (or, for
:class:`SwitchMixture`, a division of labour) from the literature, rebuilt at the same scale.
"""

from callosal.lab.models.baselines.feed_forward import FeedForward, FeedForwardConfig
from callosal.lab.models.baselines.gated_delta import GatedDelta, GatedDeltaConfig
from callosal.lab.models.baselines.history import FullHistory, FullHistoryConfig
from callosal.lab.models.baselines.memory_network import MemoryNetwork, MemoryNetworkConfig
from callosal.lab.models.baselines.mixture import SwitchConfig, SwitchMixture
from callosal.lab.models.baselines.recurrent import RecurrentConfig, RecurrentTokens
from callosal.lab.models.baselines.titans import TitansConfig, TitansMemory
from callosal.lab.models.baselines.turing import TuringConfig, TuringMemory

# The configuration and the module of each, by the name that runs know it under.
BASELINES: dict[str, tuple[type, type]] = {
    "feed-forward": (FeedForwardConfig, FeedForward),
    "history": (FullHistoryConfig, FullHistory),
    "memory-network": (MemoryNetworkConfig, MemoryNetwork),
    "turing": (TuringConfig, TuringMemory),
    "mixture": (SwitchConfig, SwitchMixture),
    "recurrent": (RecurrentConfig, RecurrentTokens),
    "titans": (TitansConfig, TitansMemory),
    "gated-delta": (GatedDeltaConfig, GatedDelta),
}
