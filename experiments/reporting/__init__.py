"""What is made of estimates: the verdict, the doubts, the words."""

from typing import Final

SCHEMA: Final = 1
"""The version of a readout's JSON, docs/readout.md: here, so that whoever only keeps documents loads no statistics."""
