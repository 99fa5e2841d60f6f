"""A snapshot of reviews becomes a version."""
