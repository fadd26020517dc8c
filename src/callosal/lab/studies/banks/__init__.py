"""Study banks."""
