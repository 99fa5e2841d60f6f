"""The behavioural suite: what a change of a text must and must not do to its answer."""
