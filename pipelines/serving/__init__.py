"""The champion as a consumer gets it."""
