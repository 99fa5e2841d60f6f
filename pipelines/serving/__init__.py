"""Load the champion, verify it, and score texts with it."""
