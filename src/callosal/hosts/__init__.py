"""Memories in models that somebody else wrote: attached by hooks, used in sessions, kept as adapters."""
