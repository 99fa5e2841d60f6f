"""Fits on a cluster beside fits in one process."""
