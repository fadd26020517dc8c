"""Training on episodes: seeding, the loop, checkpoints."""
