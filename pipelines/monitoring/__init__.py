"""Watch the champion: how it does on new reviews, whether these changed, and when to retrain."""
