"""HTTP as it is written on the wire, for requests that no library would make."""

import json

from raw_client import raw_connection, read_to_end


class Response:
    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status_line.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.body)


async def send(url: str, request: str | bytes, *, end: bool = False) -> bytes:
    async with raw_connection(url) as stream:
        await stream.send_all(request.encode() if isinstance(request, str) else request)
        if end:
            await stream.send_eof()
        return await read_to_end(stream)


async def fetch(url: str, path: str, *more: str, method: str = "GET") -> Response:
    lines = "".join(f"{line}\r\n" for line in more)
    return Response(
        await send(url, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n")
    )


def upgrade(path: str = "/ws", *more: str, host: str = "x") -> str:
    lines = "".join(f"{line}\r\n" for line in more)
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
