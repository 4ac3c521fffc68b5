"""The chaos harness: a real service and a real PostgreSQL under faults, judged from outside.

`python -m tests.chaos` runs it; `python -m tests.chaos mutants` shows that it can fail. See `docs/chaos.md`.
"""
