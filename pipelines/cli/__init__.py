"""The loop from a shell: one module per group of commands."""
