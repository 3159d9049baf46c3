"""The table of jitter buffers: one row per stream, its packets and its sound included, and what is said of each packet and frame.

`media.audio.jitter_arrivals` puts packets in, `media.audio.jitter` plays them. Timestamps and sequence numbers are extended to
int64. Times are samples of 48 kHz. The rows belong to one thread.
"""

from enum import IntEnum
from typing import Any, Final

import numpy as np

from media.jit import helper, integer, kernel

SLOTS: Final = 64  # packets that can wait: 1.28 s of 20 ms packets
MAX_PAYLOAD_BYTES: Final = 1276
"""A longest frame. Packets of several frames are as long only above 170 kbit/s."""

PCM_SAMPLES: Final = 7680  # a longest packet behind a frame and two splices
WINDOW: Final = 256  # arrivals that say how late packets are: 5 s of 20 ms packets
OUTLIERS: Final = 4  # of a full window, the arrivals that need not be waited for: 1.6 %


class JitterVerdict(IntEnum):
    """What `insert_packet` did with a packet."""

    STORED = 0
    RESTARTED = 1  # stored, as the first of another stream: SSRC, numbering or timestamps jumped
    DUPLICATE = 2
    LATE = 3  # its place has been played, it is REMEMBERED or more behind, or of the SSRC before
    TOO_BIG = 4  # more than MAX_PAYLOAD_BYTES
    MALFORMED = 5  # no Opus packet (RFC 6716 section 3.4)


class FrameKind(IntEnum):
    """What `play_frame` put out; of several the worst."""

    SILENCE = 0  # all zeros: nothing came yet, the stream is idle, or it says that it is silent
    DECODED = 1
    RECOVERED = 2  # in part from forward error correction
    CONCEALED = 3  # in part made up


JITTER = np.dtype(
    [
        ("started", "i8"),  # 0: no packet yet
        ("ssrc", "i8"),
        ("previous_ssrc", "i8"),  # -1 none, and when it was left
        ("changed", "i8"),
        ("playing", "i8"),  # 0: idle; `end` says nothing then
        ("ending", "i8"),  # 1: another stream begins, what plays has to be faded out first
        ("decoder_ready", "i8"),
        ("highest_sequence", "i8"),  # extended, and the timestamp of that packet
        ("highest_timestamp", "i8"),
        ("arrived", "i8"),  # bit n: the packet n before the highest one has arrived
        ("next_sequence", "i8"),  # of the packet to be decoded next; -1 before the first
        ("late_in_row", "i8"),
        ("packet_samples", "i8"),  # duration of the packet received last
        # Sound on its way out.
        ("end", "i8"),  # timestamp behind the last sample of `pcm`
        ("pcm_count", "i8"),  # samples of `pcm` in use
        ("audible", "i8"),  # behind these they are zeros
        ("debt", "i8"),  # samples concealed while `end` stood still, as nothing had come
        ("run", "i8"),  # samples since the last sound that a packet brought
        ("gain", "f8"),  # of the last sample in `pcm`
        ("dtx", "i8"),  # the packet decoded last said that there is nothing to hear
        ("kind", "i8"),  # FrameKind of what was added to `pcm` last
        ("splice_rest", "i8"),  # ticks until the next splice
        ("splice_wait", "i8"),  # ticks that one has been due
        # How late packets are.
        ("arrivals", "i8"),  # counted, a burst as one
        ("last_arrival", "i8"),
        ("earliest", "i8"),  # of `lateness`
        ("latest", "i8"),
        ("due", "i8"),  # likewise, without the outliers: when packets are surely there
        ("lateness", "i8", (WINDOW,)),  # time of arrival minus timestamp
        ("top", "i8", (OUTLIERS + 1,)),  # scratch: the largest ones
        ("loss_rate", "f8"),
        ("fec_rate", "f8"),  # share of packets that carry FEC, lately
        ("wait_for_fec", "i8"),
        # Packets, in order: order[:count] are their slots, order[count:] the free ones.
        ("count", "i8"),
        ("order", "u1", (SLOTS,)),
        ("sequence", "i8", (SLOTS,)),
        ("timestamp", "i8", (SLOTS,)),
        ("samples", "i8", (SLOTS,)),
        ("length", "i8", (SLOTS,)),
        # For others to read.
        ("target_samples", "i8"),  # the delay wanted, from the arrival of the fastest packets on
        ("delay_samples", "i8"),  # the delay at the last tick
        ("received", "i8"),  # packets, whatever the verdict
        ("duplicates", "i8"),
        ("late", "i8"),
        ("malformed", "i8"),
        ("too_big", "i8"),
        ("overflowed", "i8"),  # oldest packets that made room for newer ones
        ("skipped", "i8"),  # packets of a backlog that were not played
        ("undecodable", "i8"),
        ("lost", "i8"),  # packets that were not there when due; also those that come later
        ("recovered", "i8"),  # packets of these that FEC brought back
        ("concealed_samples", "i8"),
        ("shortened_samples", "i8"),
        ("lengthened_samples", "i8"),
        ("restarts", "i8"),
        ("payload", "u1", (SLOTS, MAX_PAYLOAD_BYTES)),
        ("pcm", "f4", (PCM_SAMPLES,)),
    ],
    align=True,
)
"""One stream. 117 KB, of which few are touched: the slots used last are used again first."""

JITTER_COUNTERS: Final = (
    "received",
    "duplicates",
    "late",
    "malformed",
    "too_big",
    "overflowed",
    "skipped",
    "undecodable",
    "lost",
    "recovered",
    "concealed_samples",
    "shortened_samples",
    "lengthened_samples",
    "restarts",
)
"""Fields that only grow, until `reset_jitter`."""


def new_jitter_buffers(count: int) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return JITTER [count], ready for use: memory that the system gives when it is first touched."""
    return np.zeros(count, JITTER)


@kernel
def reset_jitter(jitters: Any, row: int) -> None:
    """Make a row as new, counters too. Its next stream begins with a decoder that has seen nothing."""
    buffer = jitters[row]
    buffer.started = 0
    buffer.playing = 0
    buffer.ending = 0
    buffer.decoder_ready = 0
    buffer.count = 0
    buffer.pcm_count = 0
    buffer.audible = 0
    buffer.gain = 0.0
    buffer.splice_rest = 0
    buffer.splice_wait = 0
    buffer.target_samples = 0
    buffer.delay_samples = 0
    buffer.received = 0
    buffer.duplicates = 0
    buffer.late = 0
    buffer.malformed = 0
    buffer.too_big = 0
    buffer.overflowed = 0
    buffer.skipped = 0
    buffer.undecodable = 0
    buffer.lost = 0
    buffer.recovered = 0
    buffer.concealed_samples = 0
    buffer.shortened_samples = 0
    buffer.lengthened_samples = 0
    buffer.restarts = 0


@helper
def in_samples(time_ns: int) -> int:
    """Nanoseconds as samples."""
    return integer(time_ns) // 1000 * 48 // 1000


@helper
def remove_first(buffer: Any) -> None:
    """Forget the oldest packet."""
    slot = buffer.order[0]
    last = buffer.count - 1
    for index in range(last):
        buffer.order[index] = buffer.order[index + 1]
    buffer.order[last] = slot
    buffer.count = last
