"""Short videos by the real encoders, and the RTP payloads of those codecs for which aiortc has no packetiser."""

import fractions
import functools
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np

FRAMES = 20
KEYFRAME_DISTANCE = 7
OPTIONS = {
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "libx264": {"preset": "ultrafast", "tune": "zerolatency", "slices": "3", "repeat-headers": "1"},
    "libsvtav1": {"preset": "11"},
}
MAX_PAYLOAD_BYTES = 1200


@functools.cache
def encode(encoder: str) -> tuple[tuple[bool, bytes], ...]:
    """(is a keyframe, bitstream) of each access unit of a small noisy picture that scrolls."""
    # In a thread of its own: where SVT-AV1 runs as root, it makes the thread that calls it a real-time one of the highest
    # priority, and all that this starts later would be that, too.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_encode, encoder).result()


def _encode(encoder: str) -> tuple[tuple[bool, bytes], ...]:
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = 160, 96, "yuv420p"
    context.framerate = fractions.Fraction(30, 1)
    context.time_base = 1 / context.framerate
    context.gop_size = KEYFRAME_DISTANCE
    context.bit_rate = 300_000
    context.options = OPTIONS[encoder]
    picture = np.random.default_rng(1).integers(0, 255, (144, 160), np.uint8)
    packets = []
    for index in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(np.roll(picture, index, 1), format="yuv420p")
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    return tuple((packet.is_keyframe, bytes(packet)) for packet in packets)


def chunks_of(data: bytes, size: int = MAX_PAYLOAD_BYTES) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


def packetise_vp9(keyframe: bool, frame: bytes, picture_id: int, *, layers: bool) -> list[bytes]:
    """RFC 9628 section 4.2: non-flexible mode, 15 bit picture id, layer indices on request."""
    payloads = []
    chunks = chunks_of(frame)
    for index, chunk in enumerate(chunks):
        first = 0x80 | (not keyframe) << 6 | layers << 5 | (index == 0) << 3 | (index == len(chunks) - 1) << 2
        descriptor = bytes([first]) + (0x8000 | picture_id).to_bytes(2, "big")
        if layers:
            descriptor += bytes([0x20, picture_id & 255])  # temporal layer 1, spatial layer 0; TL0PICIDX
        payloads.append(descriptor + chunk)
    return payloads


def leb128(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([0x80 | value & 127])
        value >>= 7
    return encoded + bytes([value])


def read_leb128(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for index, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, data[index + 1 :]
    raise ValueError("leb128 without an end")


def obus_of(unit: bytes) -> list[bytes]:
    """The OBUs of a temporal unit as RTP carries them: no temporal delimiters, no size fields."""
    obus = []
    while unit:
        header, rest = unit[0], unit[1:]
        extension = b""
        if header & 4:
            extension, rest = rest[:1], rest[1:]
        assert header & 2  # obu_has_size_field
        size, rest = read_leb128(rest)
        if header >> 3 & 15 != 2:
            obus.append(bytes([header & ~2]) + extension + rest[:size])
        unit = rest[size:]
    return obus


def packetise_av1(keyframe: bool, unit: bytes, *, counted: bool) -> list[bytes]:
    """AV1 RTP payload specification, section 4: `counted` uses W, else every element has its length."""
    packets: list[list[bytes]] = [[]]
    continued = [False]
    for obu in obus_of(unit):
        pieces = chunks_of(obu, 1000)
        for index, piece in enumerate(pieces):
            full = sum(map(len, packets[-1])) + len(piece) > MAX_PAYLOAD_BYTES or len(packets[-1]) == 3
            if packets[-1] and (full or index):
                packets.append([])
                continued.append(index > 0)
            packets[-1].append(piece)
    payloads = []
    for index, elements in enumerate(packets):
        begins = keyframe and index == 0
        continues = index + 1 < len(packets) and continued[index + 1]
        count = len(elements) if counted else 0
        payload = bytes([continued[index] << 7 | continues << 6 | count << 4 | begins << 3])
        for place, element in enumerate(elements):
            if not (counted and place == len(elements) - 1):
                payload += leb128(len(element))
            payload += element
        payloads.append(payload)
    return payloads
