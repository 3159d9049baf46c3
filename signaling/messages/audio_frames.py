"""Binary frames: samples of one stream, the same in both directions.

A header of 16 bytes, all little-endian, and then the samples, signed 16 bits each, one channel::

     0  version     u8   1
     1  flags       u8   1: somebody speaks, 2: samples before these were lost, 4: these are the last
     2  stream      u16  as ``audio_listening``, ``audio_stream_started`` or ``play_opened`` gave it
     4  level       u8   in -dBov (RFC 6464): 0 is the loudest, 127 silence; ignored by the server
     5  (reserved)  u8   0; ignored
     6  samples     u16  how many follow
     8  timestamp   u64  samples since the stream began, silence and what was lost included; ignored by the server

Flags that are not known are ignored, so that either side may be the newer one. Total: any bytes give a frame or an
``AudioFrameError``.
"""

import struct
from dataclasses import dataclass

VERSION = 1
HEADER = struct.Struct("<BBHBxHQ")
BYTES_A_SAMPLE = 2
#: What the header can say; who sends to the server is held to a second.
MAX_SAMPLES = 0xFFFF
SILENCE_DBOV = 127

VOICED = 1
GAP = 2
END = 4


class AudioFrameError(ValueError):
    """Bytes that are no audio frame; the text says what was wrong and what was expected, to who sent them."""


@dataclass(frozen=True, slots=True)
class AudioFrameWire:
    """One binary frame. ``pcm``: s16le, one channel; a view of the bytes it was read from, which are the owner's."""

    stream: int
    pcm: bytes | memoryview
    #: In samples since the stream began.
    timestamp: int = 0
    level_dbov: int = SILENCE_DBOV
    voiced: bool = False
    #: Samples before these were lost.
    gap: bool = False
    #: Nothing follows on this stream.
    end: bool = False

    @property
    def samples(self) -> int:
        """How many samples it holds."""
        return len(self.pcm) // BYTES_A_SAMPLE


def encode_audio_frame(
    stream: int,
    pcm: bytes | memoryview,
    *,
    timestamp: int = 0,
    level_dbov: int = SILENCE_DBOV,
    voiced: bool = False,
    gap: bool = False,
    end: bool = False,
) -> bytes:
    """Return the binary message that carries these samples (``pcm``: s16le, one channel, contiguous bytes).

    Raises: ValueError for an odd number of bytes, more samples than a frame holds, or a number beyond its field.
    """
    samples, odd = divmod(len(pcm), BYTES_A_SAMPLE)
    if odd:
        raise ValueError(f"{len(pcm)} bytes are not a whole number of samples of {BYTES_A_SAMPLE} bytes")
    if samples > MAX_SAMPLES:
        raise ValueError(
            f"{samples} samples are more than the {MAX_SAMPLES} that a frame holds: send several"
        )
    flags = VOICED * voiced | GAP * gap | END * end
    try:
        header = HEADER.pack(VERSION, flags, stream, level_dbov, samples, timestamp)
    except struct.error as error:
        raise ValueError(f"a number does not fit into its field: {error}") from None
    return header + pcm


def decode_audio_frame_untrusted(message_untrusted: bytes) -> AudioFrameWire:
    """Return what a binary message holds.

    Raises: AudioFrameError.
    """
    size = len(message_untrusted)
    if size < HEADER.size:
        raise AudioFrameError(f"{size} bytes are too short: expected a header of {HEADER.size} bytes")
    version, flags, stream, level_dbov, samples, timestamp = HEADER.unpack_from(message_untrusted)
    if version != VERSION:
        raise AudioFrameError(f"version {version} is not known: expected {VERSION} in the first byte")
    length = size - HEADER.size
    if length % BYTES_A_SAMPLE:
        raise AudioFrameError(
            f"{length} bytes follow the header: expected an even number, samples have {BYTES_A_SAMPLE} bytes"
        )
    if samples * BYTES_A_SAMPLE != length:
        raise AudioFrameError(
            f"the header speaks of {samples} samples: expected as many as follow, {length // BYTES_A_SAMPLE}"
        )
    return AudioFrameWire(
        stream,
        memoryview(message_untrusted)[HEADER.size :],
        timestamp=timestamp,
        level_dbov=min(level_dbov, SILENCE_DBOV),
        voiced=bool(flags & VOICED),
        gap=bool(flags & GAP),
        end=bool(flags & END),
    )
