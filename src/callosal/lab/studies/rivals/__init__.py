"""Study rivals."""
