"""How customers come to their variants: one hash, its thresholds, and the same in SQL."""
