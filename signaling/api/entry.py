"""What every HTTP request passes first, whatever it is for: whose it is, whether there are too many, its body, its span.

Under ``/api`` requests are limited and their bodies read whole, bounded in size, time and depth, before anything else
looks at them. An exception that nobody expected is logged once and answered; it reaches no other request.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus

import trio
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from signaling.api.bodies import BodyRefusedError, ClientGoneError, read_body
from signaling.api.caller import CALL, Call, presented_key
from signaling.api.errors import ApiError, problem_of
from signaling.auth import ApiDecision
from signaling.client_address import client_address, parse_networks
from signaling.correlation import correlation_id
from signaling.logs import get_logger
from signaling.problem_codes import ProblemCode
from signaling.problems import problem
from signaling.report import Service
from signaling.supervisor import supervise

API = "/api/"
#: Asked by machines, every few seconds, from one address for many servers: these are quick and never refused.
UNLIMITED = frozenset({"/api/system/health", "/api/system/live", "/api/system/ready"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
CORRELATION_HEADER = "X-Correlation-ID"

_log = get_logger(__name__)


class Entry:
    """See the module. An ASGI application around another."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._trusted_proxies = parse_networks(service.settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = self._call(scope)
        scope[CALL] = call
        answer = _Answer(send, call.correlation_id)
        method = scope["method"] if scope["method"] in METHODS else "other"
        with self._service.tracer.span("request", transport="http", method=method) as span:
            await self._serve(call, scope, receive, answer)
            # The route as it was declared: a path as it came may hold anything.
            route = str(getattr(scope.get("route"), "path", ""))
            span.note(route=route, status=answer.status)
        self._service.counters.answers[str(answer.status)] += 1
        _log.debug("http request", method=method, route=route, status=answer.status)

    def _call(self, scope: Scope) -> Call:
        headers = joined_headers(scope["headers"])
        peer = scope["client"][0] if scope.get("client") else ""
        key = presented_key(headers) if scope["path"].startswith(API) else None
        return Call(
            service=self._service,
            address=client_address(headers, peer, self._trusted_proxies),
            headers=headers,
            correlation_id=correlation_id(),
            company=None if key is None else self._service.access.companies.authenticate(key),
        )

    async def _serve(self, call: Call, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        path = scope["path"]
        if path.startswith(API):
            if path not in UNLIMITED:
                decision = self._service.access.api_limits.check(
                    address=call.address, company=call.company, now=trio.current_time()
                )
                answer.limit(decision)
                if not decision.allowed:
                    await answer.respond(problem_of(_too_many(decision, call)), scope, receive)
                    return
            if scope["method"] in WITH_BODY:
                try:
                    receive = await read_body(call.headers, receive)
                except ClientGoneError:
                    return
                except BodyRefusedError as refused:
                    response = problem_of(ApiError(refused.code, str(refused)))
                    # What is left of the body is not waited for.
                    response.headers["Connection"] = "close"
                    await answer.respond(response, scope, receive)
                    return
        served = await supervise(
            "http", self._service.counters.failures, partial(self._app, scope, receive, answer.send)
        )
        if not served and not answer.status:
            text = "the server failed; its log has the details under the correlation id"
            await answer.respond(problem(HTTPStatus.INTERNAL_SERVER_ERROR, text), scope, receive)


class _Answer:
    """Adds to an answer's head what every answer has, and remembers its status (0: none was sent)."""

    def __init__(self, send: Send, connection: str) -> None:
        self.status = 0
        self._send = send
        self._headers = {CORRELATION_HEADER: connection} if connection else {}

    def limit(self, decision: ApiDecision) -> None:
        """Tell the client how many requests it has left."""
        self._headers |= decision.headers

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers[name] = value
        await self._send(message)

    async def respond(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Send a whole response."""
        await response(scope, receive, self.send)


def joined_headers(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return headers by name in lower case; what came in several lines is joined with commas (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for name_bytes, value in raw:
        name, text = name_bytes.decode("latin-1").lower(), value.decode("latin-1").strip()
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _too_many(decision: ApiDecision, call: Call) -> ApiError:
    whose = "this address" if call.company is None else "this company"
    return ApiError(
        ProblemCode.RATE_LIMITED,
        f"more than {decision.limit} requests a minute from {whose}: wait {decision.retry_after_seconds} s",
        headers=decision.headers,
    )
