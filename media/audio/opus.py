"""Opus (RFC 6716) through libopus, called from kernels: mono, 48 kHz, float32.

Codec states live in arrays of the caller: libopus keeps a state in one flat block without pointers into itself, so a state is
made, or made new, by copying a configured template over it (`reset_codec`). The templates are made in Python, since libopus'
settings are variadic functions. A stereo stream is mixed down by the mono decoder.

What a packet holds (its duration, whether it carries in-band FEC) is read here: libopus before 1.5 does not tell the latter.

All functions that take a payload are total: any bytes give samples or a negative error of libopus. They need a stack of a
few hundred KiB at most, as any thread of Python has.
"""

import ctypes
from typing import Any, Final

import numpy as np

from media.audio.opus_library import libopus, opus_decode_float, opus_encode_float
from media.jit import helper, integer, kernel
from media.native import memcpy

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Samples = np.ndarray[Any, np.dtype[np.float32]]

SAMPLE_RATE: Final = 48_000
FRAME_SAMPLES: Final = 960  # 20 ms
MAX_PACKET_SAMPLES: Final = 5760  # 120 ms, the longest packet (RFC 6716 section 3.2.5)
MAX_FRAME_BYTES: Final = 1275  # the longest frame in a packet (section 3.2.1)
MAX_PACKET_FRAMES: Final = 48

OPUS_BAD_ARGUMENT: Final = -1
OPUS_INVALID_PACKET: Final = -4

APPLICATIONS: Final = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
STATE_ALIGNMENT: Final = 64  # bytes; a cache line, so that threads with neighbouring states do not share one

_SET_BITRATE: Final = 4002
_SET_COMPLEXITY: Final = 4010
_SET_INBAND_FEC: Final = 4012
_SET_PACKET_LOSS_PERCENT: Final = 4014
_SET_DTX: Final = 4016


def encoder_size() -> int:
    """Bytes of an encoder's state. libopus versions differ in it."""
    return int(libopus.opus_encoder_get_size(1))


def decoder_size() -> int:
    """Bytes of a decoder's state. libopus versions differ in it."""
    return int(libopus.opus_decoder_get_size(1))


def new_encoder_template(
    bitrate_bps: int = 32_000,
    complexity: int = 5,
    expected_loss_percent: int = 10,
    fec: bool = True,
    dtx: bool = False,
    application: str = "voip",
) -> Bytes:
    """Return a configured encoder's state, uint8 [encoder_size()].

    `expected_loss_percent` decides how much is spent on in-band FEC. `application` is one of `APPLICATIONS`.

    Raises: ValueError for settings libopus refuses, KeyError for an unknown application.
    """
    state = np.zeros(encoder_size(), np.uint8)
    _check(libopus.opus_encoder_init(state.ctypes.data, SAMPLE_RATE, 1, APPLICATIONS[application]), "encoder")
    for name, request, value in (
        ("bitrate_bps", _SET_BITRATE, bitrate_bps),
        ("complexity", _SET_COMPLEXITY, complexity),
        ("expected_loss_percent", _SET_PACKET_LOSS_PERCENT, expected_loss_percent),
        ("fec", _SET_INBAND_FEC, int(fec)),
        ("dtx", _SET_DTX, int(dtx)),
    ):
        address = ctypes.c_void_p(state.ctypes.data)
        _check(
            libopus.opus_encoder_ctl(address, ctypes.c_int(request), ctypes.c_int(value)), f"{name}={value}"
        )
    return state


def new_decoder_template() -> Bytes:
    """Return a fresh decoder's state, uint8 [decoder_size()]."""
    state = np.zeros(decoder_size(), np.uint8)
    _check(libopus.opus_decoder_init(state.ctypes.data, SAMPLE_RATE, 1), "decoder")
    return state


