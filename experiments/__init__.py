"""Experiments: assignment and readouts. A library of its own that knows nothing of the engine."""
