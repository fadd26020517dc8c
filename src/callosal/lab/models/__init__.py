"""Models that memories are compared in: a small transformer, and other memories as baselines."""
