"""What others may be told about a champion: off by default, and nothing depends on it."""
