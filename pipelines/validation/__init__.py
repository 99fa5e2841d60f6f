"""What a good delivery is, and what becomes of rows that are not."""
