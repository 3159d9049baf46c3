"""Digits as RTP events (RFC 4733, payload format `telephone-event`): reading, writing, and one event per key press.

A press is many packets: they share the timestamp of its beginning, tell how long it has lasted, and the last is sent three times.
So a press is known by its timestamp, and told at the first packet of it that arrives, whichever that is. One that lasts
longer than 16 bits of duration goes on under a new timestamp (section 2.5.1.3) and is still one press.

What it does not do: events other than the sixteen digits, which are read and ignored; tones (section 4). Codes are those of
`media.audio.dtmf`. Sans-IO: packets, their timestamps and sequence numbers are the caller's.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from media.audio.dtmf import DIGITS
from media.jit import integer, kernel
from media.rtp import read_u8, read_u16, timestamp_delta, write_u16

NO_EVENT: Final = -1

PAYLOAD_BYTES: Final = 4
END: Final = 0x80
VOLUME_MASK: Final = 0x3F
LONGEST_TICKS: Final = 0xFFFF
"""Duration of one segment, at most: 8.2 s on a clock of 8 kHz, 1.4 s on one of 48 kHz."""

LATE_TICKS: Final = 1 << 17
"""A timestamp that is further back than this (2.7 s at 48 kHz) is no late packet but a sender that started afresh."""

END_PACKETS: Final = 3
"""Section 2.5.1.4: so that a press does not last forever when its end is lost."""

DEFAULT_VOLUME: Final = 10
"""-10 dBm0, as telephones send."""

EVENT_RECEIVER = np.dtype(
    [
        ("started", "i4"),  # 0 before the first press
        ("event", "i4"),  # of the last press, any of RFC 4733
        ("ended", "i4"),  # 1 when its end has arrived
        ("duration_ticks", "i4"),  # longest that was told of its present segment
        ("timestamp", "i8"),  # of its present segment
    ],
    align=True,
)
"""One RTP stream's presses. Zeros are a new one; make it that again when the SSRC changes."""


@dataclass(frozen=True, slots=True)
class EventPacket:
    """What is of one packet of a press."""

    payload: bytes
    marker: bool
    """Whether the press begins with it."""
    offset_ticks: int
    """When it is due, and how far its RTP timestamp would be from that of the press if it were audio."""
    segment_ticks: int
    """To be added to the timestamp of the press: not 0 only in a press that is longer than LONGEST_TICKS."""


def new_event_receivers(count: int) -> np.ndarray:
    """EVENT_RECEIVER [count], before the first press."""
    return np.zeros(count, EVENT_RECEIVER)


@kernel
def receive_event(payload: np.ndarray, timestamp: int, receivers: np.ndarray, row: int) -> int:
    """Take the payload of one packet into account.

    Shapes: `payload` uint8 [n], any bytes; `timestamp` that of the packet, 32 bits; `receivers` EVENT_RECEIVER [rows].
    Returns: the code of a digit whose press is new with this packet, or NO_EVENT.
    """
    if payload.size < PAYLOAD_BYTES:
        return integer(NO_EVENT)
    event = read_u8(payload, 0)
    ended = integer(read_u8(payload, 1) & END != 0)
    duration = read_u16(payload, 2)
    receiver = receivers[row]
    if receiver.started != 0:
        advance = timestamp_delta(timestamp, receiver.timestamp)
        if advance == 0:
            receiver.ended = max(integer(receiver.ended), ended)
            receiver.duration_ticks = max(integer(receiver.duration_ticks), duration)
            return integer(NO_EVENT)
        if -LATE_TICKS < advance < 0:
            return integer(NO_EVENT)
        if advance > 0 and advance % LONGEST_TICKS == 0 and event == receiver.event and receiver.ended == 0:
            receiver.timestamp = timestamp
            receiver.ended = ended
            receiver.duration_ticks = duration
            return integer(NO_EVENT)
    receiver.started = 1
    receiver.event = event
    receiver.ended = ended
    receiver.duration_ticks = duration
    receiver.timestamp = timestamp
    return event if event < len(DIGITS) else integer(NO_EVENT)


@kernel
def write_event(event: int, end: int, volume: int, duration_ticks: int, payload: np.ndarray) -> int:
    """Write the payload of one packet of a press into uint8 [4 or more].

    Units: `volume` in -dBm0, 0..63; `duration_ticks` from the beginning of the segment, at most LONGEST_TICKS. What is beyond
    is cut to that.
    Returns: the bytes written, 0 when there is no room.
    """
    if payload.size < PAYLOAD_BYTES:
        return integer(0)
    payload[0] = event & 0xFF
    payload[1] = (END if end else 0) | min(max(integer(volume), 0), VOLUME_MASK)
    write_u16(payload, 2, min(max(integer(duration_ticks), 0), LONGEST_TICKS))
    return integer(PAYLOAD_BYTES)


def key_press(code: int, duration_ticks: int, packet_ticks: int) -> list[EventPacket]:
    """All packets of the press of one key, in order; the last END_PACKETS say the same.

    Units: ticks of the RTP clock; one packet each `packet_ticks`.
    Raises: ValueError when `code` is no digit's, or a time is not positive.
    """
    if not 0 <= code < len(DIGITS):
        raise ValueError(f"{code} is not the code of a digit: those are 0 to {len(DIGITS) - 1}")
    if duration_ticks <= 0 or packet_ticks <= 0:
        raise ValueError(f"a key is pressed for more than no time, not {duration_ticks} by {packet_ticks}")
    packets = [
        _packet(code, min(elapsed, duration_ticks), duration_ticks, offset_ticks=elapsed - packet_ticks)
        for elapsed in range(packet_ticks, duration_ticks + packet_ticks, packet_ticks)
    ]
    last = packets[-1]
    repeats = (
        EventPacket(
            last.payload,
            marker=False,
            offset_ticks=last.offset_ticks + n * packet_ticks,
            segment_ticks=last.segment_ticks,
        )
        for n in range(1, END_PACKETS)
    )
    return [*packets, *repeats]


def _packet(code: int, elapsed: int, duration_ticks: int, *, offset_ticks: int) -> EventPacket:
    segment_ticks = (elapsed - 1) // LONGEST_TICKS * LONGEST_TICKS
    payload = np.zeros(PAYLOAD_BYTES, np.uint8)
    write_event(code, int(elapsed == duration_ticks), DEFAULT_VOLUME, elapsed - segment_ticks, payload)
    return EventPacket(
        payload.tobytes(), marker=offset_ticks == 0, offset_ticks=offset_ticks, segment_ticks=segment_ticks
    )
