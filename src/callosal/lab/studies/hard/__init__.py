"""Study hard."""
