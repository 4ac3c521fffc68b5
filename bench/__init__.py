"""Benchmarks: peers side by side in one run, ratios first."""
