"""The structured arrays of the load generator: one dtype per table, a line per field.

Rows are filled by the Trio side before a kernel starts and read back after it has returned; while it runs, only the
counters are read, racily. Times are nanoseconds of CLOCK_MONOTONIC.
"""

from enum import IntEnum, auto
from typing import Final

import numpy as np

SLOT_BYTES: Final = 2048  # a packet to be sent
RECEIVE_SLOT_BYTES: Final = (
    1057 * 64
)  # a run of packets received at once; an odd number of cache lines spreads slots
RECEIVE_BATCH: Final = 32  # datagrams per recvmmsg: a socket rarely holds more, and 64 KiB stays in L2
EVENT_BATCH: Final = 256  # sockets per epoll_wait
CONSENT_BYTES: Final = 256  # a STUN binding request with credentials is about 110
PROBE_MAGIC: Final = 0x62656E63
WINDOW: Final = 64  # packets behind the newest within which a duplicate is told from a late packet

PROBE = np.dtype(
    [
        ("magic", "u4"),  # PROBE_MAGIC
        ("publisher", "u4"),  # row in `publishers`
        ("sequence", "i8"),  # counts the publisher's packets over all runs; never wraps
        ("sent_ns", "i8"),  # just before the packet is encrypted and sent
    ]
)
"""What every packet carries in its payload, in the machine's byte order: both ends are this machine."""

PUBLISHER = np.dtype(
    [
        ("session", "u8"),  # address of the libsrtp session that protects
        ("sequence", "i8"),  # of the next packet
        ("first", "i8"),  # `sequence` when this run began
        ("sent", "i8"),  # packets of this run after the ramp that the socket took
        ("fd", "i4"),
        ("length", "i4"),  # RTP packet before encryption
        ("ticks", "i4"),  # RTP timestamp step per burst
    ],
    align=True,
)

ENDPOINT = np.dtype(
    [
        ("session", "u8"),  # address of the libsrtp session that unprotects; 0: expects no RTP
        ("fd", "i4"),
        ("subscriber", "i4"),  # row in `flows`; -1 for a publisher's socket
        ("consent_length", "i4"),  # bytes in its row of `consents`; 0: sends none
    ],
    align=True,
)
"""One peer's socket, publisher or subscriber."""

FLOW = np.dtype(
    [
        ("highest", "i8"),  # newest sequence received; below `first`: none yet
        ("window", "u8"),  # bit d: sequence highest - d was received
        ("delivered", "i8"),  # each packet once; packets of the ramp not counted
        ("last_ns", "i8"),  # when the last packet came, of the ramp too; 0: none yet
        ("gap_ns", "i8"),  # the longest time without one; set to 0 by the Trio side
    ],
    align=True,
)
"""What one subscriber has received of one publisher."""

SCHEDULE = np.dtype(
    [
        ("start_ns", "i8"),  # deadline of the first packet
        ("ramp_ns", "i8"),  # the rate rises from 0 to full in this time
        ("ramp_packets", "i8"),  # of all publishers, in the ramp; a multiple of their number
        ("total_packets", "i8"),  # of all publishers, ramp included; likewise
        (
            "burst",
            "i8",
        ),  # packets a publisher sends back to back: one frame; all numbers above are multiples of it
        (
            "packet_interval_ns",
            "f8",
        ),  # between packets of all publishers together, after the ramp, on average
        ("consent_interval_ns", "i8"),  # between consent checks of all peers together
        ("spin_ns", "i8"),  # how long an idle loop polls before it sleeps
        ("drain_ns", "i8"),  # how long to wait for packets under way after the last
        ("prefix_bytes", "i4"),  # payload bytes before the probe (VP8 headers)
        ("epoll_fd", "i4"),
    ],
    align=True,
)

CONTROL_STOP: Final = 0  # set by the Trio side: return at once
CONTROL_NEXT: Final = 1  # index of the next packet to send
CONTROL_CONSENT_NS: Final = 2  # when the next consent check is due
CONTROL_CONSENT: Final = 3  # the peer whose turn it is
CONTROL_WORDS: Final = 8


class Counter(IntEnum):
    """Index into `counters`."""

    SENT = 0  # datagrams of media, ramp included
    SEND_FAILED = auto()  # the generator's own socket refused it
    LATE = auto()  # sent more than LATE_NS after the deadline
    LATENESS_MAX_NS = auto()
    DELIVERED = auto()  # good packets received, ramp included, each once
    DELIVERED_COUNTED = auto()  # of these, sent after the ramp
    LATENCY_MAX_NS = auto()
    DUPLICATED = auto()
    REORDERED = auto()  # arrived after a newer packet of the same publisher
    CORRUPT = auto()  # decrypted well, but not the bytes that were sent
    UNPROTECT_FAILED = auto()
    STALE = auto()  # of an earlier run
    RTCP = auto()
    STUN = auto()
    DTLS = auto()
    OTHER = auto()
    RECEIVE_CALLS = auto()
    POLLS = auto()
    IDLE_NS = auto()  # time in which there was nothing to send or receive
    FINISHED_NS = auto()  # when the kernel returned
    LAST_SEND_NS = auto()
    LAST_DELIVERY_NS = auto()  # of a packet sent after the ramp


LATE_NS: Final = 1_000_000


class Series(IntEnum):
    """Column of `series`, which has a row per second of the run."""

    SENT = 0
    DELIVERED = 1
    LATENCY_SUM_NS = 2
    LATENCY_MAX_NS = 3
