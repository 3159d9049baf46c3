"""Files that a recording is written to: WAV by the standard library, Opus in Ogg by PyAV where it is installed.

What was written is on the disk and can be played, whatever happens next: a header of a WAV file always says how long the file is, a page
of an Ogg file is complete. All of this blocks, and is for threads.
"""

import errno
import importlib
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voicebot.errors import VoicebotError

#: Sizes in a WAV file's header have 32 bits, and count the header, too.
MAX_WAV_BYTES = 2**32 - 1 - 36
#: Of an Ogg page, in microseconds: so much is lost at most when the power fails.
PAGE_US = 500_000
#: Of silence that is made at a time.
_PADDING_SAMPLES = 480_000


class RecordingError(VoicebotError):
    """The recording cannot go on; the text says why, and what was kept."""


class RecordingFile(Protocol):
    """A file of one channel that grows."""

    path: Path
    #: Samples that are in it.
    length: int

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append samples, and have them on the disk.

        Raises: RecordingError.
        """

    def close(self) -> None:
        """Finish it.

        Raises: RecordingError.
        """


class WavFile:
    """See ``RecordingFile``."""

    suffix = ".wav"

    def __init__(self, path: Path, rate: int) -> None:
        self.path = path
        self.length = 0
        try:
            self._raw = path.open("wb")
        except OSError as error:
            raise _explain(error, path, 0) from error
        self._rate = rate
        self._wave = wave.open(self._raw, "wb")  # noqa: SIM115 - it is closed by `close`
        self._wave.setparams((1, 2, rate, 0, "NONE", ""))

    def write(self, samples: NDArray[np.int16]) -> None:
        """See ``RecordingFile``."""
        if (self.length + len(samples)) * 2 > MAX_WAV_BYTES:
            raise RecordingError(f"{self.path} is full: a WAV file holds no more than 4 GiB; record as opus")
        try:
            self._wave.writeframes(samples.astype("<i2", copy=False).tobytes())  # and the header
            self._raw.flush()
        except OSError as error:
            raise _explain(error, self.path, self.length / self._rate) from error
        self.length += len(samples)

    def close(self) -> None:
        """See ``RecordingFile``."""
        try:
            try:
                self._wave.close()
            finally:
                self._raw.close()
        except OSError as error:
            raise _explain(error, self.path, self.length / self._rate) from error


class OggFile:
    """See ``RecordingFile``."""

    suffix = ".ogg"

    def __init__(self, path: Path, rate: int) -> None:
        av = _require_av()
        self.path = path
        self.length = 0
        self._rate = rate
        self._av = av
        try:
            path.open("wb").close()
            options = {"page_duration": str(PAGE_US), "flush_packets": "1"}
            self._container: Any = av.open(str(path), "w", format="ogg", options=options)
            self._stream = self._container.add_stream("libopus", rate=rate)
            self._stream.layout = "mono"
        except OSError as error:  # PyAV's are, too
            raise _explain(error, path, 0) from error

    def write(self, samples: NDArray[np.int16]) -> None:
        """See ``RecordingFile``."""
        if not len(samples):
            return
        frame = self._av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self.length
        self._put(lambda: self._container.mux(self._stream.encode(frame)))
        self.length += len(samples)

    def close(self) -> None:
        """See ``RecordingFile``."""
        try:
            if self.length:
                self._put(lambda: self._container.mux(self._stream.encode(None)))
        finally:
            self._put(self._container.close)

    def _put(self, do: Callable[[], object]) -> None:
        try:
            do()
        except OSError as error:
            raise _explain(error, self.path, self.length / self._rate) from error


#: By what the recorder's configuration calls them.
FORMATS: dict[str, type[WavFile] | type[OggFile]] = {"wav": WavFile, "opus": OggFile}


def require_format(name: str) -> type[WavFile] | type[OggFile]:
    """Return the kind of file of this name.

    Raises: RecordingError when what it needs is not installed.
    """
    if name == "opus":
        _require_av()
    return FORMATS[name]


def write_at(file: RecordingFile, position: int, samples: NDArray[np.int16]) -> None:
    """Write samples where they belong: silence fills what is missing, and what is there already is kept.

    Raises: RecordingError.
    """
    while file.length < position:
        file.write(np.zeros(min(position - file.length, _PADDING_SAMPLES), np.int16))
    file.write(samples[file.length - position :])


def _require_av() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError:
        raise RecordingError("to record as opus PyAV is needed: pip install av; or record as wav") from None


def _explain(error: OSError, path: Path, kept_s: float) -> RecordingError:
    why = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
    kept = f"; {kept_s:.1f} s of it are kept" if kept_s else ""
    return RecordingError(f"{path} cannot be written: {why}{kept}")
