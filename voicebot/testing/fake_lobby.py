"""``FakeLobby``: people who say what a test tells them to, and bots that take it for a lobby of a relay.

Bots connect with the client library itself, over streams in memory, to a small server that speaks the protocol: what works here works
with the same code there. What a relay does beyond that (WebRTC, codecs, tokens, limits, resuming sessions) is not here.

The mix goes in ticks of 20 ms by trio's clock. With a ``trio.testing.MockClock`` that jumps (pytest-trio's ``autojump_clock``) a
minute takes a few seconds, and what is heard when is exact and always the same: all that happens at one moment happens before that
moment's tick.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self

import trio
import trio.testing
from trio_websocket import wrap_server_stream

from signaling.messages import (
    ChatMessage,
    ChatPosted,
    Dtmf,
    Limits,
    LobbySnapshot,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    ServerIdentity,
    ServerMessage,
    Speaking,
    Track,
    Welcome,
)
from voicebot.audio.frame import SILENCE_DBOV
from voicebot.audio.pcm import Samples
from voicebot.bot import Assignment, Bot
from voicebot.connection import Connection
from voicebot.nursery import open_bare_nursery
from voicebot.opening import connect
from voicebot.testing.fake_ears import Tick
from voicebot.testing.fake_session import FakeSession
from voicebot.testing.fake_voices import TICK_MS, FakeVoice, Heard
from voicebot.testing.sounds import MIX_RATE, VOICED_DBOV, change_rate, level_dbov, to_samples

_URL = "ws://fake.lobby/ws"
_OPENED = datetime(2026, 1, 1, tzinfo=UTC)
#: So long after the last sound nothing is sent any more, as the relay does it.
_SILENT_TICKS = 2000 // TICK_MS
#: So long after their last voiced frame somebody has stopped speaking.
_HANGOVER_TICKS = 300 // TICK_MS
_PRELUDE_TICKS = 200 // TICK_MS
#: After the moment itself: two floats that mean the same moment may differ by less than this.
_AFTER_S = 1e-6


class Person:
    """Somebody in a fake lobby; made by ``FakeLobby.add_participant``."""

    def __init__(self, lobby: "FakeLobby", voice: FakeVoice) -> None:
        self._lobby = lobby
        self._voice = voice

    @property
    def participant_id(self) -> str:
        """Who it is for bots."""
        return self._voice.participant_id

    def say(self, pcm: Samples, rate: int = 16000) -> None:
        """Begin to say this, or say it after what is being said; never waits. ``pcm`` as ``Connection.play`` takes it, but whole."""
        self._voice.say(change_rate(to_samples(pcm), rate, MIX_RATE))
        self._lobby.wake()

    async def speak(self, pcm: Samples, rate: int = 16000) -> None:
        """Say this, and wait until it is said."""
        self.say(pcm, rate)
        await self.wait_said()

    async def wait_said(self) -> None:
        """Wait until they have said everything."""
        await self._lobby.wait_for(lambda: not self._voice.busy)

    def hush(self) -> None:
        """Stop in the middle of the word."""
        self._voice.hush()

    def write(self, text: str) -> None:
        """Write a line of chat."""
        self._lobby.write(self.participant_id, text)

    def press(self, digit: str) -> None:
        """Press a key of their telephone."""
        self._lobby.press(self.participant_id, digit)

    def leave(self) -> None:
        """Go."""
        self._voice.hush()
        self._lobby.remove(self.participant_id, "left")


class RunningBot:
    """A ``Bot`` that runs in a fake lobby; made by ``FakeLobby.start``."""

    def __init__(self, bot: Bot, connection: Connection, scope: trio.CancelScope) -> None:
        self.bot = bot
        self.connection = connection
        self._scope = scope
        self._over = trio.Event()

    async def run(self) -> None:
        """Run it to its end."""
        try:
            with self._scope:
                await self.bot.run(self.connection)
        finally:
            self._over.set()

    async def wait(self) -> None:
        """Wait until it has ended by itself, or was stopped."""
        await self._over.wait()

    async def stop(self) -> None:
        """End it, as a relay does that wants it no more."""
        self._scope.cancel()
        await self._over.wait()


class FakeLobby:
    """See the module. ``async with FakeLobby() as lobby``; what a bot of ``start`` raises comes out of it."""

    def __init__(self, name: str = "garden") -> None:
        self.name = name
        #: Who is there, by participant id, in the order of coming.
        self.participants: dict[str, Participant] = {}
        #: All lines of chat there ever were.
        self.chat: list[ChatMessage] = []
        #: All keys that were pressed: by whom, and which.
        self.pressed: list[tuple[str, str]] = []
        self._voices: dict[str, FakeVoice] = {}
        self._former_voices: list[tuple[str, FakeVoice]] = []
        self._sessions: dict[FakeSession, trio.abc.Stream] = {}
        self._ids = count(1)
        self._session_ids = count(1)
        self._opened_s = 0.0
        self._ticks = 0
        self._silent_ticks = _SILENT_TICKS
        self._unvoiced_ticks: dict[str, int] = {}
        #: What was to be heard just now: a stream of somebody who begins to speak begins a little before, as the relay does it.
        self._prelude: deque[Tick] = deque(maxlen=_PRELUDE_TICKS)
        self._woken = trio.Event()
        self._ticked = trio.Event()
        self._scope = open_bare_nursery()
        self._tasks: trio.Nursery

    async def __aenter__(self) -> Self:
        self._tasks = await self._scope.__aenter__()
        self._opened_s = trio.current_time()
        self._tasks.start_soon(self._run_ticks)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._scope.__aexit__(kind, error, traceback)

    @property
    def now_ms(self) -> float:
        """How long the lobby has been open."""
        return (trio.current_time() - self._opened_s) * 1000

    # For tests.

    def add_participant(self, name: str, *, is_bot: bool = False) -> Person:
        """Let somebody come in."""
        return Person(self, self.enter(name, is_bot=is_bot))

    @asynccontextmanager
    async def bot(
        self, name: str = "Bot", *, is_bot: bool = True, **options: Any
    ) -> AsyncIterator[Connection]:
        """Connect as a bot does: ``async with lobby.bot() as bot``. ``options`` are those of ``voicebot.connect``."""
        async with connect(
            _URL, lobby=self.name, name=name, is_bot=is_bot, open_stream=self.open_stream, **options
        ) as connection:
            yield connection

    async def start(
        self, make: Callable[[Assignment], Bot], *, name: str = "Bot", config: Mapping[str, Any] | None = None
    ) -> RunningBot:
        """Let a bot of this class come in, as a relay does that was asked for it, and run it until it ends or the lobby does."""
        assignment = Assignment("b-1", self.name, "l-1", "", name, config or {})
        bot = make(assignment)
        return await self._tasks.start(partial(self._run_bot, bot, name))  # type: ignore[no-any-return] # trio types it so

    def heard(self, who: Connection | RunningBot | str = "Bot") -> list[Heard]:
        """Return what a bot has played, in the order of beginning; ``who`` is its connection, name or participant id."""
        if isinstance(who, RunningBot):
            who = who.connection
        name = who if isinstance(who, str) else (who.participant_id or "")
        voices = [(self.participants[key].name, voice) for key, voice in self._voices.items()]
        return [
            playout.heard()
            for called, voice in [*self._former_voices, *voices]
            if name in {called, voice.participant_id}
            for playout in voice.playouts
        ]

    async def wait_silence(self) -> None:
        """Wait until nobody says or plays anything, and nothing waits to be."""
        await self.wait_for(lambda: not any(voice.busy for voice in self._voices.values()))

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, as looked at whenever something was heard, or told to all."""
        await trio.testing.wait_all_tasks_blocked()
        while not condition():
            await self._ticked.wait()

    async def cut(self, connection: Connection) -> None:
        """Break the connection of a bot without a word, as networks do; it comes back as somebody new."""
        for session, stream in list(self._sessions.items()):
            if session.participant_id == connection.participant_id:
                session.leave("disconnected")
                await trio.aclose_forcefully(stream)

    async def open_stream(self) -> trio.abc.Stream:
        """What ``voicebot.connect`` takes as ``open_stream``."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._tasks.start_soon(self._serve, ours)
        await trio.lowlevel.checkpoint()
        return theirs

    # For sessions and people.

    def enter(self, name: str, *, is_bot: bool) -> FakeVoice:
        """Let somebody in."""
        voice = FakeVoice(f"p-{next(self._ids)}")
        track = Track(track_id=f"t-{voice.participant_id}", kind="audio", source="microphone", muted=False)
        participant = Participant.model_validate(
            {
                "participant_id": voice.participant_id,
                "name": name,
                "is_bot": is_bot,
                "joined_at": self.date(),
                "tracks": () if is_bot else (track,),
            }
        )
        self.tell(ParticipantJoined(participant=participant))
        self.participants[voice.participant_id] = participant
        self._voices[voice.participant_id] = voice
        return voice

    def remove(self, participant_id: str, reason: str) -> None:
        """Let somebody go, if they are there."""
        participant = self.participants.pop(participant_id, None)
        if participant is not None:
            self._former_voices.append((participant.name, self._voices.pop(participant_id)))
            self._unvoiced_ticks.pop(participant_id, None)
            for session in list(self._sessions):
                session.forget(participant_id)
            self.tell(ParticipantLeft(participant_id=participant_id, reason=reason))
        self.wake()

    def rename(self, participant_id: str, name: str) -> None:
        """Call somebody something else."""
        participant = self.participants[participant_id].model_copy(update={"name": name})
        self.participants[participant_id] = participant
        self.tell(ParticipantUpdated(participant=participant))

    def write(self, participant_id: str, text: str) -> int:
        """Write a line of chat; return its number."""
        line = ChatMessage(
            seq=len(self.chat) + 1,
            participant_id=participant_id,
            name=self.participants[participant_id].name,
            text=text,
            sent_at=self.date(),
        )
        self.chat.append(line)
        self.tell(ChatPosted(message=line))
        return line.seq

    def press(self, participant_id: str, digit: str) -> None:
        """Press a key."""
        self.pressed.append((participant_id, digit))
        self.tell(Dtmf(participant_id=participant_id, digit=digit))

    def tell(self, message: ServerMessage) -> None:
        """Tell all that are in the lobby."""
        for session in self._sessions:
            if session.participant_id is not None:
                session.send(message)
        self._notify()

    def snapshot(self, participant_id: str) -> LobbySnapshot:
        """Return the lobby as one of them sees it."""
        return LobbySnapshot(
            lobby=self.name,
            lobby_id="l-1",
            participant_id=participant_id,
            participants=tuple(self.participants.values()),
            chat=tuple(self.chat[-50:]),
        )

    def date(self) -> datetime:
        """What the lobby's clock shows: it opened at the beginning of 2026."""
        return _OPENED + timedelta(milliseconds=self.now_ms)

    def wake(self) -> None:
        """There may be something to be heard."""
        self._woken.set()

    # The mix.

    async def _run_ticks(self) -> None:
        while True:
            await trio.sleep_until(self._opened_s + self._ticks * TICK_MS / 1000 + _AFTER_S)
            # All that happens at this moment happens before its tick.
            await trio.testing.wait_all_tasks_blocked()
            for session in self._sessions:
                session.account()
            if self._silent_ticks >= _SILENT_TICKS and not self._anything_sounds():
                self._woken = trio.Event()
                self._notify()
                await self._woken.wait()
                self._skip_ticks()
                continue
            self._tick()
            self._ticks += 1
            self._notify()

    def _tick(self) -> None:
        now_ms = float(self._ticks * TICK_MS)
        said = {participant_id: voice.take(now_ms) for participant_id, voice in self._voices.items()}
        self._silent_ticks = 0 if any(said.values()) else self._silent_ticks + 1
        for participant_id, frames in said.items():
            self._note_speaking(participant_id, level_dbov(frames[None]) if None in frames else SILENCE_DBOV)
        silent = self._silent_ticks > _SILENT_TICKS
        for session in self._sessions:
            if session.participant_id is not None:
                session.hear_tick(said, silent=silent, prelude=self._prelude)
        if silent:
            self._prelude.clear()
        else:
            self._prelude.append(said)

    def _skip_ticks(self) -> None:
        """Let the time pass in which nothing was to be heard."""
        now = math.ceil((self.now_ms - _AFTER_S * 1000) / TICK_MS - 1e-6)
        skipped = now - self._ticks
        if skipped > 0:
            self._ticks = now
            self._prelude.clear()
            for session in self._sessions:
                session.skip_ticks(skipped)

    def _anything_sounds(self) -> bool:
        return any(voice.sounding for voice in self._voices.values())

    def _note_speaking(self, participant_id: str, level: int) -> None:
        """Tell who begins to speak, and who has stopped."""
        was = participant_id in self._unvoiced_ticks
        if level <= VOICED_DBOV:
            self._unvoiced_ticks[participant_id] = 0
        elif was:
            self._unvoiced_ticks[participant_id] += 1
            if self._unvoiced_ticks[participant_id] >= _HANGOVER_TICKS:
                del self._unvoiced_ticks[participant_id]
        speaking = participant_id in self._unvoiced_ticks
        if speaking != was:
            former = self.participants[participant_id]
            self.participants[participant_id] = former.model_copy(update={"speaking": speaking})
            self.tell(Speaking(participant_id=participant_id, speaking=speaking, level_dbov=level))

    def _notify(self) -> None:
        self._ticked.set()
        self._ticked = trio.Event()

    # Connections.

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            session = FakeSession(self, await request.accept())
            self._sessions[session] = stream
            number = next(self._session_ids)
            session.send(_welcome(number))
            try:
                await session.serve()
            finally:
                del self._sessions[session]
            nursery.cancel_scope.cancel()

    async def _run_bot(self, bot: Bot, name: str, task_status: trio.TaskStatus[RunningBot]) -> None:
        async with self.bot(name) as connection:
            running = RunningBot(bot, connection, trio.CancelScope())
            task_status.started(running)
            await running.run()


def _welcome(number: int) -> Welcome:
    return Welcome(
        session_id=f"s-{number}",
        resume_token=f"token-{number}",
        resume_seconds=20,
        server=ServerIdentity(name="fake", version="1"),
        limits=Limits(
            max_message_bytes=1 << 20,
            max_name_length=64,
            max_lobby_length=64,
            max_chat_length=2000,
            chat_history=50,
            keepalive_seconds=4,
        ),
    )
