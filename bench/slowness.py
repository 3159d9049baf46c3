"""The ways in which a client is slow or dead, and what is done to its socket for that.

All of them get a small receive window and small segments: on loopback the system would otherwise keep megabytes for a
client that reads nothing, which no network does.
"""

import ctypes
import socket
import struct
from contextlib import suppress
from enum import Enum
from typing import Final

SEGMENT_BYTES: Final = 1_200  # as on the Internet; loopback has 64 KiB
RECEIVE_BUFFER_BYTES: Final = 4_096
SO_ATTACH_FILTER: Final = 26  # Linux, socket(7)
SO_DETACH_FILTER: Final = 27
_DROP_ALL: Final = struct.pack("HBBI", 0x06, 0, 0, 0)
"""One `struct sock_filter`: BPF_RET | BPF_K, 0 bytes of the packet are kept."""


class Slowness(Enum):
    """What is wrong with a client."""

    DEAF = "never reads"
    SLOW = "reads 32 bytes a second"
    VANISHED = "gone without a FIN"
    GREEDY = "asks for more, never reads"


def slowness_of(index: int) -> Slowness:
    """Return the kind of the client of that number: all kinds in turn."""
    kinds = list(Slowness)
    return kinds[index % len(kinds)]


def narrow(opened: socket.socket) -> None:
    """Let a socket that is not connected yet take little at a time."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    with suppress(OSError):  # not every system lets a client choose
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)


def cut_off(opened: socket.socket) -> None:
    """Drop every packet that comes for this connection, unanswered, as where a host has lost its power.

    Nothing may be sent on it afterwards.
    """
    instruction = ctypes.create_string_buffer(_DROP_ALL)
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
