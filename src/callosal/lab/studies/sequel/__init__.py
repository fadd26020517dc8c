"""Study sequel."""
