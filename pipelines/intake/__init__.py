"""From a file that upstream drops to an entry in the ledger, and its rows."""
