"""A moment of sound: what an ``AudioStream`` yields."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES_A_SAMPLE = 2
#: In dBov (RFC 6464): nothing is heard.
SILENCE_DBOV = 127


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """Some 20 ms of one voice, or of everybody together; ``pcm`` is signed 16 bit little-endian, one channel."""

    pcm: bytes
    #: Samples a second.
    rate: int
    #: In samples since the stream began. It counts silence that was not sent, too, and what was lost.
    timestamp: int
    #: Whose voice it is, by participant id; None: everybody's.
    participant: str | None = None
    #: How loud it is, in dBov (RFC 6464): 0 is the loudest there can be, 127 silence.
    level: int = SILENCE_DBOV
    #: Whether somebody speaks in it, as the relay hears it.
    voiced: bool = False
    #: Whether sound before it was lost, because the reader or the network was too slow.
    gap: bool = False

    @property
    def samples(self) -> NDArray[np.int16]:
        """The samples; a view of ``pcm`` that cannot be written to."""
        return np.frombuffer(self.pcm, "<i2")

    @property
    def duration_ms(self) -> float:
        """How long it is."""
        return len(self.pcm) // BYTES_A_SAMPLE * 1000 / self.rate

    @property
    def time_s(self) -> float:
        """When it begins, in seconds since the stream did."""
        return self.timestamp / self.rate
