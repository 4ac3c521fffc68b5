"""The HTTP face: one router a noun; it validates, authenticates, and leaves the rest to operations."""
