"""Functions of libsrtp and libc, callable from kernels.

Symbols are made known to LLVM by name when this module is imported, so that the compiled code that uses them can be
cached on disk (an address compiled in, or passed as an argument, could not). All pointers travel as `uintp`.

libsrtp is the copy inside pylibsrtp's wheel (2.x: in-place `srtp_protect(session, packet, int *length)`).
Error numbers of libc calls are read with `errno()`, at once after the call.
"""

import ctypes
from typing import Any

import numpy as np
import pylibsrtp._binding
from llvmlite import binding, ir
from numba.core import cgutils, types

from media.jit import helper, intrinsic

libsrtp = ctypes.CDLL(pylibsrtp._binding.__file__)  # noqa: SLF001 - the wheel exports libsrtp nowhere else
"""libsrtp, and the libcrypto it is linked with."""

for _name in (
    "srtp_protect",
    "srtp_unprotect",
    "srtp_protect_rtcp",
    "srtp_unprotect_rtcp",
    "srtp_get_stream",
    "srtp_remove_stream",
):
    _address = ctypes.cast(getattr(libsrtp, _name), ctypes.c_void_p).value
    assert _address is not None
    binding.add_symbol(_name, _address)

_packet_function = types.int32(types.uintp, types.uintp, types.uintp)
srtp_protect: Any = types.ExternalFunction("srtp_protect", _packet_function)
srtp_unprotect: Any = types.ExternalFunction("srtp_unprotect", _packet_function)
srtp_protect_rtcp: Any = types.ExternalFunction("srtp_protect_rtcp", _packet_function)
srtp_unprotect_rtcp: Any = types.ExternalFunction("srtp_unprotect_rtcp", _packet_function)
# Both take the SSRC in network byte order, as it stands in the packet.
srtp_get_stream: Any = types.ExternalFunction("srtp_get_stream", types.uintp(types.uintp, types.uint32))
srtp_remove_stream: Any = types.ExternalFunction("srtp_remove_stream", types.int32(types.uintp, types.uint32))

SRTP_OK = 0
SRTP_BAD_PARAMETER = 2
SRTP_AUTHENTICATION_FAILED = 7
SRTP_REPLAY_FAILED = 9
SRTP_REPLAY_OLD = 10
SRTP_PARSE_FAILED = 21

recvmmsg: Any = types.ExternalFunction(
    "recvmmsg", types.int32(types.int32, types.uintp, types.uint32, types.int32, types.uintp)
)
sendmmsg: Any = types.ExternalFunction(
    "sendmmsg", types.int32(types.int32, types.uintp, types.uint32, types.int32)
)
ppoll: Any = types.ExternalFunction("ppoll", types.int32(types.uintp, types.uint64, types.uintp, types.uintp))
ioctl: Any = types.ExternalFunction("ioctl", types.int32(types.int32, types.uint64, types.uintp))
getsockopt: Any = types.ExternalFunction(
    "getsockopt", types.int32(types.int32, types.int32, types.int32, types.uintp, types.uintp)
)
read: Any = types.ExternalFunction("read", types.intp(types.int32, types.uintp, types.uintp))
write: Any = types.ExternalFunction("write", types.intp(types.int32, types.uintp, types.uintp))
clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
sched_setscheduler: Any = types.ExternalFunction(
    "sched_setscheduler", types.int32(types.int32, types.int32, types.uintp)
)
memcpy: Any = types.ExternalFunction("memcpy", types.uintp(types.uintp, types.uintp, types.uintp))
memmove: Any = types.ExternalFunction("memmove", types.uintp(types.uintp, types.uintp, types.uintp))

MSG_DONTWAIT = 0x40
MSG_TRUNC = 0x20
CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1
CLOCK_THREAD_CPUTIME_ID = 3
SCHED_OTHER = 0
SCHED_RR = 2
SCHED_RESET_ON_FORK = 0x40000000
POLLIN = 1
EINTR = 4
EIO = 5
EAGAIN = 11
EINVAL = 22
SOL_SOCKET = 1
SO_MEMINFO = 55
SO_MEMINFO_WORDS = 9
SO_MEMINFO_DROPS = 8
"""Index of the datagrams a socket had no room for, among the 32-bit words of SO_MEMINFO (linux/sock_diag.h)."""
SIOCGSTAMPNS = 0x8907
"""Asks when the datagram read last had arrived, in CLOCK_REALTIME (socket(7)); a timespec of 64-bit Linux."""
SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
AF_INET = 2
AF_INET6 = 10

POLLFD = np.dtype([("fd", "i4"), ("events", "i2"), ("revents", "i2")], align=True)
TIMESPEC = np.dtype([("seconds", "i8"), ("nanoseconds", "i8")], align=True)
IOVEC = np.dtype([("base", "u8"), ("length", "u8")], align=True)
MMSGHDR = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u4"),
        ("_pad0", "u4"),
        ("iov", "u8"),
        ("iov_count", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "i4"),
        ("_pad1", "u4"),
        ("length", "u4"),
        ("_pad2", "u4"),
    ],
    align=True,
)
"""`struct mmsghdr` of 64-bit Linux (x86-64 and arm64 lay it out alike)."""
SEGMENT_CONTROL = np.dtype(
    [("length", "u8"), ("level", "i4"), ("type", "i4"), ("segment", "u2"), ("_pad", "u2", (3,))], align=True
)
"""A control message that carries UDP_SEGMENT (udp(7)): header, 16-bit segment size, padding."""
SEGMENT_CONTROL_BYTES = 18
"""`cmsg_len` of it: without the padding."""


@intrinsic
def errno(_typing: Any) -> Any:
    """Libc's `errno` of this thread."""

    def codegen(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        int_pointer = ir.IntType(32).as_pointer()
        location = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(int_pointer, []), "__errno_location"
        )
        return builder.load(builder.call(location, []))

    return types.int32(), codegen


@helper
def clock_ns(timespec: np.ndarray, clock: int) -> int:
    """Nanoseconds of a POSIX clock. `timespec`: scratch of one TIMESPEC, owned by the calling thread."""
    clock_gettime(np.int32(clock), timespec.ctypes.data)
    return np.int64(timespec[0].seconds) * 1_000_000_000 + timespec[0].nanoseconds
