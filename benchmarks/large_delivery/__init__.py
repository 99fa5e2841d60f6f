"""One delivery of a million reviews."""
