"""Study capacity."""
