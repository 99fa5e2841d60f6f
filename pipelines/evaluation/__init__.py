"""Challenger, champion and reference on the same rows; the clean process."""
