"""Files with sound in them, read piece by piece: WAV by the standard library, other kinds by PyAV where it is installed.

Reading is done in threads: a slow disk holds up nobody.
"""

import importlib
import wave
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio
from numpy.typing import NDArray

from voicebot.errors import VoicebotError

#: Other kinds than WAV are decoded to this rate.
DECODED_RATE = 48_000


class SoundFileError(VoicebotError):
    """A file that cannot be played; the text says why, and what would be."""


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file that was opened; ``pieces`` is to be read once, and yields PCM of one channel."""

    path: Path
    rate: int
    pieces: AsyncGenerator[bytes, None]


async def open_sound_file(path: Path) -> SoundFile:
    """Open a file.

    Raises: SoundFileError; reading ``pieces`` may, too.
    """
    rate, pieces = await trio.to_thread.run_sync(_open, path)
    return SoundFile(path, rate, _in_threads(pieces, path))


async def _in_threads(pieces: Iterator[bytes], path: Path) -> AsyncGenerator[bytes, None]:
    try:
        while True:
            piece = await trio.to_thread.run_sync(_next, pieces, path)
            if piece is None:
                return
            yield piece
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(pieces.close)  # type: ignore[attr-defined] # it is a generator


def _next(pieces: Iterator[bytes], path: Path) -> bytes | None:
    try:
        return next(pieces, None)
    except (OSError, EOFError, wave.Error) as error:
        raise SoundFileError(f"{path} cannot be read to its end: {error}") from error


def _open(path: Path) -> tuple[int, Iterator[bytes]]:
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115 - the generator closes it
    except OSError as error:
        raise SoundFileError(f"{path} cannot be opened: {error.strerror or error}") from error
    except (wave.Error, EOFError) as error:
        return _open_other(path, str(error) or "it ends within its header")
    rate, width = file.getframerate(), file.getsampwidth()
    if file.getnchannels() < 1 or width not in {1, 2, 3, 4} or rate < 1:
        file.close()
        raise SoundFileError(f"{path} has {width} bytes a sample: expected 8, 16, 24 or 32 bits")
    return rate, _wave_pieces(file)


def _wave_pieces(file: wave.Wave_read) -> Iterator[bytes]:
    with closing(file):
        channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
        while frames := file.readframes(rate):
            whole = len(frames) // (channels * width) * channels * width  # a file may have been cut off
            samples = _to_int16(frames[:whole], width).reshape(-1, channels)
            yield samples.mean(axis=1).round().astype("<i2").tobytes()


def _to_int16(frames: bytes, width: int) -> NDArray[np.int16]:
    if width == 1:  # the only one that has no sign
        return ((np.frombuffer(frames, np.uint8).astype(np.int16) - 128) << 8).astype(np.int16)
    # Of little-endian samples the last two bytes are what 16 bits can hold.
    return np.frombuffer(frames, np.uint8).reshape(-1, width)[:, width - 2 :].copy().view("<i2")[:, 0]


def _open_other(path: Path, why: str) -> tuple[int, Iterator[bytes]]:
    try:
        av = importlib.import_module("av")
    except ImportError:
        raise SoundFileError(
            f"{path} is no WAV file that can be read ({why}); for other kinds install PyAV: pip install av"
        ) from None
    try:
        container = av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise SoundFileError(f"{path} is no file with sound: {error.strerror or error}") from error
    if not container.streams.audio:
        container.close()
        raise SoundFileError(f"{path} has no sound in it")

    def pieces() -> Iterator[bytes]:
        with container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=DECODED_RATE)
            try:
                for frame in container.decode(audio=0):
                    for each in resampler.resample(frame):
                        yield each.to_ndarray().tobytes()
                for each in resampler.resample(None):
                    yield each.to_ndarray().tobytes()
            except av.FFmpegError as error:
                raise SoundFileError(f"{path} cannot be read to its end: {error}") from error

    return DECODED_RATE, pieces()
