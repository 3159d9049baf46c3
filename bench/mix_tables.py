"""What the compiled loop of `relay bench mix` works on: the voices it plays a worker for, and where it counts."""

from enum import IntEnum
from typing import Final

import numpy as np

FRAME_NS: Final = 20_000_000
FRAME_TICKS: Final = 960  # RTP, 48 kHz
PAYLOAD_SLOT_BYTES: Final = 512
LATE_NS: Final = 5_000_000  # a packet that leaves later than this disturbs what is measured

MIX_VOICE = np.dtype(
    [
        ("input", "i4"),  # row at the mixer
        ("generation", "i8"),
        ("talks", "u1"),
        ("level_dbov", "u1"),
        ("sequence", "i8"),
        ("timestamp", "i8"),
        ("payload", "i8"),  # of those below, which comes next
        ("first_payload", "i8"),
        ("payload_count", "i8"),
    ],
    align=True,
)
"""Somebody whose packets come in."""

MIX_STREAM = np.dtype(
    [
        ("packets", "i8"),  # so far
        ("sequence", "i8"),  # of the latest, -1 before the first
        ("gaps", "i8"),  # of the numbers, where the stream did not begin anew
        ("bytes", "i8"),  # of Opus
    ],
    align=True,
)
"""What a mixer sends to one stream."""

MIX_PLAYER = np.dtype(
    [
        # As a worker's; see `media.tables.CONTEXT`, which `media.taps` works on.
        ("worker", "i8"),
        ("workers", "i8"),
        ("taps", "i8"),
        ("tap_cursors", "i8"),
        ("tap_mask", "i8"),
        ("sleep_flags", "i8"),
        ("wake_fds", "i8"),
        ("wake_count", "i8"),
        ("counters", "i8"),
        ("clock", "i8"),
        # Its own.
        ("mixer", "i8"),  # the reader of what is sent
        ("voices", "i8"),  # MIX_VOICE [voice_count]
        ("voice_count", "i8"),
        ("streams", "i8"),  # MIX_STREAM [stream_count]
        ("stream_count", "i8"),
        ("payloads", "i8"),  # uint8 [payload_count][PAYLOAD_SLOT_BYTES]
        ("payload_lengths", "i8"),  # int64 [payload_count]
        ("payload_count", "i8"),  # of all voices together
        ("tallies", "i8"),
        ("pause_ns", "i8"),  # between two looks at the clock: packets that are due meanwhile go at once
        ("began_ns", "i8"),
        ("now_ns", "i8"),
        ("next", "i8"),  # packets sent, of all voices
        ("latest_ns", "i8"),
        ("stopping", "i8"),  # set from outside
    ],
    align=True,
)
"""Everything the loop needs, behind one pointer."""


class PlayerTally(IntEnum):
    """Index into the loop's counts."""

    SENT = 0
    SENT_LATE = 1
    REFUSED = 2  # the ring to the mixer was full
    RECEIVED = 3
    SWITCHES = 4  # of listeners between the shared stream and one of their own


MIX_PEER = np.dtype(
    [
        ("fd", "i4"),
        ("send_session", "i8"),  # address of an SRTP session
        ("receive_session", "i8"),
        ("ssrc", "i8"),
        ("level_dbov", "u1"),
        ("sequence", "i8"),
        ("timestamp", "i8"),
        ("payload", "i8"),  # of those below, which comes next
        ("first_payload", "i8"),
        ("payload_count", "i8"),
        ("consent_length", "i4"),
        ("packets", "i8"),  # received so far
        ("heard_sequence", "i8"),  # of the latest, -1 before the first
        ("gaps", "i8"),  # packets that the numbers say are missing
    ],
    align=True,
)
"""Somebody with a socket, who sends packets and gets the mix."""

CONSENT_SLOT_BYTES: Final = 256
PACKET_SLOT_BYTES: Final = 2_048

MIX_CROWD = np.dtype(
    [
        ("peers", "i8"),  # MIX_PEER [peer_count]
        ("peer_count", "i8"),
        ("peer_of_fd", "i8"),  # int64 [fd_count]
        ("fd_count", "i8"),
        ("consents", "i8"),  # uint8 [peer_count][CONSENT_SLOT_BYTES]
        ("payloads", "i8"),  # uint8 [n][PAYLOAD_SLOT_BYTES]
        ("payload_lengths", "i8"),  # int64 [n]
        ("total_payloads", "i8"),
        ("epoll_fd", "i8"),
        ("events", "i8"),  # EPOLL_EVENT [CROWD_EVENTS]
        ("packet", "i8"),  # uint8 [PACKET_SLOT_BYTES]
        ("length", "i8"),  # int32 [1]
        ("clock", "i8"),
        ("tallies", "i8"),
        ("consent_interval_ns", "i8"),  # between those of two peers
        ("consent_next", "i8"),  # whose turn it is
        ("consent_due_ns", "i8"),
        ("began_ns", "i8"),
        ("now_ns", "i8"),
        ("next", "i8"),
        ("stopping", "i8"),
    ],
    align=True,
)
"""Everything `bench.mix_peers_loop` needs, behind one pointer."""

CROWD_EVENTS: Final = 256


class CrowdTally(IntEnum):
    """Index into the counts of `bench.mix_peers_loop`."""

    SENT = 0
    SENT_LATE = 1
    FAILED = 2  # the system refused it, or it could not be encrypted
    RECEIVED = 3
    UNPROTECT_FAILED = 4
