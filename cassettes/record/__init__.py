"""Writing cassettes."""
