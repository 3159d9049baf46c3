"""Whatever a relay sends, a bot's connection stands: random streams, frames and ends, in any order. Virtual time, seeded."""

import random

import pytest
import trio
import trio.testing
from scripted_server import Visit, open_scripted_server, snapshot

import voicebot
from signaling.messages import (
    AudioListen,
    AudioListening,
    AudioStreamEnded,
    AudioStreamStarted,
    ChatSend,
    ChatSent,
    ErrorReply,
    Ok,
    PlayClear,
    PlayCleared,
    PlayOpen,
    PlayOpened,
    PlayProgress,
    decode_client,
)

STREAMS = range(1, 8)


class Hostile:
    """A relay that answers requests with numbers that it may have given before, and says what it likes besides."""

    def __init__(self, visit: Visit, dice: random.Random) -> None:
        self.visit = visit
        self.dice = dice

    def stream(self) -> int:
        return self.dice.choice(STREAMS)

    async def answer(self) -> None:
        while True:
            message = await self.visit.websocket.get_message()
            if isinstance(message, bytes):
                continue
            frame = decode_client(message)
            if self.dice.random() < 0.1:
                await self.visit.send(ErrorReply(code="internal", error="no"), frame.id)
            elif isinstance(frame.message, AudioListen):
                await self.visit.send(AudioListening(stream=self.stream()), frame.id)
            elif isinstance(frame.message, PlayOpen):
                await self.visit.send(PlayOpened(stream=self.stream()), frame.id)
            elif isinstance(frame.message, PlayClear):
                await self.visit.send(PlayCleared(played_ms={self.stream(): 1, self.stream(): 2}), frame.id)
            elif isinstance(frame.message, ChatSend):
                await self.visit.send(ChatSent(seq=1), frame.id)
            else:
                await self.visit.send(Ok(), frame.id)

    async def talk(self) -> None:
        for _ in range(300):
            says = self.dice.randrange(6)
            if says == 0:
                pcm = bytes(2 * self.dice.randrange(400))
                flags = {name: self.dice.random() < 0.1 for name in ("voiced", "gap", "end")}
                await self.visit.send_audio(self.stream(), pcm, self.dice.randrange(1 << 40), **flags)
            elif says == 1:
                await self.visit.websocket.send_message(self.dice.randbytes(self.dice.randrange(40)))
            elif says == 2:
                await self.visit.send(AudioStreamEnded(stream=self.stream(), reason="left"))
            elif says == 3:
                started = AudioStreamStarted(
                    subscription=self.stream(), stream=self.stream(), participant_id=f"p-{self.stream()}"
                )
                await self.visit.send(started)
            elif says == 4:
                state = self.dice.choice(["playing", "done", "cleared"])
                await self.visit.send(
                    PlayProgress(stream=self.stream(), played_ms=self.dice.random() * 1e5, state=state)
                )
            else:
                await trio.sleep(self.dice.random())


async def read(reader: voicebot.AudioStream | voicebot.Speakers) -> None:
    try:
        async for each in reader:
            if isinstance(each, voicebot.AudioStream):
                async for _ in each:
                    break
    except voicebot.VoicebotError:
        pass


async def play(connection: voicebot.Connection) -> None:
    for number in range(20):
        try:
            playout = await connection.play(bytes(16000), rate=8000, interruptible=number % 2 == 0)
            with trio.move_on_after(5):
                await playout.wait()
            await connection.clear()
        except voicebot.VoicebotError:
            pass


@pytest.mark.parametrize("seed", range(8))
async def test_connection_stands_whatever_a_relay_says(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    dice = random.Random(seed)
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
                hostile = Hostile(visit, dice)
                async with trio.open_nursery() as talking:
                    talking.start_soon(hostile.answer)
                    await hostile.talk()
                    await trio.sleep(200)
                    talking.cancel_scope.cancel()
                await visit.websocket.aclose(4010, "enough")

        nursery.start_soon(serve)
        with trio.fail_after(1000):
            async with (
                voicebot.connect(
                    "ws://relay.example", lobby="garden", name="Ada", open_stream=server.open_stream
                ) as connection,
                trio.open_nursery() as readers,
            ):
                for _ in range(2):
                    readers.start_soon(read, connection.mixed(rate=8000))
                    readers.start_soon(read, connection.participant("p-1", rate=8000))
                    readers.start_soon(read, connection.speakers(rate=8000))
                    readers.start_soon(play, connection)
                await trio.sleep(100)
                while True:
                    try:
                        await connection.chat("still here")
                    except voicebot.ProtocolError:
                        continue
                    break
                # All that reads and plays comes to its end with the connection.
