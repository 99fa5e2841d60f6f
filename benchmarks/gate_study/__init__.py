"""Simulated years and resampled reviews: how often our gate is right, and others (ADR 8)."""
