"""Reading a request's body: whole, as JSON, bounded in size, time and depth."""

from collections.abc import Mapping

import trio
from pydantic_core import from_json
from starlette.types import Message, Receive

from signaling.problem_codes import ProblemCode

#: The largest there is, a bot's configuration, has some kilobytes.
MAX_BODY_BYTES = 64 * 1024
#: From the head to the last byte, however slowly it trickles.
BODY_SECONDS = 10.0
MEDIA_TYPE = "application/json"


class BodyRefusedError(Exception):
    """A body that is not looked at any further."""

    def __init__(self, code: ProblemCode, error: str) -> None:
        super().__init__(error)
        self.code = code


class ClientGoneError(Exception):
    """The client left before it had sent everything; there is nobody to answer."""


async def read_body(headers: Mapping[str, str], receive: Receive) -> Receive:
    """Read the body and return a ``receive`` that gives it.

    Raises: BodyRefusedError, ClientGoneError.
    """
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and (len(declared) > 12 or int(declared) > MAX_BODY_BYTES):
        raise _too_large()
    with trio.move_on_after(BODY_SECONDS) as patience:
        body = await _read(receive)
    if patience.cancelled_caught:
        raise BodyRefusedError(
            ProblemCode.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_SECONDS:g} s"
        )
    if body:
        _check_kind(headers)
        _check_json(body)
    return _giving(body, receive)


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _check_kind(headers: Mapping[str, str]) -> None:
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != MEDIA_TYPE:
        raise BodyRefusedError(
            ProblemCode.UNSUPPORTED_MEDIA_TYPE, f"the body must be {MEDIA_TYPE}; say so in Content-Type"
        )
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if parameters.strip() and charset not in {"utf-8", "utf8"}:
        raise BodyRefusedError(
            ProblemCode.UNSUPPORTED_MEDIA_TYPE, "JSON is in UTF-8, and has no other parameter"
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BodyRefusedError(ProblemCode.UNSUPPORTED_MEDIA_TYPE, "the body is compressed: send it as it is")


def _check_json(body: bytes) -> None:
    # FastAPI reads it once more with a parser that takes NaN, halves of surrogate pairs, and any depth.
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as error:
        # Its texts tell a place and never quote the body.
        raise BodyRefusedError(
            ProblemCode.INVALID_JSON, f"the body is no JSON that is taken here: {error}"
        ) from None


def _too_large() -> BodyRefusedError:
    return BodyRefusedError(
        ProblemCode.TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes: send less"
    )


def _giving(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give
