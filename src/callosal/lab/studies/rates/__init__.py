"""Study rates."""
