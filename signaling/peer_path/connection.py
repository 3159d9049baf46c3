"""One peer's connection: enters a lobby of its company, answers its messages in order, and leaves when it is gone.

The session underneath ends with the connection: this path has no way to resume one. What the lobby's participants are told
in the client protocol is not passed on; the peer has its own few messages. Answers of bots are waited for beside the
requests, so that nothing waits behind them.
"""

from collections.abc import Callable
from typing import Any

import structlog
import trio

import relay
from signaling.admission import Gate, refusal
from signaling.auth import CompanyUsage
from signaling.auth.errors import AuthError
from signaling.connection import MESSAGE_BURST, MESSAGES_PER_SECOND, REFUSAL_BURST, REFUSALS_PER_SECOND
from signaling.counters import Counters
from signaling.handlers import handle
from signaling.logs import get_logger
from signaling.messages import Answer, CloseCode, ErrorCode, Join, MessageError
from signaling.moderation import COMPANY_CLOSED
from signaling.peer_path.address import PeerAddress
from signaling.peer_path.answerer import Answerer
from signaling.peer_path.codes import PeerCloseCode, PeerErrorCode
from signaling.peer_path.directory import Directory
from signaling.peer_path.hearing import Hearing, Voices
from signaling.peer_path.messages import (
    RELAY_PEER,
    Config,
    ConfigRequest,
    ConnectionAck,
    OfferSignal,
    PeerError,
    PeerPong,
    PeerReply,
    PeerRequest,
    PingRequest,
    Signal,
    SignalRequest,
    TextRequest,
    decode_request,
    encode_reply,
    validated,
)
from signaling.peer_path.offers import explain_offer
from signaling.peer_path.questions import Questions
from signaling.preparations import prepare
from signaling.rate_limit import TokenBucket
from signaling.removals import Removal
from signaling.request_error import RequestError
from signaling.session import Session
from signaling.sessions import Sessions
from signaling.websocket import Disconnected, WebSocket

#: Frames that are no messages, which are put up with.
VIOLATION_BURST = 20
VIOLATIONS_PER_SECOND = 1.0
#: What signals with candidates call themselves, with or without a type.
CANDIDATE_TYPES = frozenset({"candidate", "ice-candidate", "ice_candidate"})

_FULL = frozenset({ErrorCode.LOBBY_FULL.value, ErrorCode.COMPANY_LIMIT.value})
_log = get_logger(__name__)


