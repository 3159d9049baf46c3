"""Bots that do anything in any order, in virtual time: accounts balance, nothing is left behind, nobody fails."""

import random
from collections import Counter

import pytest
import trio
import trio.testing
from connection_parts import Line, Parts, open_parts
from fake_mix import FakeTrack
from voice_client import Mixes

from signaling.messages import (
    AudioFrameWire,
    AudioListen,
    AudioListening,
    AudioStreamEnded,
    AudioStreamStarted,
    AudioUnlisten,
    ClientMessage,
    ErrorReply,
    Join,
    Leave,
    Left,
    Ok,
    PlayClear,
    PlayCleared,
    PlayOpen,
    PlayOpened,
    PlayProgress,
    Resume,
    Resumed,
    ServerMessage,
    Welcome,
    decode_audio_frame_untrusted,
    encode_audio_frame,
)

RATES = (8000, 16000, 24000, 48000)
STEPS = 120


class Bot:
    """A client that does what a die says, and believes what it is told."""

    def __init__(self, parts: Parts, rng: random.Random, name: str) -> None:
        self.parts = parts
        self.rng = rng
        self.name = name
        self.line: Line
        self.token = ""
        self.inside = False
        #: Of playouts: rate, samples given, and how they ended.
        self.rates: dict[int, int] = {}
        self.given: Counter[int] = Counter()
        self.open: set[int] = set()
        self.finals: dict[int, PlayProgress] = {}
        #: Streams that are heard: the length of their frames in samples, and the next timestamp.
        self.heard: dict[int, int] = {}
        self.next: dict[int, int] = {}
        self.wishes: dict[int, AudioListen] = {}
        self.over: set[int] = set()

    async def begin(self) -> None:
        self.line = self.parts.connect()
        (welcome,) = await self.line.settle()
        assert isinstance(welcome, Welcome)
        if not self.token:
            self.token = welcome.resume_token

    async def ask(self, request: ClientMessage, kind: type[ServerMessage]) -> ServerMessage | None:
        reply = await self.line.ask(request)
        self.read()
        if isinstance(reply, ErrorReply):
            assert reply.code in {"at_capacity", "rate_limited", "not_in_lobby", "unknown_stream"}, reply
            return None
        assert isinstance(reply, kind)
        return reply

    def read(self) -> None:
        """Believe what has come."""
        self.line.heard += [each.message for each in self.line.take()]
        for message in self.line.heard:
            if isinstance(message, PlayProgress):
                self.note_progress(message)
            elif isinstance(message, AudioStreamStarted):
                self.begin_stream(message.stream, self.wishes[message.subscription])
            elif isinstance(message, AudioStreamEnded):
                self.over.add(message.stream)
            elif isinstance(message, ErrorReply):
                assert message.code in {"invalid_audio", "play_overflow", "rate_limited"}, message
        self.line.heard.clear()
        for each in self.line.socket.sound:
            self.note_frame(decode_audio_frame_untrusted(each))
        self.line.socket.sound.clear()

    def note_progress(self, message: PlayProgress) -> None:
        number = message.stream
        assert message.played_ms <= self.given[number] * 1000 / self.rates[number]
        if message.state == "playing":
            assert number not in self.finals
            return
        # Told once, or the same once more after a resume.
        assert self.finals.setdefault(number, message) == message
        if message.state == "done":
            assert message.played_ms == self.given[number] * 1000 / self.rates[number]
        self.open.discard(number)

    def begin_stream(self, number: int, wish: AudioListen) -> None:
        assert number not in self.heard
        self.heard[number] = wish.rate * wish.frame_ms // 1000
        self.next[number] = 0

    def note_frame(self, frame: AudioFrameWire) -> None:
        assert frame.samples == self.heard[frame.stream]
        assert frame.timestamp >= self.next[frame.stream]
        self.next[frame.stream] = frame.timestamp + frame.samples

    async def act(self) -> None:
        choices = {
            self.join: 2,
            self.listen: 4,
            self.unlisten: 3,
            self.play: 6,
            self.give: 20,
            self.clear: 1,
            self.rubbish: 1,
            self.lose: 2,
            self.leave: 0.5,
        }
        (action,) = self.rng.choices(list(choices), list(choices.values()))
        await action()
        self.read()

    async def join(self) -> None:
        if not self.inside:
            await self.ask(Join(lobby="garden", name=self.name), ServerMessage)
            self.inside = True

    async def leave(self) -> None:
        if await self.ask(Leave(), Left) is not None:
            self.read()
            assert self.open == set()
        self.inside = False

    async def listen(self) -> None:
        wish = AudioListen(
            what=self.rng.choice(("mixed", "speakers")),
            rate=self.rng.choice(RATES),
            frame_ms=self.rng.choice((20, 40, 60, 100)),
        )
        reply = await self.line.ask(wish)
        if isinstance(reply, AudioListening):
            self.wishes[reply.stream] = wish
            if wish.what == "mixed":
                self.begin_stream(reply.stream, wish)
        self.read()

    async def unlisten(self) -> None:
        number = self.rng.choice([*self.wishes, 9999])
        if await self.ask(AudioUnlisten(stream=number), Ok) is not None:
            self.over.add(number)

    async def play(self) -> None:
        rate = self.rng.choice(RATES)
        others = (
            [each.participant_id for each in self.parts.lobbies.open["garden"].participants.values()]
            if self.inside
            else []
        )
        reply = await self.ask(PlayOpen(rate=rate, to=self.rng.choice([None, None, *others])), PlayOpened)
        if isinstance(reply, PlayOpened):
            self.rates[reply.stream] = rate
            self.open.add(reply.stream)

    async def give(self) -> None:
        if self.open:
            number = self.rng.choice(sorted(self.open))
            count = self.rng.choice((0, 1, self.rates[number] // 50, self.rng.randrange(self.rates[number])))
            end = self.rng.random() < 0.3
            self.line.socket.say(encode_audio_frame(number, bytes(2 * count), end=end))
            self.given[number] += count
            if end:
                self.open.discard(number)
            await trio.testing.wait_all_tasks_blocked()

    async def clear(self) -> None:
        reply = await self.ask(PlayClear(), PlayCleared)
        if isinstance(reply, PlayCleared):
            for number, played_ms in reply.played_ms.items():
                assert self.finals[number].played_ms == played_ms
            assert self.open == set()

    async def rubbish(self) -> None:
        self.line.socket.say(self.rng.randbytes(self.rng.randrange(40)))
        await trio.testing.wait_all_tasks_blocked()

    async def lose(self) -> None:
        if not self.inside:
            return
        self.read()
        self.line.socket.lose()
        await trio.sleep(self.rng.random())
        await self.begin()
        reply = await self.line.ask(Resume(resume_token=self.token))
        assert isinstance(reply, Resumed)
        self.read()
        alive = set(reply.audio_streams)
        assert self.open <= alive | self.finals.keys()
        assert not (alive & self.over)


async def make_noise(mix: Mixes, tracks: list[FakeTrack], rng: random.Random) -> None:
    """Tick whatever mixers there are; somebody may be heard."""
    while True:
        await trio.sleep(0.02)
        sounds = {each: 1 for each in tracks if rng.random() < 0.3}
        for each in mix.made:
            if not each.closed:
                each.tick(sounds, skip=100 if rng.random() < 0.02 else 0)


def publish(parts: Parts, name: str) -> FakeTrack:
    lobby = parts.lobbies.open["garden"]
    (participant,) = [each for each in lobby.participants.values() if each.name == name]
    track = FakeTrack(f"track-{name}")
    lobby.publish(participant, track, "microphone")
    return track


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_bots_do_the_accounts_balance(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    rng = random.Random(seed)
    mixes = Mixes(max_ears=20 if seed % 3 == 0 else 1000)
    async with open_parts(open_mix=mixes) as parts, trio.open_nursery() as nursery:
        bots = [Bot(parts, rng, name) for name in ("One", "Two", "Three")]
        for bot in bots:
            await bot.begin()
            await bot.join()
        tracks = [publish(parts, bot.name) for bot in bots]
        nursery.start_soon(make_noise, mixes, tracks, rng)
        for _ in range(STEPS):
            bot = rng.choice(bots)
            await bot.act()
            assert bot.line.socket.ended is None
            if rng.random() < 0.5:
                await trio.sleep(rng.random())
        for bot in bots:
            await bot.leave()
            await bot.line.settle()
            bot.read()
            # Every playout has ended, and was told of exactly once.
            assert bot.finals.keys() == bot.rates.keys()
        assert len(parts.sessions) == len(bots)
        for mix in mixes.made:
            assert mix.closed
            assert (mix.open_ears, mix.open_mouths) == ([], [])
        ends = Counter(each.reason or each.state for bot in bots for each in bot.finals.values())
        assert parts.lobbies.sound.playouts == ends
        assert parts.lobbies.sound.sent > 0
        nursery.cancel_scope.cancel()
