"""Python's cycle collector, set for a process that makes hundreds of tuples an ask and hardly a cycle.

At its defaults it walks over every living object again and again while a batch is decided. What was loaded by now lives
as long as the process, so it is left out altogether.
"""

import gc


def ease() -> None:
    """Collect less often, and not what is loaded already."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
