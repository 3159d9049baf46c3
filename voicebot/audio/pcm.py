"""What can be played, and how it becomes pieces of PCM of a good size. No tasks, no I/O of its own."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing

import numpy as np
import trio
from numpy.typing import NDArray

from voicebot.audio.frame import BYTES_A_SAMPLE
from voicebot.audio.resampler import Resampler

#: Bytes are signed 16 bit little-endian, one channel; arrays have one dimension, and are int16, or floats from -1 to 1.
Samples = bytes | bytearray | memoryview | NDArray[np.int16] | NDArray[np.float32]
#: What ``Connection.play`` takes: samples, or any iterable of them, such as what a speech synthesizer yields as it goes.
Sound = Samples | Iterable[Samples] | AsyncIterable[Samples]

#: What the relay speaks, in samples a second.
RATES = (8000, 16000, 24000, 32000, 48000)
LOWEST_RATE, HIGHEST_RATE = 4000, 192_000
#: A frame of the relay: fewer samples than that are not worth a message.
SHORTEST_MS = 20
#: Longer ones would hold up other messages of the connection; 200 ms are 19 KB at 48 kHz.
LONGEST_MS = 200


def is_whole(sound: Sound) -> bool:
    """Tell whether it is all there, or comes piece by piece."""
    return isinstance(sound, bytes | bytearray | memoryview | np.ndarray)


def to_pcm(samples: Samples) -> bytes:
    """Return samples as signed 16 bit little-endian bytes; there may be an odd number of them, if they were bytes.

    Floats are from -1 to 1; what is beyond that is clipped.

    Raises: TypeError, ValueError.
    """
    if isinstance(samples, bytes):
        return samples
    if isinstance(samples, bytearray | memoryview):
        return bytes(samples)
    if not isinstance(samples, np.ndarray):
        raise TypeError(
            f"expected bytes (signed 16 bit little-endian), or an array of int16 or float32, not {type(samples).__name__}"
        )
    if samples.ndim != 1:
        raise ValueError(f"expected one channel, an array of one dimension, not of the shape {samples.shape}")
    if samples.dtype.kind == "i" and samples.dtype.itemsize == BYTES_A_SAMPLE:
        return samples.astype("<i2", copy=False).tobytes()
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"expected an array of int16, or of float32 from -1 to 1, not of {samples.dtype}")
    if not np.isfinite(samples).all():
        raise ValueError("expected finite samples from -1 to 1, found NaN or infinity")
    return (np.clip(samples, -1.0, 1.0) * 32767).round().astype("<i2").tobytes()


def check_even(length: int) -> None:
    """Refuse half a sample.

    Raises: ValueError.
    """
    if length % BYTES_A_SAMPLE:
        raise ValueError(
            f"{length} bytes are not a whole number of samples: expected signed 16 bit PCM, 2 bytes a sample"
        )


def relay_rate(rate: int) -> int:
    """Return the rate at which the relay is given samples of this one: the next higher that it speaks.

    Raises: ValueError.
    """
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(
            f"rate must be between {LOWEST_RATE} and {HIGHEST_RATE} samples a second, not {rate!r}"
        )
    return next((each for each in RATES if each >= rate), RATES[-1])


async def relay_pieces_of(sound: Sound, rate: int) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a sound at the rate that ``relay_rate`` says.

    Raises: as ``pieces_of``.
    """
    to_rate = relay_rate(rate)
    resampler = None if to_rate == rate else Resampler(rate, to_rate)
    async with aclosing(pieces_of(sound, rate)) as pieces:
        async for piece in pieces:
            pcm = piece if resampler is None else resampler.resample(np.frombuffer(piece, "<i2")).tobytes()
            if pcm:
                yield pcm
    if resampler is not None:
        yield resampler.flush().tobytes()


async def pieces_of(sound: Sound, rate: int) -> AsyncGenerator[bytes, None]:
    """Yield a sound in pieces of 20 to 200 ms; only the last may be shorter.

    Where pieces of bytes are cut does not matter: half a sample is kept for the next. An iterable is closed when this is.

    Raises: TypeError, ValueError; whatever the iterable raises.
    """
    longest = rate * LONGEST_MS // 1000 * BYTES_A_SAMPLE
    shortest = rate * SHORTEST_MS // 1000 * BYTES_A_SAMPLE
    waiting, total = b"", 0
    try:
        async with aclosing(_samples_of(sound)) as each:
            async for samples in each:
                pcm = to_pcm(samples)
                total += len(pcm)
                waiting, begin = waiting + pcm if waiting else pcm, 0
                while len(waiting) - begin >= shortest:
                    end = min(begin + longest, len(waiting) // BYTES_A_SAMPLE * BYTES_A_SAMPLE)
                    yield waiting[begin:end]
                    begin = end
                waiting = waiting[begin:]
        check_even(total)
    except Exception:
        # What came before the fault is worth hearing.
        if len(waiting) >= BYTES_A_SAMPLE:
            yield waiting[: len(waiting) // BYTES_A_SAMPLE * BYTES_A_SAMPLE]
        raise
    if waiting:
        yield waiting


async def _samples_of(sound: Sound) -> AsyncGenerator[Samples, None]:
    if isinstance(sound, bytes | bytearray | memoryview | np.ndarray):
        yield sound
    elif isinstance(sound, AsyncIterable):
        iterator = aiter(sound)
        try:
            async for samples in iterator:
                yield samples
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
    elif isinstance(sound, Iterable) and not isinstance(sound, str):
        for samples in sound:
            yield samples
            await trio.lowlevel.checkpoint()  # a generator that computes does not let others run
    else:
        raise TypeError(f"expected samples or an iterable of them, not {type(sound).__name__}")
