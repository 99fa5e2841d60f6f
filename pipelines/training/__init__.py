"""Train a version from a snapshot of reviews."""
