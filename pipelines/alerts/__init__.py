"""Report each incident once: kinds, messages, channels, and who was reached."""
