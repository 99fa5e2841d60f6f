"""What pages show: pure functions of records."""
