"""Twilio and Exotel as they come to a server: the webhook first, then the stream, message by message."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import trio
from phone_parts import PATIENCE_SECONDS
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from signaling.server import RunningServer
from signaling.telephony.g711 import encode_mulaw
from signaling.telephony.line import Samples
from signaling.telephony.signature import signature_of

AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
PUBLIC_URL = "https://relay.example.org/sub"
CALL = {"CallSid": "CA1", "AccountSid": "AC1", "From": "+14158675309", "To": "+18005551212"}


@dataclass
class Connect:
    """What TwiML told: where the stream goes, and its parameters."""

    url: str
    parameters: dict[str, str]


async def ask_twiml(
    server: RunningServer,
    form: Mapping[str, str] = CALL,
    *,
    query: str = "",
    signature: str | None = None,
    method: str = "POST",
    public_url: str = PUBLIC_URL,
) -> httpx.Response:
    """Call the webhook as Twilio does."""
    more = f"?{query}" if query else ""
    if method == "GET":
        more = f"?{query}&" if query else "?"
        more += str(httpx.QueryParams(form))
    if signature is None:
        signed = f"{public_url}/telephony/twilio{more}"
        signature = signature_of(AUTH_TOKEN, signed, list(form.items()) if method == "POST" else ())
    async with httpx.AsyncClient() as client:
        return await client.request(
            method,
            f"{server.url}/telephony/twilio{more}",
            data=dict(form) if method == "POST" else None,
            headers={"X-Twilio-Signature": signature},
            timeout=PATIENCE_SECONDS,
        )


def connect_of(answer: httpx.Response) -> Connect:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/xml")
    stream = ET.fromstring(answer.content).find("Connect/Stream")
    assert stream is not None
    return Connect(stream.attrib["url"], {each.attrib["name"]: each.attrib["value"] for each in stream})


class Phone:
    """A provider's end of a stream."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def say(self, **message: object) -> None:
        await self.socket.send_message(json.dumps(message))

    async def start_twilio(self, parameters: Mapping[str, str], call_id: str = "CA1") -> None:
        await self.say(event="connected", protocol="Call", version="1.0.0")
        await self.say(
            event="start",
            sequenceNumber="1",
            streamSid="MZ1",
            start={
                "accountSid": "AC1",
                "streamSid": "MZ1",
                "callSid": call_id,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": dict(parameters),
            },
        )

    async def speak(self, samples: Samples) -> None:
        payload = base64.b64encode(encode_mulaw(samples)).decode()
        await self.say(event="media", media={"track": "inbound", "payload": payload})

    async def speak_linear(self, samples: Samples) -> None:
        payload = base64.b64encode(np.asarray(samples, "<i2").tobytes()).decode()
        await self.say(event="media", stream_sid="s1", media={"payload": payload})

    async def hear(self, event: str) -> dict[str, object]:
        """Return the next message of a kind."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                message = json.loads(await self.socket.get_message())
                if message["event"] == event:
                    return message

    async def closed(self) -> tuple[int, str]:
        """Return code and reason with which the server closes, and see that it says nothing else then."""
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                while True:
                    message = json.loads(await self.socket.get_message())
                    assert message["event"] in {"media", "mark", "clear"}
            except ConnectionClosed as closed:
                return closed.reason.code, closed.reason.reason or ""


@asynccontextmanager
async def phone(
    server: RunningServer, path: str = "/telephony/twilio", **headers: str
) -> AsyncIterator[Phone]:
    url = server.url.replace("http", "ws", 1) + path
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    async with open_websocket_url(
        url,
        extra_headers=sent,
        connect_timeout=PATIENCE_SECONDS,
        disconnect_timeout=2,
        message_queue_size=1000,
    ) as socket:
        try:
            yield Phone(socket)
        finally:
            # The library leaves the socket open when the server has closed first.
            if socket.closed is not None:
                await trio.aclose_forcefully(socket._stream)


def signed_socket(url: str = f"{PUBLIC_URL.replace('https', 'wss')}/telephony/twilio") -> str:
    """Return the signature of a stream's own request."""
    return signature_of(AUTH_TOKEN, url)
