"""A bot that repeats what it hears: after somebody has stopped, or while they speak, so much later."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import trio

from voicebot.audio import AudioFrame, AudioStream
from voicebot.audio.barge_in import Speech
from voicebot.bot import Assignment, Bot
from voicebot.connection import Connection

RATE = 16000
#: Who is silent for so long has stopped.
PAUSE_MS = 600
#: Of one utterance; what is said after that is repeated as another.
MAX_FRAMES = 30 * 50
MAX_DELAY_MS = 10_000


class EchoBot(Bot):
    """See the module. ``config``: ``delay_ms``, after which what somebody says is repeated; left out: when they have stopped."""

    title: ClassVar[str] = "Echo"
    description: ClassVar[str] = "Repeats what people say, each by themselves."
    capabilities: ClassVar[tuple[str, ...]] = ("echo",)
    config_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {"delay_ms": {"type": "integer", "minimum": 0, "maximum": MAX_DELAY_MS}},
        "additionalProperties": False,
    }

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(assignment)
        self._delay_ms: int | None = assignment.config.get("delay_ms")

    async def run(self, connection: Connection) -> None:
        """See ``Bot``."""
        async with trio.open_nursery() as nursery, connection.speakers(rate=RATE) as speakers:
            async for stream in speakers:
                participant = connection.lobby.participants.get(stream.participant or "")
                if participant is None or participant.is_bot:  # two echoes would never stop
                    await stream.aclose()
                elif self._delay_ms is None:
                    nursery.start_soon(self._repeat_after, connection, stream)
                else:
                    nursery.start_soon(self._repeat_meanwhile, connection, stream, self._delay_ms)

    @staticmethod
    async def _repeat_after(connection: Connection, stream: AudioStream) -> None:
        async for utterance in _utterances(stream):
            await connection.play(b"".join(frame.pcm for frame in utterance), rate=RATE, interruptible=True)

    @staticmethod
    async def _repeat_meanwhile(connection: Connection, stream: AudioStream, delay_ms: int) -> None:
        speech = Speech(PAUSE_MS)
        send: trio.MemorySendChannel[tuple[float, bytes]] | None = None
        async with trio.open_nursery() as nursery:
            async for frame in stream:
                speech.hear(frame)
                if speech.voiced_ms and send is None:
                    send, receive = trio.open_memory_channel[tuple[float, bytes]](MAX_FRAMES)
                    nursery.start_soon(_play, connection, _delayed(receive, delay_ms / 1000))
                if send is not None and not speech.voiced_ms:
                    send.close()
                    send = None
                elif send is not None:
                    await send.send((trio.current_time(), frame.pcm))
            if send is not None:
                send.close()


async def _play(connection: Connection, sound: AsyncIterator[bytes]) -> None:
    playout = await connection.play(sound, rate=RATE)
    await playout.wait()


async def _delayed(
    receive: trio.MemoryReceiveChannel[tuple[float, bytes]], delay_s: float
) -> AsyncIterator[bytes]:
    async with receive:
        async for said_s, pcm in receive:
            await trio.sleep_until(said_s + delay_s)
            yield pcm


async def _utterances(stream: AudioStream) -> AsyncIterator[list[AudioFrame]]:
    """Yield what somebody says, from the first voiced frame to the pause after the last."""
    speech = Speech(PAUSE_MS)
    utterance: list[AudioFrame] = []
    async for frame in stream:
        speech.hear(frame)
        if speech.voiced_ms:
            utterance.append(frame)
        if utterance and (not speech.voiced_ms or len(utterance) == MAX_FRAMES):
            yield utterance
            utterance = []
    if utterance:
        yield utterance
