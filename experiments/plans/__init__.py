"""The parts of a plan: its values, what must hold between them, and how they are read from YAML."""
