"""One method family a file: closed forms on counts, moments and risk tables, and the checks before them."""
