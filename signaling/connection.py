"""One client's connection: greets it, answers its requests in order, hands its session back when it is gone.

A request is prepared, carried out in one step, and answered; the next one waits for that. Where the answer says that
something is kept, it waits for the store.
"""

from typing import Any

import structlog
import trio

from signaling.admission import Gate
from signaling.auth.company_usage import CompanyUsage
from signaling.auth.errors import AuthError
from signaling.chat import CHAT_SNAPSHOT
from signaling.counters import Counters
from signaling.drain import Drain
from signaling.handlers import Outcome, handle
from signaling.messages import (
    MAX_CHAT_LENGTH,
    MAX_NAME_LENGTH,
    AudioFrameError,
    ClientFrame,
    ClientMessage,
    CloseCode,
    ErrorCode,
    ErrorReply,
    Limits,
    MessageError,
    Ping,
    Resume,
    ServerIdentity,
    Welcome,
    decode_audio_frame_untrusted,
    decode_client,
    encode_server,
)
from signaling.messages.model import MAX_LOBBY_LENGTH
from signaling.preparations import PREPARATIONS, prepare
from signaling.rate_limit import TokenBucket
from signaling.removals import Removal
from signaling.request_error import RequestError
from signaling.session import Session
from signaling.session_limits import SESSION_LIMITS
from signaling.sessions import Sessions
from signaling.storage import Change, Store, StoreHealth, StoreUnavailableError
from signaling.tracing.tracer import NO_TRACER, Tracer
from signaling.version import SERVER_NAME, server_version
from signaling.voices.playouts import PlayOverflowError
from signaling.websocket import Disconnected, WebSocket

#: A client that negotiates and trickles sends some thirty messages in its first second.
MESSAGE_BURST = 200
MESSAGES_PER_SECOND = 50.0
#: Refused messages that are put up with before the client is shown the door.
REFUSAL_BURST = 200
REFUSALS_PER_SECOND = 10.0
#: Binary frames: a bot speaks in 20 ms frames four times as fast as it is heard, until its ten seconds are under way.
SOUND_BURST = 400
SOUND_FRAMES_PER_SECOND = 200.0
#: Binary frames in a row that are no audio frames, and the time in which they are put up with.
BAD_FRAMES = 10
BAD_FRAMES_SECONDS = 10.0
#: How long a reply waits for a store that is known to be in trouble; the requests behind it wait as long.
TROUBLED_STORE_SECONDS = 0.5


