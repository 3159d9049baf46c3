"""Telephony as a part of the server: what is answered over HTTP, and the endpoints of the streams.

Requests here are a provider's, proven by signature, ticket or password; nothing else of them is believed. Bodies are
bounded in size and time before anything looks at them.
"""

from collections.abc import AsyncIterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qsl

import trio
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from signaling.counters import Counters
from signaling.dialect import SILENT
from signaling.drain import Drain
from signaling.endpoints import Endpoint, RefusedUpgradeError, RefusedWebSocketError, RequestInfo
from signaling.logs import get_logger
from signaling.messages import CloseCode
from signaling.problems import problem
from signaling.settings import Settings
from signaling.supervisor import supervise
from signaling.telephony import exotel, exotel_entry, twilio, twilio_entry, twiml
from signaling.telephony.calls import Admit, PhoneCall
from signaling.telephony.exotel import ExotelStream
from signaling.telephony.exotel_entry import ExotelEntry
from signaling.telephony.line import OpenLine
from signaling.telephony.phone import PhoneDialect
from signaling.telephony.public_address import UnknownAddressError
from signaling.telephony.signature import Form
from signaling.telephony.twilio import TwilioStream
from signaling.telephony.twilio_entry import NotTwilioError, TwilioEntry
from signaling.websocket import WebSocket, WebSocketLimits

#: Twilio's forms have some kilobytes.
MAX_FORM_BYTES = 64 * 1024
MAX_FORM_FIELDS = 200
FORM_SECONDS = 10.0
FORM_TYPE = "application/x-www-form-urlencoded"
#: A message of Twilio's has some 300 bytes.
TWILIO_MESSAGE_BYTES = 32 * 1024
#: The longest audio in base64, and what is around it.
EXOTEL_MESSAGE_BYTES = 160 * 1024
#: A second of either's messages, and some; more is not queued (``calls.py``).
SEND_QUEUE_BYTES = 512 * 1024

_log = get_logger(__name__)


class FormRefusedError(Exception):
    """A form that is not looked at any further; ``status`` is of HTTP."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def telephony_router(settings: Settings, drain: Drain) -> APIRouter:
    """Return the routes of HTTP."""
    router = APIRouter(include_in_schema=False)
    entry, asking = TwilioEntry(settings), ExotelEntry(settings)

    @router.api_route(twilio_entry.PATH, methods=["GET", "POST"])
    async def voice(request: Request) -> Response:
        try:
            form = await read_form(request) if request.method == "POST" else ()
            query = request.scope["query_string"]
            fields = {**dict(request.query_params), **dict(form)}
            answer = entry.answer(query, fields, form, request.headers)
        except (NotTwilioError, FormRefusedError) as error:
            _log.info("a voice webhook is refused", status=error.status, fault=str(error))
            return problem(error.status, str(error))
        except ClientDisconnect:
            return Response()  # there is nobody to read it
        # Only now: a stranger is told nothing. Twilio goes to the fallback URL, if the operator gave it one.
        if (reason := drain.refusal()) is not None:
            return problem(503, reason, headers={"Retry-After": "30"})
        return Response(answer, media_type=twiml.MEDIA_TYPE)

    @router.get(exotel_entry.PATH)
    async def where(request: Request) -> Response:
        try:
            return JSONResponse(asking.answer(request.query_params, request.headers))
        except RefusedUpgradeError as error:
            return problem(error.status, error.detail, headers=error.headers)
        except UnknownAddressError as error:
            return problem(400, str(error))

    return router


def telephony_endpoints(
    settings: Settings, open_line: OpenLine, *, drain: Drain, counters: Counters, limits: WebSocketLimits
) -> tuple[Endpoint, ...]:
    """Return where streams connect, for the front door."""
    entry, asking = TwilioEntry(settings), ExotelEntry(settings)

    async def serve(socket: WebSocket, dialect: PhoneDialect, admit: Admit) -> None:
        call = PhoneCall(socket, dialect, admit, open_line)
        served = await supervise(dialect.name, counters.failures, call.run)
        counters.messages[f"{dialect.name}_stream"] += call.statistics.messages
        if not served:
            socket.close(CloseCode.INTERNAL, "the server failed on this call")

    async def serve_twilio(socket: WebSocket, request: RequestInfo) -> None:
        admit = partial(entry.admit, signed=request.principal is True)
        await serve(socket, TwilioStream(), admit)

    async def serve_exotel(socket: WebSocket, request: RequestInfo) -> None:
        assert isinstance(request.principal, dict)
        await serve(socket, ExotelStream(), partial(asking.admit, chosen=request.principal))

    async def authorize_twilio(request: RequestInfo) -> object:
        signed = await entry.authorize(request)
        _refuse_while_draining(drain)
        return signed

    async def authorize_exotel(request: RequestInfo) -> object:
        chosen = await asking.authorize(request)
        _refuse_while_draining(drain)
        return dict(chosen)

    # Neither protocol has words for faults, and Twilio breaks off at words it does not know: the close frame says it all.
    # Pages in browsers have nothing that lets them in, so whence they come does not matter.
    shared = replace(limits, send_queue_bytes=SEND_QUEUE_BYTES, compression=False)
    return (
        Endpoint(
            twilio.NAME,
            twilio_entry.PATH,
            serve_twilio,
            replace(shared, max_message_bytes=TWILIO_MESSAGE_BYTES),
            authorize=authorize_twilio,
            headers=twilio_entry.HEADERS,
            check_origin=False,
            dialect=SILENT,
        ),
        Endpoint(
            exotel.NAME,
            exotel_entry.PATH,
            serve_exotel,
            replace(shared, max_message_bytes=EXOTEL_MESSAGE_BYTES),
            authorize=authorize_exotel,
            headers=exotel_entry.HEADERS,
            check_origin=False,
            dialect=SILENT,
        ),
    )


async def read_form(request: Request) -> Form:
    """Return the fields of a form, in their order.

    Raises: FormRefusedError.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise FormRefusedError(415, f"the body must be {FORM_TYPE}; say so in Content-Type")
    with trio.move_on_after(FORM_SECONDS):
        async with aclosing(request.stream()) as pieces:
            body = await _read(pieces)
        try:
            return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
        except ValueError:
            raise FormRefusedError(
                400, f"the form is not UTF-8, or has more than {MAX_FORM_FIELDS} fields"
            ) from None
    raise FormRefusedError(408, f"the form did not arrive within {FORM_SECONDS:g} s")


async def _read(pieces: AsyncIterable[bytes]) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > MAX_FORM_BYTES:
            raise FormRefusedError(413, f"the form is larger than {MAX_FORM_BYTES} bytes")
    return bytes(body)


def _refuse_while_draining(drain: Drain) -> None:
    if (reason := drain.refusal()) is not None:
        raise RefusedWebSocketError(CloseCode.TRY_LATER, reason)
