"""One client's connection: greets it, answers its requests in order, hands its session back when it is gone."""

import structlog
import trio

from signaling.counters import Counters
from signaling.handlers import RequestError, handle
from signaling.lobby import CHAT_SNAPSHOT
from signaling.messages import (
    MAX_CHAT_LENGTH,
    MAX_NAME_LENGTH,
    CloseCode,
    ErrorCode,
    ErrorReply,
    Limits,
    MessageError,
    ServerIdentity,
    Welcome,
    decode_client,
    encode_server,
)
from signaling.messages.model import MAX_LOBBY_LENGTH
from signaling.rate_limit import TokenBucket
from signaling.session import Session
from signaling.sessions import Sessions
from signaling.version import SERVER_NAME, server_version
from signaling.websocket import Disconnected, WebSocket

#: A client that negotiates and trickles sends some thirty messages in its first second.
MESSAGE_BURST = 200
MESSAGES_PER_SECOND = 50.0
#: Refused messages that are put up with before the client is shown the door.
REFUSAL_BURST = 200
REFUSALS_PER_SECOND = 10.0


class Connection:
    """See the module. The ``Requester`` of its handlers."""

    def __init__(
        self,
        socket: WebSocket,
        *,
        sessions: Sessions,
        counters: Counters,
        max_message_bytes: int,
        keepalive_seconds: float,
    ) -> None:
        self._socket = socket
        self._sessions = sessions
        self._counters = counters
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

    @property
    def session(self) -> Session:
        """The session that speaks here."""
        assert self._session is not None
        return self._session

    async def run(self) -> None:
        """Serve the client until its connection ends."""
        session, token = await self._sessions.open()
        self._become(session)
        try:
            self._welcome(session, token)
            while True:
                received = await self._socket.receive()
                if not self.session.alive:
                    return
                self._answer(received)
        except Disconnected:
            return
        finally:
            self._part()

    def resume(self, token_untrusted: str) -> Session | None:
        """See ``handlers.Requester``."""
        if self._requests > 1:
            return None
        former = self._sessions.find(token_untrusted)
        if former is None or former is self._session:
            return None
        fresh = self.session
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
        )
        self._socket.send(encode_server(message))

    def _answer(self, received_untrusted: str | bytes) -> None:
        if not self._allowance.take(trio.current_time()):
            self._refuse()
            return
        self._requests += 1
        if isinstance(received_untrusted, bytes):
            self._send_error(
                None, ErrorCode.UNSUPPORTED, "binary frames are not used: send JSON in text frames"
            )
            return
        try:
            frame = decode_client(received_untrusted)
        except MessageError as error:
            self._send_error(error.re, error.code, error.error, error.field)
            return
        self._counters.messages[frame.message.type] += 1
        try:
            reply = handle(self, frame.message)
        except RequestError as error:
            self._send_error(frame.id, error.code, error.error, error.field)
            return
        except BaseException:
            # A fault of ours: the supervisor logs it and closes the connection, but the client is told first.
            self._send_error(frame.id, ErrorCode.INTERNAL, "the server failed; its log has the details")
            self._socket.close(CloseCode.INTERNAL, "the server failed on this connection")
            raise
        self._socket.send(encode_server(reply, frame.id))

    def _refuse(self) -> None:
        # The frame is not even parsed: refusing must cost less than serving.
        self._send_error(None, ErrorCode.RATE_LIMITED, f"more than {MESSAGES_PER_SECOND:g} messages a second")
        if not self._patience.take(trio.current_time()):
            self._socket.close(CloseCode.POLICY, "too many messages for too long")

    def _send_error(self, re: int | None, code: str, error: str, field: str | None = None) -> None:
        self._counters.errors[code] += 1
        self._socket.send(encode_server(ErrorReply(code=code, error=error, field=field), re))
