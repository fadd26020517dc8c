"""Study benchmark."""
