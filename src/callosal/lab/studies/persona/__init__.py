"""Study persona."""