def new_states(template: Bytes, count: int) -> Bytes:
    """Return room for `count` states like `template`: uint8 [count, its size rounded up to `STATE_ALIGNMENT`].

    Memory that the system gives when it is first touched. No state is valid before `reset_codec`.
    """
    return np.zeros((count, -(-template.size // STATE_ALIGNMENT) * STATE_ALIGNMENT), np.uint8)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise ValueError(f"libopus refuses {what}: {libopus.opus_strerror(result).decode()}")


@kernel
def reset_codec(address: int, template_address: int, size: int) -> None:
    """Make the state at `address` a copy of the template's `size` bytes: a codec that has seen nothing yet."""
    memcpy(address, template_address, size)


@kernel
def encode_frame(encoder_address: int, samples: Samples, output: Bytes) -> int:
    """Encode one frame.

    Shapes: samples float32 [960] (or another frame length of Opus), output uint8 [>= 400].

    Units: samples in -1..1; what is beyond is clipped softly by the codec.

    Returns: bytes written, 1 or 2 of them for a frame that DTX needs not send; negative for an error of libopus.
    """
    return integer(
        opus_encode_float(
            encoder_address,
            samples.ctypes.data,
            np.int32(samples.size),
            output.ctypes.data,
            np.int32(output.size),
        )
    )


@kernel
def decode_frame(decoder_address: int, payload: Bytes, output: Samples) -> int:
    """Decode one packet.

    Shapes: payload uint8 [n], output float32 [5760].

    Returns: samples written; negative for an error of libopus. An empty payload is an invalid packet.
    """
    if payload.size == 0:
        return OPUS_INVALID_PACKET
    return _decode(decoder_address, payload, output, min(output.size, MAX_PACKET_SAMPLES), 0)


@kernel
def conceal_frame(decoder_address: int, output: Samples) -> int:
    """Continue what was decoded last over 20 ms that are lost.

    Shapes: output float32 [>= 960].

    Returns: samples written: 960.
    """
    return conceal_samples(decoder_address, output, FRAME_SAMPLES)


@kernel
def decode_fec(decoder_address: int, payload: Bytes, output: Samples) -> int:
    """Decode the 20 ms before a packet from what it carries of them; where it carries nothing, conceal.

    Call it before `decode_frame` of the same packet.

    Shapes: payload uint8 [n], output float32 [>= 960].

    Returns: samples written: 960; negative for an error of libopus.
    """
    return recover_samples(decoder_address, payload, output, FRAME_SAMPLES)


@helper
def conceal_samples(decoder_address: int, output: Samples, count: int) -> int:
    """As `conceal_frame`, for a multiple of 2.5 ms; SILK does it well for multiples of 10 ms."""
    if output.size < count:
        return OPUS_BAD_ARGUMENT
    return integer(
        opus_decode_float(
            decoder_address, np.uintp(0), np.int32(0), output.ctypes.data, np.int32(count), np.int32(0)
        )
    )


@helper
def recover_samples(decoder_address: int, payload: Bytes, output: Samples, count: int) -> int:
    """As `decode_fec`, for a multiple of 2.5 ms. What lies before the packet's own FEC frame is concealed."""
    if payload.size == 0:
        return OPUS_INVALID_PACKET
    if output.size < count:
        return OPUS_BAD_ARGUMENT
    return _decode(decoder_address, payload, output, count, 1)


@helper
def _decode(decoder_address: int, payload: Bytes, output: Samples, room: int, fec: int) -> int:
    return integer(
        opus_decode_float(
            decoder_address,
            payload.ctypes.data,
            np.int32(payload.size),
            output.ctypes.data,
            np.int32(room),
            np.int32(fec),
        )
    )


@helper
def samples_per_frame(toc: int) -> int:
    """Duration of a frame at 48 kHz (RFC 6716 section 3.1, table 2), from the packet's first byte."""
    toc = integer(toc)
    size = (toc >> 3) & 3
    if toc & 0x80:  # CELT: 2.5, 5, 10, 20 ms
        return 120 << size
    if toc & 0x60 == 0x60:  # hybrid: 10, 20 ms
        return 480 << (size & 1)
    return 2880 if size == 3 else 480 << size  # SILK: 10, 20, 40, 60 ms


@kernel
def packet_samples(payload: Bytes) -> int:
    """Duration of a packet at 48 kHz; negative if it is malformed (RFC 6716 section 3.4)."""
    frames, first, _length = parse_frames(payload)
    if first < 0:
        return OPUS_INVALID_PACKET
    return frames * samples_per_frame(payload[0])


@kernel
def has_fec(payload: Bytes) -> bool:
    """Whether a packet carries in-band FEC of the frame before it (RFC 6716 section 4.2.4, the LBRR flags)."""
    _frames, first, length = parse_frames(payload)
    if first < 0 or length == 0 or payload[0] & 0x80:  # CELT has none
        return False
    # The range coder's first bits are even ones, so that they can be read as they stand: for each channel one
    # voice activity bit per SILK frame of 20 ms or less, then its LBRR flag.
    silk_frames = max(1, samples_per_frame(payload[0]) // FRAME_SAMPLES)
    flags = integer(payload[first]) >> (7 - silk_frames)
    if payload[0] & 0x04:
        flags |= integer(payload[first]) >> (6 - 2 * silk_frames)
    return flags & 1 == 1


@kernel
def parse_frames(payload: Bytes) -> tuple[int, int, int]:
    """Parse the framing of a packet (RFC 6716 section 3.2).

    Returns: the number of frames, offset and length of the first one. A malformed packet gives an offset of -1.
    """
    size = payload.size
    if size == 0:
        return 0, -1, 0
    code = integer(payload[0]) & 3
    if code == 0:  # one frame
        return (1, 1, size - 1) if size - 1 <= MAX_FRAME_BYTES else (0, -1, 0)
    if code == 1:  # two of the same length
        half = (size - 1) >> 1
        return (2, 1, half) if (size - 1) & 1 == 0 and half <= MAX_FRAME_BYTES else (0, -1, 0)
    if code == 2:  # two, the first one's length is told
        start, length = _frame_length(payload, 1)
        rest = size - start - length
        return (2, start, length) if start > 0 and 0 <= rest <= MAX_FRAME_BYTES else (0, -1, 0)
    return _parse_many(payload)


@helper
def _frame_length(payload: Bytes, place: int) -> tuple[int, int]:
    """Read a length of one or two bytes. Returns the place behind it, -1 if it is not there, and the length."""
    if place >= payload.size:
        return -1, 0
    length = integer(payload[place])
    if length < 252:
        return place + 1, length
    if place + 1 >= payload.size:
        return -1, 0
    return place + 2, length + 4 * integer(payload[place + 1])


@helper
def _parse_many(payload: Bytes) -> tuple[int, int, int]:
    """Parse code 3: a counted number of frames, perhaps padding, perhaps a length for each but the last."""
    if payload.size < 2:
        return 0, -1, 0
    flags = integer(payload[1])
    frames = flags & 0x3F
    if frames == 0 or frames * samples_per_frame(payload[0]) > MAX_PACKET_SAMPLES:
        return 0, -1, 0
    place = 2
    end = payload.size
    if flags & 0x40:
        while True:
            if place >= end:
                return 0, -1, 0
            padding = integer(payload[place])
            place += 1
            end -= 254 if padding == 255 else padding
            if padding < 255:
                break
    if flags & 0x80 == 0:
        room = end - place
        if room < 0 or room % frames != 0 or room // frames > MAX_FRAME_BYTES:
            return 0, -1, 0
        return frames, place, room // frames
    total = first = 0
    for index in range(frames - 1):
        place, length = _frame_length(payload, place)
        if place < 0:
            return 0, -1, 0
        total += length
        if index == 0:
            first = length
    last = end - place - total
    if last < 0 or last > MAX_FRAME_BYTES:
        return 0, -1, 0
    return frames, place, first if frames > 1 else last
