"""The only SQL and the only clock."""
