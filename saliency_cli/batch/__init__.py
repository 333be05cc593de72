"""Many inputs, one after the other or side by side, with a ledger of what became of each."""
