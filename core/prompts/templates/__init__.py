"""Templates: from a version and values to messages."""
