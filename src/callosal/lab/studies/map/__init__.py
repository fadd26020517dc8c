"""Study map."""