class Connection:
    """See the module. The ``Requester`` of its handlers."""

    def __init__(
        self,
        socket: WebSocket,
        *,
        sessions: Sessions,
        store: Store,
        gate: Gate,
        usage: CompanyUsage,
        counters: Counters,
        drain: Drain,
        tracer: Tracer = NO_TRACER,
        max_message_bytes: int,
        keepalive_seconds: float,
        company_id: str = "",
        client_address: str = "",
    ) -> None:
        self.gate = gate
        self.client_address = client_address
        #: Under which the log, the bus and the audit know this connection.
        self.correlation_id: str = structlog.contextvars.get_contextvars().get("connection", "")
        self._socket = socket
        self._sessions = sessions
        self._store = store
        self._usage = usage
        self._company_id = company_id
        self._counters = counters
        self._tracer = tracer
        self._drain = drain
        # Who comes while the server drains may resume, and nothing else.
        self._may_only_resume = drain.active
        self._max_message_bytes = max_message_bytes
        self._keepalive_seconds = keepalive_seconds
        self._session: Session | None = None
        self._requests = 0
        self._allowance = TokenBucket(
            burst=MESSAGE_BURST, per_second=MESSAGES_PER_SECOND, now=trio.current_time()
        )
        self._patience = TokenBucket(
            burst=REFUSAL_BURST, per_second=REFUSALS_PER_SECOND, now=trio.current_time()
        )
        self._sound_allowance: TokenBucket | None = None
        #: When bad binary frames came, since the last good one.
        self._bad_frames: list[float] = []

    @property
    def session(self) -> Session:
        """The session that speaks here."""
        assert self._session is not None
        return self._session

    async def run(self) -> None:
        """Serve the client until its connection ends."""
        try:
            session, token = await self._sessions.open(company_id=self._company_id)
        except AuthError as error:
            self._socket.close(CloseCode.TRY_LATER, str(error))
            return
        self._become(session)
        try:
            self._welcome(session, token)
            while True:
                received = await self._socket.receive()
                if not self._is_served():
                    return
                if isinstance(received, bytes):
                    self._hear(received)
                else:
                    await self._answer(received)
        except Disconnected:
            return
        finally:
            self._part()

    def find(self, token_untrusted: str) -> Session | None:
        """See ``requester.Requester``."""
        return self._sessions.find(token_untrusted)

    def removal(self, token_untrusted: str) -> Removal | None:
        """See ``requester.Requester``."""
        return self._sessions.removal(token_untrusted)

    def resume(self, token_untrusted: str) -> Session | None:
        """See ``requester.Requester``."""
        if self._requests > 1:
            return None
        former = self._sessions.find(token_untrusted)
        if former is None or former is self._session:
            return None
        fresh = self.session
        self._may_only_resume = False
        self._become(former)
        fresh.detach(self._socket)
        self._sessions.note_resumed(former)
        return former

    def _become(self, session: Session) -> None:
        self._session = session
        session.attach(self._socket)
        structlog.contextvars.bind_contextvars(session=session.session_id)

    def _part(self) -> None:
        ended = self._socket.ended
        goodbye = ended is not None and ended.by_client and ended.code == CloseCode.NORMAL
        self.session.detach(self._socket, goodbye=goodbye)

    def _welcome(self, session: Session, token: str) -> None:
        message = Welcome(
            session_id=session.session_id,
            resume_token=token,
            resume_seconds=self._sessions.resume_seconds,
            server=ServerIdentity(name=SERVER_NAME, version=server_version()),
            limits=Limits(
                max_message_bytes=self._max_message_bytes,
                max_name_length=MAX_NAME_LENGTH,
                max_lobby_length=MAX_LOBBY_LENGTH,
                max_chat_length=MAX_CHAT_LENGTH,
                chat_history=CHAT_SNAPSHOT,
                keepalive_seconds=self._keepalive_seconds,
            ),
            correlation_id=self.correlation_id,
        )
        self._socket.send(encode_server(message))

    def _hear(self, received_untrusted: bytes) -> None:
        """Take a binary frame: samples to be heard."""
        now = trio.current_time()
        if self._sound_allowance is None:
            self._sound_allowance = TokenBucket(
                burst=SOUND_BURST, per_second=SOUND_FRAMES_PER_SECOND, now=now
            )
        if not self._sound_allowance.take(now):
            self._refuse(f"more than {SOUND_FRAMES_PER_SECOND:g} binary frames a second: send longer ones")
            return
        try:
            self.session.play(decode_audio_frame_untrusted(received_untrusted))
        except AudioFrameError as error:
            self._send_error(None, ErrorCode.INVALID_AUDIO, str(error))
            self._note_bad_frame(now)
        except PlayOverflowError as error:
            self._send_error(None, ErrorCode.PLAY_OVERFLOW, str(error))
        else:
            self._bad_frames.clear()

    def _note_bad_frame(self, now: float) -> None:
        self._bad_frames = [at for at in self._bad_frames if now - at < BAD_FRAMES_SECONDS]
        self._bad_frames.append(now)
        if len(self._bad_frames) >= BAD_FRAMES:
            self._socket.close(CloseCode.POLICY, "too many binary frames that are no audio frames")

    async def _answer(self, received_untrusted: str) -> None:
        if not self._allowance.take(trio.current_time()):
            self._refuse(f"more than {MESSAGES_PER_SECOND:g} messages a second")
            return
        self._requests += 1
        try:
            frame = decode_client(received_untrusted)
        except MessageError as error:
            self._send_error(error.re, error.code, error.error, error.field)
            return
        self._counters.messages[frame.message.type] += 1
        if self._is_turned_away(frame.message):
            return
        try:
            with self._tracer.span("request", type=frame.message.type):
                await self._carry_out(frame)
        except RequestError as error:
            self._send_error(frame.id, error.code, error.error, error.field)
        except trio.Cancelled:
            raise
        except BaseException:
            # A fault of ours: the supervisor logs it and closes the connection, but the client is told first.
            self._send_error(frame.id, ErrorCode.INTERNAL, "the server failed; its log has the details")
            self._socket.close(CloseCode.INTERNAL, "the server failed on this connection")
            raise

    def _is_turned_away(self, message: ClientMessage) -> bool:
        """Close the connection of a newcomer for whom the server has no place any more."""
        if not self._may_only_resume or isinstance(message, Resume | Ping):
            return False
        reason = self._drain.refusal()
        if reason is None:
            self._may_only_resume = False
            return False
        self._socket.close(CloseCode.TRY_LATER, reason)
        return True

    async def _carry_out(self, frame: ClientFrame) -> None:
        """Prepare, do and answer one request.

        Raises: RequestError.
        """
        message = frame.message
        self._check_limits(message.type)
        prepared: tuple[Any, ...] = ()
        if type(message) in PREPARATIONS:
            prepared = await prepare(self, message)
            if not self._is_served():
                return
        outcome = handle(self, message, prepared)
        if outcome.durable:
            await self._commit(outcome.durable)
        self._reply(outcome, frame.id)

    def _reply(self, outcome: Outcome, re: int | None) -> None:
        for text in (*outcome.preceded_by, encode_server(outcome.reply, re), *outcome.followed_by):
            self._socket.send(text)

    async def _commit(self, changes: tuple[Change, ...]) -> None:
        """Wait until the changes are durable, after all that happened to sessions before them.

        Raises: RequestError.
        """
        self._sessions.flush()
        troubled = self._store.statistics().health is not StoreHealth.OK
        fault = "it takes too long"
        with trio.move_on_after(TROUBLED_STORE_SECONDS if troubled else float("inf")):
            try:
                await self._store.commit(*changes)
            except StoreUnavailableError as error:
                fault = str(error)
            else:
                return
        text = f"the others were told, but it may not be kept: the database does not answer ({fault})"
        raise RequestError(ErrorCode.STORAGE_UNAVAILABLE, text)

    def _check_limits(self, message_type: str) -> None:
        """Raise RequestError when the session, or its company, has asked for too much."""
        session = self.session
        if not session.limits.take(message_type, trio.current_time()):
            what = SESSION_LIMITS[message_type].what
            raise RequestError(ErrorCode.RATE_LIMITED, f"too many {what}: wait a moment")
        company_id = session.belongs_to
        if company_id and not self._usage.take_message(company_id):
            text = (
                "the company makes more requests a second than it may (messages_per_second), or is disabled"
            )
            raise RequestError(ErrorCode.COMPANY_LIMIT, text)

    def _is_served(self) -> bool:
        """Whether the session still is this connection's to speak for."""
        return self.session.alive and self.session.is_attached_to(self._socket)

    def _refuse(self, fault: str) -> None:
        # The frame is not even parsed: refusing must cost less than serving.
        self._send_error(None, ErrorCode.RATE_LIMITED, fault)
        if not self._patience.take(trio.current_time()):
            self._socket.close(CloseCode.POLICY, "too many messages for too long")

    def _send_error(self, re: int | None, code: str, error: str, field: str | None = None) -> None:
        self._counters.errors[code] += 1
        reply = ErrorReply(code=code, error=error, field=field, correlation_id=self.correlation_id)
        self._socket.send(encode_server(reply, re))
