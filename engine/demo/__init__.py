"""A simulated company that uses Takt: its customers, its teams, and what both do for twelve weeks."""
