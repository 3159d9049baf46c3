"""What a bot does over its connection, in tests without sockets: asks, hears frames, plays samples."""

from typing import NamedTuple

import numpy as np
from connection_parts import Line
from fake_mix import FakeMix

from signaling.messages import (
    AudioFrameWire,
    AudioListen,
    AudioListening,
    ErrorReply,
    Join,
    Joined,
    PlayOpen,
    PlayOpened,
    PlayProgress,
    ServerMessage,
    decode_audio_frame_untrusted,
    encode_audio_frame,
)


class Mixes:
    """The factory of mixers; knows those it has made."""

    def __init__(self, **options: object) -> None:
        self.made: list[FakeMix] = []
        self._options = options

    def __call__(self) -> FakeMix:
        self.made.append(FakeMix(**self._options))
        return self.made[-1]

    @property
    def only(self) -> FakeMix:
        (mix,) = self.made
        return mix


class Fate(NamedTuple):
    """How a playout ended, as its client was told."""

    stream: int
    played_ms: float
    state: str
    reason: str | None


async def join(line: Line, name: str = "Bot", lobby: str = "garden") -> Joined:
    return await line.expect(Join(lobby=lobby, name=name), Joined)


async def listen(line: Line, what: str = "mixed", *, rate: int = 16000, **more: object) -> int:
    return (await line.expect(AudioListen(what=what, rate=rate, **more), AudioListening)).stream


async def play_open(line: Line, rate: int = 16000, to: str | None = None) -> int:
    return (await line.expect(PlayOpen(rate=rate, to=to), PlayOpened)).stream


def give(
    line: Line, stream: int, seconds: float, level: int = 1, *, rate: int = 16000, end: bool = True
) -> None:
    """Send samples of a playout in frames of 100 ms."""
    samples = np.full(round(seconds * rate), level, "<i2")
    pieces = [samples[at : at + rate // 10] for at in range(0, len(samples), rate // 10)] or [samples]
    for place, piece in enumerate(pieces):
        last = end and place == len(pieces) - 1
        line.socket.say(encode_audio_frame(stream, piece.tobytes(), end=last))


def heard(line: Line) -> list[AudioFrameWire]:
    """Return the frames that came and have not been looked at."""
    frames = [decode_audio_frame_untrusted(each) for each in line.socket.sound]
    line.socket.sound.clear()
    return frames


def level(frame: AudioFrameWire) -> int:
    """Return the level of the samples, which is the same for all."""
    (found,) = set(np.frombuffer(frame.pcm, "<i2").tolist())
    return found


def fates(messages: list[ServerMessage]) -> list[Fate]:
    """Return how playouts ended, of all that was told."""
    return [
        Fate(each.stream, each.played_ms, each.state, each.reason)
        for each in messages
        if isinstance(each, PlayProgress) and each.state != "playing"
    ]


def errors(messages: list[ServerMessage]) -> list[str]:
    """Return the codes of the errors, of all that was told."""
    return [each.code for each in messages if isinstance(each, ErrorReply)]
