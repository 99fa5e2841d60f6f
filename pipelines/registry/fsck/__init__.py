"""Read everything in both buckets, and name the first object of each fault."""
