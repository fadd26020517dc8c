"""Models that memories are put into. They know nothing of tasks."""

from callosal.models.transformer import Transformer, TransformerConfig

__all__ = ["Transformer", "TransformerConfig"]
