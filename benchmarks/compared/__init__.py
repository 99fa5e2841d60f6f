"""What a user would pick in place of ours: the models and services beside it."""
