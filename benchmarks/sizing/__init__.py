"""What grows with the reviews, and how fast."""
