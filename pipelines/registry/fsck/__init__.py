"""Read everything that both buckets hold, and name the first object of each fault."""
