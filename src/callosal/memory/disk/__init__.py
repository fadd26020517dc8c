"""Memories as files: the format, saving and loading, a store of many users, editing without a model."""
