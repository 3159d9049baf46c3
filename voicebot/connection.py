"""A bot's connection to the relay's signaling: requests, events, and a WebSocket that is replaced when it is lost."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

from signaling.messages import (
    Answer,
    AudioFrameWire,
    Candidate,
    ChatHistory,
    ChatPage,
    ChatSend,
    ChatSent,
    ClientMessage,
    CloseCode,
    ErrorCode,
    Join,
    Joined,
    Leave,
    Left,
    Mute,
    NameSet,
    Offer,
    Ok,
    Participant,
    Ping,
    Pong,
    Press,
    PublishRequest,
    Resume,
    Resumed,
    ServerFrame,
    ServerMessage,
    SetName,
    Subscribe,
    Subscribed,
    SubscribeRequest,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from voicebot.audio.barge_in import BargeIn
from voicebot.audio.guard import Guard
from voicebot.audio.listening import Listening
from voicebot.audio.pcm import Sound
from voicebot.audio.playing import Playing
from voicebot.audio.playout import Playout
from voicebot.audio.speakers import Speakers
from voicebot.audio.stream import AudioStream
from voicebot.backoff import Backoff
from voicebot.errors import ConnectError, ConnectionLostError, ProtocolError, RequestTimeoutError
from voicebot.events import Disconnected, Event, EventQueue, Reconnected
from voicebot.link import Link, Loss, Timeouts, open_link
from voicebot.replies import OnReply
from voicebot.roster import Roster
from voicebot.stream import OpenStream, WebSocketUrl

#: Close codes after which coming back would be wrong: somebody else has the session now, or has ended it.
FINAL_CLOSE_CODES = frozenset({CloseCode.SESSION_RESUMED_ELSEWHERE, CloseCode.SESSION_ENDED})
#: Close codes after which to wait the longest delay first.
SLOW_CLOSE_CODES = frozenset({CloseCode.POLICY})

_Reply = TypeVar("_Reply", bound=ServerMessage)


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """Counters of a connection since it was made; all only grow."""

    links: int
    failed_attempts: int
    dropped_events: int
    unreadable_frames: int


class Connection:
    """One session at a relay, over as many WebSockets as it takes; made by ``connect``, which runs ``run``.

    A request made while there is no WebSocket waits for the next one, within its timeout. A request under way when
    the WebSocket is lost raises ConnectionLostError: nobody knows whether it took effect.
    """

    def __init__(
        self,
        *,
        url: WebSocketUrl,
        open_stream: OpenStream,
        timeouts: Timeouts,
        backoff: Backoff | None,
        event_queue_length: int,
        tasks: trio.Nursery,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._url = url
        self._open_stream = open_stream
        self._timeouts = timeouts
        self._backoff = backoff
        self._dice = dice
        self._events = EventQueue(event_queue_length)
        self._link: Link | None = None
        self._link_changed = trio.Event()
        self._ended: Loss | None = None
        self._restoring = False
        self._resume_token = ""
        #: How we joined the lobby we are in, to join it again the same way.
        self._join: Join | None = None
        self._links = 0
        self._failed_attempts = 0
        self._unreadable_frames = 0
        self._listening = Listening(self, tasks)
        self._playing = Playing(self, tasks, self._events.put_nowait)
        self._guard = Guard(self._listening, self._playing, tasks, self._is_bot)
        #: The latest greeting of the server: its limits, and how long a session can be resumed.
        self.welcome: Welcome
        #: The session's id, as it is in the server's log.
        self.session_id = ""
        #: The lobby as the server last described it.
        self.lobby = Roster()

    @property
    def participant_id(self) -> str | None:
        """Who we are in the lobby; None when in none."""
        return self.lobby.participant_id

    @property
    def connected(self) -> bool:
        """Whether there is a WebSocket right now."""
        return self._link is not None and not self._link.lost

    @property
    def ended(self) -> bool:
        """Whether the connection is lost for good."""
        return self._ended is not None

    def statistics(self) -> ConnectionStatistics:
        """Return the counters as they are now."""
        unreadable = self._unreadable_frames + (self._link.unreadable_frames if self._link else 0)
        return ConnectionStatistics(self._links, self._failed_attempts, self._events.dropped, unreadable)

    def events(self) -> AsyncIterator[Event]:
        """Return the iterator of what happens; it never ends while the connection lives.

        Up to ``event_queue_length`` events wait for the reader; see ``EventQueue`` for what happens then. Two readers
        share the events between them.

        Raises: ConnectionLostError once the connection is lost for good.
        """
        return self._events

    async def join(
        self,
        lobby: str,
        name: str,
        *,
        is_bot: bool = False,
        password: str | None = None,
        token: str | None = None,
        bot_ticket: str | None = None,
        name_password: str | None = None,
    ) -> Joined:
        """Enter a lobby, leaving the former one; ends the media.

        ``password``: of a private lobby. ``token``: a join token. ``bot_ticket``: what a bot was given when it was asked to
        come. ``name_password``: of a protected name. They are used again when the session is lost and the lobby is joined
        anew.
        """
        message = Join(
            lobby=lobby,
            name=name,
            is_bot=is_bot,
            password=password,
            token=token,
            bot_ticket=bot_ticket,
            name_password=name_password,
        )
        joined = await self._ask(message, Joined)
        self._join = message
        return joined

    async def leave(self) -> Left:
        """Leave the lobby; ends the media."""
        return await self._ask(Leave(), Left)

    async def set_name(self, name: str, *, name_password: str | None = None) -> NameSet:
        """Change the display name; ``name_password`` is that of a protected one."""
        name_set = await self._ask(SetName(name=name, name_password=name_password), NameSet)
        if self._join is not None:
            self._join = self._join.model_copy(update={"name": name, "name_password": name_password})
        return name_set

    async def offer(
        self,
        sdp: str,
        *,
        publish: Mapping[str, str] | None = None,
        listen: Sequence[str] = (),
        mix: str | None = None,
        subscribe: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """Negotiate media.

        ``publish``: mid -> source. ``listen``: mids of the audio sections in which to hear the lobby, one for each of
        ``lobby.audio_slots``; whoever speaks is heard there, without further offers. ``mix``: mid of one audio section in which to hear
        everybody else together, instead. ``subscribe``: mid -> id of a track to have by name, or number of an audio slot.
        """
        wishes = {mid: slot for slot, mid in enumerate(listen)} | dict(subscribe or {})
        wanted = [SubscribeRequest(mid=mid, **_named(wish)) for mid, wish in wishes.items()]
        if mix is not None:
            wanted.append(SubscribeRequest(mid=mix, mix=True))
        message = Offer(
            sdp=sdp,
            publish=tuple(PublishRequest(mid=mid, source=source) for mid, source in (publish or {}).items()),
            subscribe=tuple(wanted),
        )
        return await self._ask(message, Answer)

    async def candidate(self, candidate: str, *, sdp_mid: str | None = None) -> Ok:
        """Tell an ICE candidate; the relay does not need it."""
        return await self._ask(Candidate(candidate=candidate, sdp_mid=sdp_mid), Ok)

    async def subscribe(self, wanted: str | int, mid: str) -> Subscribed:
        """Let a negotiated receiving section carry the track of this id, or the audio slot of this number, from now on."""
        return await self._ask(Subscribe(mid=mid, **_named(wanted)), Subscribed)

    async def unsubscribe(self, mid: str) -> Unsubscribed:
        """Stop what a receiving section carries."""
        return await self._ask(Unsubscribe(mid=mid), Unsubscribed)

    async def mute(self, track_id: str, *, muted: bool = True) -> Ok:
        """Stop or restart the forwarding of one's own track."""
        return await self._ask(Mute(track_id=track_id, muted=muted), Ok)

    async def chat(self, text: str) -> ChatSent:
        """Say something to the lobby."""
        return await self._ask(ChatSend(text=text), ChatSent)

    async def chat_history(self, *, before: int | None = None, limit: int = 50) -> ChatPage:
        """Return up to ``limit`` lines of chat before number ``before`` (None: the newest)."""
        return await self._ask(ChatHistory(before=before, limit=limit), ChatPage)

    async def ping(self) -> Pong:
        """Ask the server for a sign of life."""
        return await self._ask(Ping(), Pong)

    def mixed(self, *, rate: int = 16000, frame_ms: int = 20) -> AudioStream:
        """Return the sound of the lobby, everybody but oneself together: ``async for frame in bot.mixed(): ...``.

        ``rate`` is 8000, 16000, 24000, 32000 or 48000 samples a second; ``frame_ms`` 20, 40, 60 or 100.

        Raises: ValueError.
        """
        return self._listening.mixed(rate=rate, frame_ms=frame_ms)

    def participant(self, participant_id: str, *, rate: int = 16000, frame_ms: int = 20) -> AudioStream:
        """Return the sound of one participant alone; the rest as ``mixed``."""
        return self._listening.participant(participant_id, rate=rate, frame_ms=frame_ms)

    def speakers(self, *, rate: int = 16000, frame_ms: int = 20) -> Speakers:
        """Return a stream for each participant, as they are first heard; the rest as ``mixed``.

        ``async for stream in bot.speakers(): nursery.start_soon(listen, stream)``
        """
        return self._listening.speakers(rate=rate, frame_ms=frame_ms)

    async def play(
        self,
        sound: Sound,
        *,
        rate: int = 24000,
        to: str | None = None,
        interruptible: BargeIn | bool = False,
    ) -> Playout:
        """Say something to the lobby, or ``to`` one participant alone; return once the relay will take it.

        ``sound``: PCM of one channel, as bytes (signed 16 bit little-endian) or an array (int16, or floats from -1 to 1), of any length; or
        an iterable or async iterable of those, which is read in the background, 10 s ahead of what is heard at most. ``rate``: samples a
        second, any from 4,000 to 192,000. What is played while something else still is, is heard after that. ``interruptible``: who speaks meanwhile
        interrupts it, on those terms.

        Raises: ValueError and TypeError for samples that are none (of an iterable's, ``Playout.wait`` tells); ProtocolError when the relay
        refuses; ConnectionLostError.
        """
        await self._guard.settle()
        playout = await self._playing.play(sound, rate=rate, to=to)
        if interruptible:
            self._guard.add(playout, interruptible if isinstance(interruptible, BargeIn) else BargeIn())
        return playout

    async def clear(self) -> float:
        """Be silent at once: all that is being said, or waits to be, is over. Nothing is heard any more 20 ms later.

        Returns: how much has been heard of what was being said, in ms, as the relay counted it; 0 when nothing was.
        """
        return await self._playing.clear()

    async def set_gain(self, gain_db: float) -> bool:
        """Be louder or quieter by so much from now on, what is under way included; False: this relay cannot do it."""
        return await self._playing.set_gain(gain_db)

    async def press(self, digit: str) -> Ok:
        """Press a key of a telephone: 0 to 9, ``*``, ``#``, A to D. The lobby gets the event ``Dtmf``."""
        return await self._ask(Press(digit=digit), Ok)

    async def send_audio(self, frame: bytes) -> None:
        """Send a binary frame (``signaling/messages/audio_frames.py``), on the next WebSocket if there is none; ``play`` does it.

        Raises: ConnectionLostError.
        """
        link = await self._wait_link()
        await link.send_audio(frame)

    async def request(
        self, message: ClientMessage, *, timeout_s: float | None = None, on_reply: OnReply | None = None
    ) -> ServerMessage:
        """Send any request and wait for its reply, which is of the type that ``REPLIES`` names for it.

        ``on_reply`` is called with it at its place in the order of arrival.

        Raises: ProtocolError when the server refuses, RequestTimeoutError, ConnectionLostError.
        """
        patience_s = self._timeouts.request_s if timeout_s is None else timeout_s
        with trio.move_on_after(patience_s):
            link = await self._wait_link()
            return await link.request(message, on_reply=on_reply)
        raise RequestTimeoutError(f"no reply to `{message.type}` within {patience_s:g} s")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a WebSocket open until cancelled or until reconnecting is given up.

        Raises: ConnectError from the first attempt, and nothing after that: the loss ends requests and events.
        """
        loss = Loss("closed by this client")
        try:
            async with self._open() as link:
                self._resume_token = link.welcome.resume_token
                self.session_id = link.welcome.session_id
                self._adopt(link)
                task_status.started()
                loss = await self._wait_loss(link)
            if self._may_return(loss):
                loss = await self._return_until_given_up(loss)
        finally:
            self._ended = loss
            self._notify()
            self._playing.close(loss.error())
            self._listening.close(loss.error())
            self._events.close(loss.error())

    async def _return_until_given_up(self, loss: Loss) -> Loss:
        assert self._backoff is not None
        attempt = 0
        while self._backoff.allows(attempt):
            delay_s = self._backoff.delay_s(attempt, self._dice())
            await trio.sleep(self._backoff.maximum_s if loss.code in SLOW_CLOSE_CODES else delay_s)
            attempt += 1
            try:
                async with self._open() as link:
                    with trio.fail_after(self._timeouts.request_s):
                        await self._restore(link)
                    self._adopt(link)
                    up_since_s = trio.current_time()
                    loss = await self._wait_loss(link)
            except (ConnectError, ConnectionLostError, ProtocolError, trio.TooSlowError) as error:
                self._failed_attempts += 1
                if isinstance(error, ProtocolError) and error.code == ErrorCode.SESSION_ENDED:
                    self._events.put_nowait(Disconnected(error.message, None, will_reconnect=False))
                    return Loss(error.message, CloseCode.SESSION_ENDED)
                loss = Loss(str(error) or "the server did not answer in time")
                continue
            if not self._may_return(loss):
                return loss
            if trio.current_time() - up_since_s >= self._backoff.maximum_s:
                attempt = 0
        reason = f"gave up after {attempt} attempts: {loss.reason}"
        self._events.put_nowait(Disconnected(reason, loss.code, will_reconnect=False))
        return Loss(reason, loss.code)

    async def _restore(self, link: Link) -> None:
        """Become the former session again, or failing that a new one in the same lobby."""
        lobby, me, seen = self.lobby.lobby, self.lobby.me, self.lobby.seq
        resume = Resume(resume_token=self._resume_token, participant_id=self.participant_id, last_seq=seen)
        self._restoring = True
        try:
            try:
                await link.request(resume)
            except ProtocolError as error:
                if error.code != ErrorCode.RESUME_FAILED:
                    raise
                if lobby is None or me is None:
                    self._renew_audio()
                    self._events.put_nowait(Reconnected(resumed=False, lobby=None, media_state="new"))
                else:
                    await link.request(self._join_again(lobby, me))
                self._resume_token = link.welcome.resume_token
                self.session_id = link.welcome.session_id
        finally:
            self._restoring = False

    def _join_again(self, lobby: str, me: Participant) -> Join:
        """Return the request by which we came in, under the name we have now."""
        if self._join is None or self._join.lobby != lobby:
            return Join(lobby=lobby, name=me.name, is_bot=me.is_bot)
        return self._join.model_copy(update={"name": me.name, "is_bot": me.is_bot})

    def _open(self) -> AbstractAsyncContextManager[Link]:
        return open_link(
            self._url, self._open_stream, self._receive, self._timeouts, receive_audio=self._receive_audio
        )

    def _receive(self, frame: ServerFrame) -> None:
        # All that depends on the order of messages happens here, before any task that waits for a reply wakes up.
        message = frame.message
        if not self.lobby.apply(message, frame.seq):
            return
        if isinstance(message, Welcome):
            self.welcome = message
        elif frame.re is None:
            if not self._listening.receive(message) and not self._playing.receive(message):
                self._events.put_nowait(message)
        elif self._restoring and isinstance(message, Resumed):
            streams = set(message.audio_streams)
            self._listening.resumed(streams.difference(self._playing.numbers))
            self._playing.resumed(streams)
            self._events.put_nowait(
                Reconnected(
                    resumed=True,
                    lobby=message.lobby,
                    media_state=message.media_state,
                    replayed=message.replayed,
                )
            )
        elif self._restoring and isinstance(message, Joined):
            self._renew_audio()
            self._events.put_nowait(Reconnected(resumed=False, lobby=message, media_state="new"))

    def _receive_audio(self, wire: AudioFrameWire) -> None:
        self._listening.receive_audio(wire)

    def _renew_audio(self) -> None:
        self._listening.renewed()
        self._playing.renewed()

    def _is_bot(self, participant_id: str) -> bool:
        participant = self.lobby.participants.get(participant_id)
        return participant is not None and participant.is_bot

    def _adopt(self, link: Link) -> None:
        self._link = link
        self._links += 1
        self._notify()

    async def _wait_loss(self, link: Link) -> Loss:
        """Wait until the link is lost, and tell the readers of events."""
        try:
            loss = await link.wait_lost()
        finally:
            self._link = None
            self._unreadable_frames += link.unreadable_frames
        self._events.put_nowait(Disconnected(loss.reason, loss.code, will_reconnect=self._may_return(loss)))
        return loss

    def _may_return(self, loss: Loss) -> bool:
        return self._backoff is not None and loss.code not in FINAL_CLOSE_CODES

    async def _wait_link(self) -> Link:
        while self._link is None or self._link.lost:
            if self._ended is not None:
                raise self._ended.error()
            await self._link_changed.wait()
        return self._link

    def _notify(self) -> None:
        self._link_changed.set()
        self._link_changed = trio.Event()

    async def _ask(self, message: ClientMessage, reply_type: type[_Reply]) -> _Reply:
        reply = await self.request(message)
        assert isinstance(reply, reply_type)  # `Waiter` has seen to it
        return reply


def _named(wanted: str | int) -> dict[str, Any]:
    return {"slot": wanted} if isinstance(wanted, int) else {"track_id": wanted}
