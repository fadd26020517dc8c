"""Memories trained: conversations in, one loop, checkpoints, named random streams."""

# The label of a token that no loss and no score counts, as in transformers and torch's cross-entropy.
UNSCORED = -100
