"""Models: how they are built, stored, loaded and used for predictions."""
