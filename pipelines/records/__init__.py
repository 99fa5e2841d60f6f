"""What crosses borders, one module per family of records."""
