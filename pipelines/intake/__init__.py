"""Take in delivered files: record them in the ledger and read their rows."""
