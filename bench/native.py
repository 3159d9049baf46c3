"""Functions of libc that only the load generator's kernels need.

The relay's own are in `media.native`. Descriptors are opened, registered and closed from Python; the kernels only use
them. Pointers travel as `uintp`, errors are read with `media.native.errno`.
"""

import platform
from typing import Any

import numpy as np
from numba.core import types

send: Any = types.ExternalFunction("send", types.intp(types.int32, types.uintp, types.uintp, types.int32))
recv: Any = types.ExternalFunction("recv", types.intp(types.int32, types.uintp, types.uintp, types.int32))
memcmp: Any = types.ExternalFunction("memcmp", types.int32(types.uintp, types.uintp, types.uintp))
epoll_wait: Any = types.ExternalFunction(
    "epoll_wait", types.int32(types.int32, types.uintp, types.int32, types.int32)
)

_PACKED = platform.machine() == "x86_64"
EPOLL_EVENT = np.dtype(
    {
        "names": ["events", "fd"],
        "formats": ["u4", "i4"],
        "offsets": [0, 4 if _PACKED else 8],
        "itemsize": 12 if _PACKED else 16,
    }
)
"""`struct epoll_event`: packed on x86-64 alone. `select.epoll.register` fills only the descriptor half of `data`."""
