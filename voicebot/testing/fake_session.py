"""One bot's connection to a fake lobby, as a relay sees it: a WebSocket over an in-memory stream, and what its requests do."""

from collections.abc import Callable, Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from signaling.messages import (
    AudioFrameError,
    AudioListen,
    AudioListening,
    AudioStreamEnded,
    AudioStreamStarted,
    AudioUnlisten,
    ChatHistory,
    ChatPage,
    ChatSend,
    ChatSent,
    ClientMessage,
    ErrorCode,
    ErrorReply,
    Join,
    Joined,
    Leave,
    Left,
    MessageError,
    NameSet,
    Ok,
    Ping,
    PlayClear,
    PlayCleared,
    PlayGain,
    PlayOpen,
    PlayOpened,
    PlayProgress,
    Pong,
    Press,
    Resume,
    ServerMessage,
    SetName,
    decode_audio_frame_untrusted,
    decode_client,
    encode_server,
)
from voicebot.testing.fake_ears import FakeEar, Tick
from voicebot.testing.fake_voices import TICK_MS, FakePlayout, FakeVoice
from voicebot.testing.sounds import VOICED_DBOV, level_dbov

if TYPE_CHECKING:
    from voicebot.testing.fake_lobby import FakeLobby

#: As the relay has it.
MAX_SUBSCRIPTIONS = 2
#: How often a bot is told how much was heard.
_TICKS_A_REPORT = 100 // TICK_MS


