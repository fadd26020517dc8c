"""Models that memories are put into, ours and others'. They know nothing of tasks."""

from callosal.models.hosts import Memories, attach, attach_pretrained, detach
from callosal.models.sessions import Session
from callosal.models.transformer import Transformer, TransformerConfig

__all__ = [
    "Memories",
    "Session",
    "Transformer",
    "TransformerConfig",
    "attach",
    "attach_pretrained",
    "detach",
]
