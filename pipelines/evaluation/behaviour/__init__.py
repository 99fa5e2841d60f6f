"""The behavioural suite: how a model's answer must react to changes of a text."""
