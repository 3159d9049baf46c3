"""Kernels under test run twice: compiled, and interpreted with all that they call.

Compiled code checks no bounds. Interpreted code does, so that a read behind the end of a packet is an IndexError.
"""

from types import FunctionType

import numpy as np

from media.jit import python_function
from media.tables import PACKET

GUARD = 64
"""Bytes before and behind what a kernel may touch."""


def both(function):
    """The compiled function and the interpreted one."""
    return function, interpreted(function)


def interpreted(compiled, known=None):
    """The function behind a kernel, calling the functions behind the kernels it calls."""
    known = {} if known is None else known
    if compiled not in known:
        function = python_function(compiled)
        scope = {}
        known[compiled] = FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
        for name in function.__code__.co_names:
            if name in function.__globals__:
                value = function.__globals__[name]
                scope[name] = interpreted(value, known) if hasattr(value, "py_func") else value
    return known[compiled]


def new_records(function, count=1):
    """PACKET records as `function` can take them, filled with what an earlier packet might have left."""
    records = np.full(count * PACKET.itemsize, 0xA5, np.uint8).view(PACKET)
    # Interpreted code needs np.record elements for attribute access; numba takes the plain array.
    return records if hasattr(function, "py_func") else records.view(np.recarray)


class Guarded:
    """A copy of some bytes in the middle of a larger buffer, which notices writes outside of them."""

    def __init__(self, content: bytes, room: int = 0):
        self._buffer = np.full(len(content) + room + 2 * GUARD, 0x5A, np.uint8)
        self.array = self._buffer[GUARD : GUARD + len(content) + room]
        self.array[: len(content)] = np.frombuffer(content, np.uint8)

    def __bytes__(self):
        assert (self._buffer[:GUARD] == 0x5A).all()
        assert (self._buffer[-GUARD:] == 0x5A).all()
        return self.array.tobytes()
