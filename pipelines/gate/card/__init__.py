"""The model card: sentences, tables and plots from records alone."""
