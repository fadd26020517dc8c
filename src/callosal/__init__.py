"""callosal: lateralized, persistent memory for transformers."""
