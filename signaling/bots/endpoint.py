"""Where bot providers connect: ``/ws/bots``, for who has the administrator's token or a company's API key.

Either is a bearer token in ``Authorization``. With an API key the provider is its company's and serves nobody else.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import structlog
import trio

from signaling.auth import CHALLENGE, AdminDeniedError, AdminGate, Companies
from signaling.auth.api_keys import PREFIX
from signaling.auth.client_address import PROXY_HEADERS
from signaling.bots.provider_connection import ProviderConnection
from signaling.bots.service import BotService
from signaling.counters import Counters
from signaling.endpoints import Endpoint, RefusedUpgradeError, RequestInfo
from signaling.logs import get_logger
from signaling.messages import (
    ClientFrame,
    CloseCode,
    ErrorCode,
    ErrorReply,
    MessageError,
    Ping,
    Pong,
    decode_client,
    encode_server,
)
from signaling.messages.bots import PROVIDER_MESSAGES
from signaling.messages.server import ServerMessage
from signaling.rate_limit import TokenBucket
from signaling.request_error import RequestError
from signaling.supervisor import supervise
from signaling.websocket import Disconnected, WebSocket, WebSocketLimits

PATH = "/ws/bots"
NAME = "bot_providers"
MAX_CONNECTIONS = 1000
#: Of these, so many while the server is full.
RESERVED_CONNECTIONS = 16
#: The largest is a `register` with a config schema and a thousand running bots.
MAX_MESSAGE_BYTES = 64 * 1024
#: A provider of a thousand bots acknowledges them all when a server starts again.
MESSAGE_BURST = 2000
MESSAGES_PER_SECOND = 200.0
#: Refused messages that are put up with.
REFUSAL_BURST = 200
REFUSALS_PER_SECOND = 10.0
REGISTER_SECONDS = 10.0
#: What the gate looks at.
_HEADERS = PROXY_HEADERS | {"authorization", "host", "origin", "sec-fetch-site"}
_BEARER = "bearer "

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProviderPrincipal:
    """Who connects: somebody of a company, or the operator."""

    company_id: str


def bots_endpoint(
    bots: BotService,
    *,
    gate: AdminGate,
    companies: Companies,
    counters: Counters,
    limits: WebSocketLimits,
) -> Endpoint:
    """Return the endpoint, for the front door."""

    async def authorize(request: RequestInfo) -> ProviderPrincipal:
        authorization = request.headers.get("authorization", "")
        key = authorization[len(_BEARER) :].strip()
        if authorization.lower().startswith(_BEARER) and key.startswith(PREFIX):
            company = companies.authenticate(key)
            if company is None:
                raise RefusedUpgradeError(
                    401,
                    "this API key is none of this server's, is revoked, or its company is disabled",
                    headers={"WWW-Authenticate": CHALLENGE},
                )
            return ProviderPrincipal(company.company_id)
        try:
            gate.admit(request.headers, request.client_address)
        except AdminDeniedError as error:
            headers = {"WWW-Authenticate": CHALLENGE} if error.status == 401 else {}
            if error.retry_after_seconds is not None:
                headers = {"Retry-After": str(max(1, round(error.retry_after_seconds)))}
            raise RefusedUpgradeError(int(error.status), str(error), headers=headers) from None
        return ProviderPrincipal("")

    async def handle(socket: WebSocket, request: RequestInfo) -> None:
        assert isinstance(request.principal, ProviderPrincipal)
        served = _Served(socket, request, bots, companies, counters)
        if not await supervise(NAME, counters.failures, partial(served.run)):
            socket.close(CloseCode.INTERNAL, "the server failed on this connection")

    return Endpoint(
        NAME,
        PATH,
        handle,
        replace(limits, max_message_bytes=min(limits.max_message_bytes, MAX_MESSAGE_BYTES)),
        authorize=authorize,
        headers=_HEADERS,
        reserved=RESERVED_CONNECTIONS,
        max_connections=MAX_CONNECTIONS,
    )


class _Served:
    """One provider's WebSocket. Its ``ProviderLink``."""

    def __init__(
        self,
        socket: WebSocket,
        request: RequestInfo,
        bots: BotService,
        companies: Companies,
        counters: Counters,
    ) -> None:
        assert isinstance(request.principal, ProviderPrincipal)
        self._socket = socket
        self._company_id = request.principal.company_id
        self._correlation_id = request.correlation_id
        self._companies = companies
        self._counters = counters
        self._connection = ProviderConnection(bots, self, self._company_id)
        self._answering = False
        self._following: list[ServerMessage] = []
        now = trio.current_time()
        self._allowance = TokenBucket(burst=MESSAGE_BURST, per_second=MESSAGES_PER_SECOND, now=now)
        self._patience = TokenBucket(burst=REFUSAL_BURST, per_second=REFUSALS_PER_SECOND, now=now)

    def send(self, message: ServerMessage) -> None:
        """See ``link.ProviderLink``. What a request brings about follows its reply."""
        if self._answering:
            self._following.append(message)
        else:
            self._socket.send(encode_server(message))

    def close(self, code: int, reason: str) -> None:
        """See ``link.ProviderLink``."""
        self._socket.close(code, reason)

    async def run(self) -> None:
        """Serve the provider until its connection ends."""
        structlog.contextvars.bind_contextvars(company=self._company_id)
        try:
            with trio.move_on_after(REGISTER_SECONDS) as registering:
                while True:
                    self._answer(await self._socket.receive())
                    if self._connection.registered:
                        registering.deadline = float("inf")
            self._socket.close(CloseCode.POLICY, f"no `register` within {REGISTER_SECONDS:g} s")
        except Disconnected:
            return
        finally:
            self._part()

    def _part(self) -> None:
        ended = self._socket.ended
        if ended is None:
            self._connection.lost("the connection was ended")
        else:
            goodbye = ended.by_client and ended.code == CloseCode.NORMAL
            reason = ended.reason or ("it said goodbye" if goodbye else "its connection was lost")
            self._connection.lost(reason, goodbye=goodbye)

    def _answer(self, received_untrusted: str | bytes) -> None:
        if not self._allowance.take(trio.current_time()):
            # Not even parsed: refusing must cost less than serving.
            self._refuse(None, ErrorCode.RATE_LIMITED, f"more than {MESSAGES_PER_SECOND:g} messages a second")
            return
        if self._company_id and not self._companies.is_enabled(self._company_id):
            self._socket.close(CloseCode.SESSION_ENDED, "the company was disabled")
            raise Disconnected
        if isinstance(received_untrusted, bytes):
            self._refuse(None, ErrorCode.UNSUPPORTED, "binary frames are not used: send JSON in text frames")
            return
        try:
            frame = decode_client(received_untrusted, PROVIDER_MESSAGES)
        except MessageError as error:
            self._refuse(error.re, error.code, error.error, error.field)
            return
        self._counters.messages[f"provider_{frame.message.type}"] += 1
        if isinstance(frame.message, Ping):
            self._reply(Pong(time=datetime.now(UTC)), frame.id)
            return
        self._carry_out(frame)

    def _carry_out(self, frame: ClientFrame) -> None:
        self._answering = True
        try:
            self._reply(self._connection.handle(frame.message), frame.id)
        except RequestError as error:
            self._refuse(frame.id, error.code, error.error, error.field)
        except BaseException:
            # A fault of ours: the supervisor logs it, but the provider is told first.
            self._refuse(frame.id, ErrorCode.INTERNAL, "the server failed; its log has the details")
            self._socket.close(CloseCode.INTERNAL, "the server failed on this connection")
            raise
        finally:
            self._answering = False
            following, self._following = self._following, []
            for message in following:
                self.send(message)

    def _reply(self, message: ServerMessage, re: int | None) -> None:
        self._socket.send(encode_server(message, re))

    def _refuse(self, re: int | None, code: str, error: str, field: str | None = None) -> None:
        self._counters.errors[code] += 1
        reply = ErrorReply(code=code, error=error, field=field, correlation_id=self._correlation_id)
        self._reply(reply, re)
        if not self._patience.take(trio.current_time()):
            self._socket.close(CloseCode.POLICY, "too many messages in vain")
