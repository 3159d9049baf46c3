"""A client of the peer path: one WebSocket, flat JSON frames, nothing by itself."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from signaling.server import RunningServer

#: Longer than anything here takes on a busy machine.
PATIENCE_SECONDS = 20


class PeerClient:
    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.ack: dict[str, object] = {}

    async def say(self, kind: str, **fields: object) -> None:
        await self.socket.send_message(json.dumps({"type": kind, **fields}))

    async def say_text(self, text: str | bytes) -> None:
        await self.socket.send_message(text)

    async def hear(self) -> dict[str, object]:
        with trio.fail_after(PATIENCE_SECONDS):
            return json.loads(await self.socket.get_message())

    async def ask(self, kind: str, **fields: object) -> dict[str, object]:
        await self.say(kind, **fields)
        return await self.hear()

    async def refused(self, kind: str, **fields: object) -> tuple[object, object]:
        """Return code and field of the error that a request is answered with."""
        return error_of(await self.ask(kind, **fields))

    async def negotiate(self, sdp: str) -> str:
        reply = await self.ask("signal", to_peer="relay", data={"type": "offer", "sdp": sdp})
        assert (reply["type"], reply["from_peer"]) == ("signal", "relay"), reply
        assert reply["data"]["type"] == "answer"
        return reply["data"]["sdp"]

    async def closed(self) -> tuple[int, list[dict[str, object]]]:
        """Read to the end; return the close code and what was read."""
        read: list[dict[str, object]] = []
        with trio.fail_after(PATIENCE_SECONDS):
            with suppress(ConnectionClosed):
                while True:
                    read.append(json.loads(await self.socket.get_message()))
        assert self.socket.closed is not None
        return int(self.socket.closed.code), read


def error_of(frame: dict[str, object]) -> tuple[object, object]:
    assert frame["type"] == "error", frame
    assert isinstance(frame["error"], str)
    return frame["code"], frame["field"]


@asynccontextmanager
async def opened(server: RunningServer, peer_id: str, key: str, query: str = "") -> AsyncIterator[PeerClient]:
    """Connect, and read nothing."""
    url = (
        f"{server.url.replace('http', 'ws', 1)}/signal/{quote(peer_id, safe='')}/{quote(key, safe='')}{query}"
    )
    options = {"message_queue_size": 1000, "connect_timeout": PATIENCE_SECONDS, "disconnect_timeout": 2}
    async with open_websocket_url(url, **options) as socket:
        try:
            yield PeerClient(socket)
        finally:
            # The library leaves the socket open when the server has closed first.
            if socket.closed is not None:
                await trio.aclose_forcefully(socket._stream)


@asynccontextmanager
async def connected(
    server: RunningServer, peer_id: str, key: str, query: str = ""
) -> AsyncIterator[PeerClient]:
    """Connect and take the acknowledgement."""
    async with opened(server, peer_id, key, query) as client:
        client.ack = await client.hear()
        assert client.ack["type"] == "connection_ack", client.ack
        yield client


async def new_company(server: RunningServer, name: str = "Acme", **limits: int) -> tuple[str, str]:
    """Return the id and the API key of a new company."""
    company, key = await server.service.access.companies.create(name, limits)
    return company.company_id, key
