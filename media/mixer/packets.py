"""What a mixer sends to workers: RTP packets of the streams it makes, their clock, and switches of routes."""

from typing import Any

from media.audio.opus import encode_frame
from media.codecs import OPUS
from media.jit import helper, integer, kernel
from media.memory import TAP_DATA, TAP_META, bytes_at, packets_at, record_at
from media.mixer.memory import tally
from media.mixer.tables import PACKET_BYTES, Tally
from media.native import memcpy
from media.rtp import write_u16, write_u32
from media.tables import NO_LEVEL, TAP, TAP_PACKET, TAP_SENDER_REPORT, TAP_SWITCH
from media.taps import publish_tap, reserve_tap

HEADER_BYTES = 12
REPORT_TICKS = 250
"""5 s between two words on a stream's clock. It is the machine's own, so it does not drift from what is computed of it."""


@helper
def rtp_timestamp(context: Any) -> int:
    """Of the packets of this tick: 48 kHz, the same for all streams of the mixer."""
    return (context.tick * 960) & 0xFFFFFFFF


@kernel
def encode_payload(context: Any, encoder_address: int, samples: Any) -> int:
    """Encode float32 [960] into `context.payload`. Returns: its bytes; 0 or less when there are none."""
    length = encode_frame(encoder_address, samples, bytes_at(context.payload, PACKET_BYTES))
    tally(context, Tally.FRAMES_ENCODED if length > 0 else Tally.CODEC_FAILED, 1)
    return length


@kernel
def send_packet(
    context: Any,
    worker: int,
    inbound: int,
    generation: int,
    stream: int,
    sequence: int,
    marker: int,
    level_dbov: int,
    length: int,
) -> None:
    """Hand the Opus frame in `context.payload` to a stream of ours on a worker.

    `stream`: whose numbering it is, so that the worker knows when another begins.
    """
    place = reserve_tap(context, worker)
    if place == 0:
        return
    record = record_at(TAP, place)
    record.kind = TAP_PACKET
    record.inbound = inbound
    record.generation = generation
    record.stream = stream
    record.resumes = marker
    record.pauses = 0
    meta = packets_at(place + TAP_META)
    meta[0].arrival_ns = context.now_ns
    meta[0].ssrc = stream & 0xFFFFFFFF
    meta[0].timestamp = rtp_timestamp(context)
    meta[0].sequence_number = sequence & 0xFFFF
    meta[0].payload_type = 0
    meta[0].codec = OPUS
    meta[0].marker = marker
    meta[0].keyframe = 1
    meta[0].level_dbov = level_dbov
    meta[0].voiced = level_dbov != NO_LEVEL
    meta[0].speaking = 0
    meta[0].two_byte = 0
    meta[0].element_count = 0
    meta[0].offset = 0
    meta[0].length = HEADER_BYTES + length
    meta[0].header_length = HEADER_BYTES
    meta[0].payload_length = length
    meta[0].mid_length = 0
    meta[0].rid_length = 0
    packet = bytes_at(place + TAP_DATA, HEADER_BYTES)
    packet[0] = 0x80
    packet[1] = integer(marker) << 7
    write_u16(packet, 2, sequence & 0xFFFF)
    write_u32(packet, 4, rtp_timestamp(context))
    write_u32(packet, 8, stream & 0xFFFFFFFF)
    memcpy(place + TAP_DATA + HEADER_BYTES, context.payload, min(length, PACKET_BYTES))
    publish_tap(context, worker)
    tally(context, Tally.PACKETS_OUT, 1)


@kernel
def send_clock(context: Any, worker: int, inbound: int, generation: int, stream: int) -> None:
    """Tell a worker which wall-clock time the timestamp of this tick is (RFC 3550 6.4.1)."""
    place = reserve_tap(context, worker)
    if place == 0:
        return
    wall_ns = context.now_ns + context.wall_offset_ns
    record = record_at(TAP, place)
    record.kind = TAP_SENDER_REPORT
    record.inbound = inbound
    record.generation = generation
    record.stream = stream
    record.report_ntp = (wall_ns // 1_000_000_000 << 32) + ((wall_ns % 1_000_000_000) << 32) // 1_000_000_000
    record.report_timestamp = rtp_timestamp(context)
    record.report_arrival_ns = context.now_ns
    publish_tap(context, worker)


@kernel
def send_switch(
    context: Any,
    worker: int,
    outbound: int,
    outbound_generation: int,
    origin: int,
    inbound: int,
    generation: int,
    stream: int,
) -> bool:
    """Let a subscriber's stream leave one of a mix's streams for another (`media.outbound_rows.switch_route`).

    Returns: False when there was no room to say so; then it stays where it was.
    """
    place = reserve_tap(context, worker)
    if place == 0:
        return False
    record = record_at(TAP, place)
    record.kind = TAP_SWITCH
    record.inbound = inbound
    record.generation = generation
    record.stream = stream
    record.outbound = outbound
    record.outbound_generation = outbound_generation
    record.origin = origin
    publish_tap(context, worker)
    return True
