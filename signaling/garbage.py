"""Settings of Python's garbage collector for a process that holds millions of objects and answers in milliseconds.

Reference counts free nearly everything here; the collector is for cycles only, such as an exception and its
traceback. But each full collection visits every container there is while the interpreter stands still: with the
compiled kernels' own objects and three thousand connections a third of a second, and by default one was due
whenever a quarter more had been made, ten times on the way to ten thousand connections.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: New containers, beyond those freed, before the young are collected (about 2 ms), how many of these before the
#: middle generation is (10 ms), and how many of those before all are: half a million objects.
THRESHOLDS = (10_000, 10, 5)


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing meanwhile. For imports: a hundred thousand objects that stay would be gone through again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle() -> None:
    """Leave what exists now out of all collections, and make them rarer: call it once when all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