class PeerConnection:
    """See the module. A ``Peer`` of the directory, and the ``Requester`` of the handlers it uses."""

    def __init__(
        self,
        socket: WebSocket,
        address: PeerAddress,
        *,
        sessions: Sessions,
        gate: Gate,
        usage: CompanyUsage,
        is_enabled: Callable[[str], bool],
        directory: Directory,
        answerer: Answerer,
        config: Config,
        counters: Counters,
        client_address: str,
        correlation_id: str,
    ) -> None:
        self.address = address
        self.gate = gate
        self.client_address = client_address
        self.lobby_id = ""
        self._socket = socket
        self._sessions = sessions
        self._usage = usage
        self._is_enabled = is_enabled
        self._directory = directory
        self._config = config
        self._counters = counters
        self._correlation_id = correlation_id
        self._session: Session | None = None
        self._hearing = Hearing()
        self._questions = Questions(
            answerer, failures=counters.failures, tell=self.tell, send_error=self._send_error
        )
        now = trio.current_time()
        self._allowance = TokenBucket(burst=MESSAGE_BURST, per_second=MESSAGES_PER_SECOND, now=now)
        self._patience = TokenBucket(burst=REFUSAL_BURST, per_second=REFUSALS_PER_SECOND, now=now)
        self._violations = TokenBucket(burst=VIOLATION_BURST, per_second=VIOLATIONS_PER_SECOND, now=now)

    @property
    def session(self) -> Session:
        """The session underneath."""
        assert self._session is not None
        return self._session

    async def run(self) -> None:
        """Serve the peer until its connection ends."""
        try:
            await self._enter()
            self.tell(
                ConnectionAck(
                    peer_id=self.address.peer_id,
                    lobby=self.address.lobby,
                    correlation_id=self._correlation_id,
                )
            )
            async with trio.open_nursery() as nursery:
                await self._serve(nursery)
                nursery.cancel_scope.cancel()
        except Disconnected:
            return
        except RequestError as error:
            self._send_error(error.code, error.error)
            at_fault = PeerCloseCode.PEER_ID if error.field in {"name", "name_password"} else None
            self._socket.close(at_fault or PeerCloseCode.COMPANY, error.error)
        finally:
            self._part()

    # A requester's.

    def find(self, token_untrusted: str) -> Session | None:
        """See ``requester.Requester``; here nobody has tokens."""

    def resume(self, token_untrusted: str) -> Session | None:
        """See ``requester.Requester``."""

    def removal(self, token_untrusted: str) -> Removal | None:
        """See ``requester.Requester``."""

    # A peer's, as others see it.

    def tell(self, message: PeerReply) -> None:
        """See ``directory.Peer``."""
        self._socket.send(encode_reply(message))

    def give_way(self) -> None:
        """See ``directory.Peer``."""
        self._socket.close(PeerCloseCode.PEER_ID, "a newer connection has taken this peer id")
        self.session.leave("replaced")
        self.session.end("replaced")

    def lobby_closed(self) -> None:
        """See ``directory.Peer``."""
        self._socket.close(CloseCode.SESSION_ENDED, "the lobby was closed")

    @property
    def chooses_voices(self) -> bool:
        """See ``directory.Peer``."""
        return bool(self._hearing.carried)

    def choose_voices(self, voices: Voices) -> None:
        """See ``directory.Peer``."""
        if self.session.membership is not None:
            self._hearing.follow(self.session, self.session.membership, voices)

    # Coming and going.

    async def _enter(self) -> None:
        """Begin a session and be in the lobby; a former connection of the same peer gives way.

        Raises: RequestError.
        """
        company_id = self.address.company_id
        former = self._directory.find(company_id, self.address.peer_id)
        try:
            self._session, _ = await self._sessions.open(
                company_id=company_id, resumable=False, limited=former is None
            )
        except AuthError as error:
            raise refusal(error) from None
        self._session.attach(_Link(self._socket, self._session))
        structlog.contextvars.bind_contextvars(session=self._session.session_id)
        join = Join(lobby=self.address.lobby, name=self.address.peer_id)
        prepared = await prepare(self, join)
        if not self._session.alive:
            raise Disconnected
        self._join(join, prepared)
        _log.info("peer connected", peer=self.address.peer_id, lobby=self.address.lobby, company=company_id)

    def _join(self, join: Join, prepared: tuple[Any, ...]) -> None:
        """Enter, and let a former connection give way: after that, so that the lobby is not left empty, if there is room.

        Raises: RequestError.
        """
        try:
            handle(self, join, prepared)
        except RequestError as error:
            former = self._directory.find(self.address.company_id, self.address.peer_id)
            if former is None or error.code not in _FULL:
                raise
            former.give_way()
            self._directory.drop(former)
            handle(self, join, prepared)
        assert self.session.membership is not None
        self.lobby_id = self.session.membership.lobby.lobby_id
        former = self._directory.put(self)
        if former is not None:
            former.give_way()

    def _part(self) -> None:
        if self._session is None:
            return
        if self.lobby_id:
            self._directory.drop(self)
        self._session.leave("left")
        self._session.end("left")

    # Requests.

    async def _serve(self, nursery: trio.Nursery) -> None:
        try:
            while True:
                received = await self._socket.receive()
                if not self.session.alive:
                    return
                self._answer(received, nursery)
        except Disconnected:
            return

    def _answer(self, received_untrusted: str | bytes, nursery: trio.Nursery) -> None:
        if not self._allowance.take(trio.current_time()):
            # Not even parsed: refusing must cost less than serving.
            self._send_error(ErrorCode.RATE_LIMITED, f"more than {MESSAGES_PER_SECOND:g} messages a second")
            if not self._patience.take(trio.current_time()):
                self._socket.close(CloseCode.POLICY, "too many messages for too long")
            return
        try:
            request = decode_request(received_untrusted)
            self._counters.messages[f"peer_{request.type}"] += 1
            self._check_company()
            self._carry_out(request, nursery)
        except MessageError as error:
            self._send_error(error.code, error.error, error.field)
            if not self._violations.take(trio.current_time()):
                self._socket.close(PeerCloseCode.VIOLATION, "too many frames that are no messages")
        except RequestError as error:
            self._send_error(error.code, error.error, error.field)
        except Disconnected:
            raise
        except BaseException:
            # A fault of ours: the supervisor logs it, but the peer is told first.
            self._send_error(ErrorCode.INTERNAL, "the server failed; its log has the details")
            self._socket.close(CloseCode.INTERNAL, "the server failed on this connection")
            raise

    def _check_company(self) -> None:
        """Raise RequestError when the company has asked for too much, Disconnected when it may ask for nothing any more."""
        if self._usage.take_message(self.address.company_id):
            return
        if not self._is_enabled(self.address.company_id):
            self._socket.close(PeerCloseCode.COMPANY, "the company was disabled")
            raise Disconnected
        text = "the company makes more requests a second than it may (messages_per_second)"
        raise RequestError(ErrorCode.COMPANY_LIMIT, text)

    def _carry_out(self, request: PeerRequest, nursery: trio.Nursery) -> None:
        """Raise RequestError or MessageError for what cannot be done."""
        if isinstance(request, PingRequest):
            self.tell(PeerPong())
        elif isinstance(request, ConfigRequest):
            self.tell(self._config)
        elif isinstance(request, SignalRequest):
            self._signal(request)
        elif isinstance(request, TextRequest):
            membership = self.session.membership
            if membership is not None:
                self._questions.ask(request.message, self.session.limits, membership, nursery)

    # Signals.

    def _signal(self, request: SignalRequest) -> None:
        if request.to_peer == RELAY_PEER:
            self._signal_relay(request.data)
            return
        peer = self._directory.find(self.address.company_id, request.to_peer)
        if peer is None:
            text = "no peer of this company is connected under this id"
            raise RequestError(PeerErrorCode.UNKNOWN_PEER, text, field="to_peer")
        peer.tell(Signal(from_peer=self.address.peer_id, data=request.data))

    def _signal_relay(self, data: dict[str, Any]) -> None:
        kind = data.get("type")
        if kind == "offer":
            self._negotiate(validated(OfferSignal, data, within="data.").sdp)
        elif not (kind in CANDIDATE_TYPES if isinstance(kind, str) else kind is None and "candidate" in data):
            # The relay is ICE-lite: it answers checks, and has no need of the candidates it is told of.
            text = "the relay takes a `data` with the type offer, or a candidate; it always answers and never offers"
            raise RequestError(ErrorCode.UNSUPPORTED, text, field="data.type")

    def _negotiate(self, sdp: str) -> None:
        membership = self.session.membership
        if membership is None:
            return  # the lobby was closed; the connection is about to be
        try:
            explained = explain_offer(sdp, membership)
            answer = handle(self, explained.offer).reply
        except relay.RemoteProtocolError as error:
            raise RequestError(error.code, str(error), field="data.sdp") from None
        except RequestError as error:
            raise RequestError(error.code, error.error, field="data.sdp") from None
        assert isinstance(answer, Answer)
        self._hearing.carried = explained.carried
        self.tell(Signal(from_peer=RELAY_PEER, data={"type": "answer", "sdp": answer.sdp}))
        if answer.refused:
            first, *more = answer.refused
            text = f"section {first.mid!r} was not taken: {first.error}"
            text += f"; nor were {len(more)} others" if more else ""
            raise RequestError(first.code, text, field="data.sdp")

    def _send_error(self, code: str, error: str, field: str | None = None) -> None:
        self._counters.errors[code] += 1
        self.tell(PeerError(code=code, error=error, field=field, correlation_id=self._correlation_id))


class _Link:
    """What the session has of the connection. It speaks the client protocol, which this peer does not: only its end is passed on."""

    def __init__(self, socket: WebSocket, session: Session) -> None:
        self._socket = socket
        self._session = session

    def send(self, text: str) -> None:
        """See ``session.Link``."""

    def send_sound(self, source: Callable[[], bytes]) -> None:
        """See ``session.Link``; nothing here asks for sound as samples."""

    def close(self, code: int, reason: str) -> None:
        """See ``session.Link``."""
        of_company = (
            self._session.removal is not None and self._session.removal.reason == COMPANY_CLOSED.reason
        )
        self._socket.close(PeerCloseCode.COMPANY if of_company else code, reason)
