"""`make demo`: the whole loop on this machine, night by night, with what goes wrong in each."""
