"""What everything stands on: errors, settings, object keys, the store, harmless text."""