class _RefusedError(Exception):
    """A request that is refused; nothing was changed."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class FakeSession:
    """See the module; made by the lobby, which calls ``serve`` and, every 20 ms, ``account`` and ``hear_tick``."""

    def __init__(self, lobby: "FakeLobby", websocket: WebSocketConnection) -> None:
        self._lobby = lobby
        self._websocket = websocket
        # Unbounded on purpose: a test's bot is as slow as the test wants, and finds out by its own queues.
        self._outgoing, self._to_write = trio.open_memory_channel[str | bytes](float("inf"))
        self._numbers = count(1)
        self._ears: dict[int, FakeEar] = {}
        self._subscriptions: dict[int, AudioListen] = {}
        #: Whom a subscription has brought: subscription and participant -> stream.
        self._brought: dict[tuple[int, str], int] = {}
        self._ticks = 0
        #: What was heard in this tick, and can be told at its end.
        self._heard: list[str | bytes] = []
        self.participant_id: str | None = None
        #: What the bot plays; of the former stay in a lobby, too.
        self.voice: FakeVoice | None = None

    def send(self, message: ServerMessage, re: int | None = None) -> None:
        """Send a reply or an event; never waits."""
        self._put(encode_server(message, re))

    async def serve(self) -> None:
        """Answer requests until the connection ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            try:
                while True:
                    self._take(await self._websocket.get_message())
            except ConnectionClosed:
                self.leave("left")
            self._outgoing.close()

    def leave(self, reason: str) -> None:
        """Be in the lobby no more."""
        if self.participant_id is not None:
            self._clear(reason)
            self._ears.clear()
            self._subscriptions.clear()
            self._brought.clear()
            self._heard.clear()
            participant_id, self.participant_id = self.participant_id, None
            self._lobby.remove(participant_id, reason)

    def forget(self, participant_id: str) -> None:
        """Somebody has left: their streams end, and what was for them alone."""
        for number, ear in list(self._ears.items()):
            if ear.participant == participant_id:
                del self._ears[number]
                self.send(AudioStreamEnded(stream=number, reason="left"))
        self._brought = {key: number for key, number in self._brought.items() if key[1] != participant_id}
        if self.voice is not None:
            for playout in self.voice.clear_playouts(participant_id, all_of_them=False):
                self._report(playout, "cleared", "left")

    def hear_tick(self, tick: Tick, *, silent: bool, prelude: Iterable[Tick]) -> None:
        """Hear what all say in the 20 ms that begin now; when nobody has said anything for long, nothing is sent.

        ``prelude``: what they said just before.
        """
        for participant_id, frames in tick.items():
            if participant_id != self.participant_id:
                audible = [frames[to] for to in (None, self.participant_id) if to in frames]
                if any(level_dbov(each) <= VOICED_DBOV for each in audible):
                    self._bring(participant_id, prelude)
        for ear in self._ears.values():
            if silent:
                ear.skip_ticks(1)
            else:
                frame = ear.hear_tick(tick)
                if frame is not None:
                    self._heard.append(frame)

    def skip_ticks(self, ticks: int) -> None:
        """Let so many times 20 ms of silence pass of which nothing is sent."""
        for ear in self._ears.values():
            ear.skip_ticks(ticks)

    def account(self) -> None:
        """Tell the bot what it and others have heard until now."""
        heard, self._heard = self._heard, []
        for frame in heard:
            self._put(frame)
        if self.voice is None:
            return
        for playout in self.voice.finish_playouts():
            self._report(playout, "done", None)
        self._ticks += 1
        if self._ticks % _TICKS_A_REPORT == 0:
            for queue in self.voice.queues.values():
                if queue and queue[0].began_ms is not None:
                    self._report(queue[0], "playing", None)

    # What requests do.

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._take_audio(message)
            return
        try:
            frame = decode_client(message)
            reply = self._do(frame.message)
        except MessageError as error:
            self.send(ErrorReply(code=error.code, error=str(error), field=error.field), error.re)
        except _RefusedError as error:
            self.send(ErrorReply(code=error.code, error=str(error)), frame.id)
        else:
            self.send(reply, frame.id)

    def _do(self, message: ClientMessage) -> ServerMessage:
        if not isinstance(message, Ping | Resume | Join) and self.participant_id is None:
            raise _RefusedError(ErrorCode.NOT_IN_LOBBY, "join the lobby first")
        does = _DOES.get(type(message))
        if does is None:
            raise _RefusedError(ErrorCode.UNSUPPORTED, f"a fake lobby does not know {message.type!r}")
        return does(self, message)

    def _resume(self, _message: Resume) -> ServerMessage:
        raise _RefusedError(ErrorCode.RESUME_FAILED, "a fake lobby forgets who goes")

    def _join(self, message: Join) -> ServerMessage:
        self.leave("left")
        if message.lobby != self._lobby.name:
            raise _RefusedError(ErrorCode.NOT_IN_LOBBY, f"here is no lobby but {self._lobby.name!r}")
        self.voice = self._lobby.enter(message.name, is_bot=message.is_bot)
        self.participant_id = self.voice.participant_id
        return Joined(**dict(self._lobby.snapshot(self.participant_id)))

    def _leave(self, _message: Leave) -> ServerMessage:
        self.leave("left")
        return Left()

    def _set_name(self, message: SetName) -> ServerMessage:
        assert self.participant_id is not None
        self._lobby.rename(self.participant_id, message.name)
        return NameSet(name=message.name)

    def _chat(self, message: ChatSend) -> ServerMessage:
        assert self.participant_id is not None
        return ChatSent(seq=self._lobby.write(self.participant_id, message.text))

    def _chat_history(self, message: ChatHistory) -> ServerMessage:
        lines = [each for each in self._lobby.chat if message.before is None or each.seq < message.before]
        return ChatPage(messages=tuple(lines[-message.limit :]), more=len(lines) > message.limit)

    def _ping(self, _message: Ping) -> ServerMessage:
        return Pong(time=self._lobby.date())

    def _press(self, message: Press) -> ServerMessage:
        assert self.participant_id is not None
        self._lobby.press(self.participant_id, message.digit)
        return Ok()

    def _listen(self, message: AudioListen) -> ServerMessage:
        assert self.participant_id is not None
        number = next(self._numbers)
        if message.what == "speakers":
            if len(self._subscriptions) == MAX_SUBSCRIPTIONS:
                text = f"{MAX_SUBSCRIPTIONS} subscriptions to speakers are the limit"
                raise _RefusedError(ErrorCode.AT_CAPACITY, text)
            self._subscriptions[number] = message
        else:
            whom = message.participant_id
            if whom is not None and whom not in self._lobby.participants:
                raise _RefusedError(ErrorCode.UNKNOWN_PARTICIPANT, f"nobody here is {whom!r}")
            self._open_ear(number, whom, message)
        return AudioListening(stream=number)

    def _unlisten(self, message: AudioUnlisten) -> ServerMessage:
        brought = {key: number for key, number in self._brought.items() if key[0] == message.stream}
        if self._subscriptions.pop(message.stream, None) is not None:
            for key, number in brought.items():
                del self._brought[key]
                if self._ears.pop(number, None) is not None:
                    self.send(AudioStreamEnded(stream=number, reason="closed"))
        elif self._ears.pop(message.stream, None) is None:
            raise _RefusedError(ErrorCode.UNKNOWN_STREAM, f"no stream has the number {message.stream}")
        else:
            self.send(AudioStreamEnded(stream=message.stream, reason="closed"))
        return Ok()

    def _play_open(self, message: PlayOpen) -> ServerMessage:
        assert self.voice is not None
        if message.to is not None and message.to not in self._lobby.participants:
            raise _RefusedError(ErrorCode.UNKNOWN_PARTICIPANT, f"nobody here is {message.to!r}")
        playout = FakePlayout(next(self._numbers), message.rate, message.to)
        self.voice.open_playout(playout)
        return PlayOpened(stream=playout.number)

    def _play_clear(self, _message: PlayClear) -> ServerMessage:
        return PlayCleared(played_ms={each.number: each.played_ms for each in self._clear("cleared")})

    def _play_gain(self, message: PlayGain) -> ServerMessage:
        assert self.voice is not None
        self.voice.gain_db = message.gain_db
        return Ok()

    # Sound.

    def _take_audio(self, message: bytes) -> None:
        try:
            wire = decode_audio_frame_untrusted(message)
        except AudioFrameError as error:
            self.send(ErrorReply(code=ErrorCode.INVALID_AUDIO, error=str(error)))
            return
        playouts = [] if self.voice is None else self.voice.playouts
        playout = next((each for each in playouts if each.number == wire.stream), None)
        if playout is None:
            text = f"expected the number of a playout, not {wire.stream}"
            self.send(ErrorReply(code=ErrorCode.INVALID_AUDIO, error=text))
        elif playout.ended is None:
            playout.give(np.frombuffer(bytes(wire.pcm), "<i2").astype(np.int16), end=wire.end)
            self._lobby.wake()

    def _clear(self, reason: str) -> list[FakePlayout]:
        cleared = [] if self.voice is None else self.voice.clear_playouts()
        for playout in cleared:
            self._report(playout, "cleared", reason)
        return cleared

    def _bring(self, participant_id: str, prelude: Iterable[Tick]) -> None:
        """Let those who wait for speakers have a stream of this one, if they have none."""
        for subscription, message in self._subscriptions.items():
            if (subscription, participant_id) not in self._brought:
                number = self._brought[subscription, participant_id] = next(self._numbers)
                ear = self._open_ear(number, participant_id, message)
                started = AudioStreamStarted(
                    subscription=subscription, stream=number, participant_id=participant_id
                )
                self._heard.append(encode_server(started))
                earlier = [ear.hear_tick(each) for each in prelude]
                self._heard += [frame for frame in earlier if frame is not None]

    def _open_ear(self, number: int, participant_id: str | None, message: AudioListen) -> FakeEar:
        assert self.participant_id is not None
        ear = self._ears[number] = FakeEar(
            number, self.participant_id, participant_id, rate=message.rate, frame_ms=message.frame_ms
        )
        return ear

    def _report(self, playout: FakePlayout, state: Any, reason: str | None) -> None:
        self.send(
            PlayProgress(stream=playout.number, played_ms=playout.played_ms, state=state, reason=reason)
        )

    def _put(self, frame: str | bytes) -> None:
        try:
            self._outgoing.send_nowait(frame)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return  # the connection has ended

    async def _write(self) -> None:
        with self._to_write:
            async for frame in self._to_write:
                try:
                    await self._websocket.send_message(frame)
                except ConnectionClosed:
                    return


_DOES: dict[type[ClientMessage], Callable[[FakeSession, Any], ServerMessage]] = {
    Resume: FakeSession._resume,  # noqa: SLF001 - the table of the class above
    Join: FakeSession._join,  # noqa: SLF001
    Leave: FakeSession._leave,  # noqa: SLF001
    SetName: FakeSession._set_name,  # noqa: SLF001
    ChatSend: FakeSession._chat,  # noqa: SLF001
    ChatHistory: FakeSession._chat_history,  # noqa: SLF001
    Ping: FakeSession._ping,  # noqa: SLF001
    Press: FakeSession._press,  # noqa: SLF001
    AudioListen: FakeSession._listen,  # noqa: SLF001
    AudioUnlisten: FakeSession._unlisten,  # noqa: SLF001
    PlayOpen: FakeSession._play_open,  # noqa: SLF001
    PlayClear: FakeSession._play_clear,  # noqa: SLF001
    PlayGain: FakeSession._play_gain,  # noqa: SLF001
}
