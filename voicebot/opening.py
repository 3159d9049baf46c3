"""``connect``: a connection for the length of a scope."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from voicebot.backoff import Backoff
from voicebot.connection import Connection
from voicebot.link import Timeouts
from voicebot.nursery import open_bare_nursery
from voicebot.stream import OpenStream, WebSocketUrl, open_tcp

#: Enough for the burst of a lobby of a thousand; a reader that is further behind has other troubles.
EVENT_QUEUE_LENGTH = 1024


@asynccontextmanager
async def connect(
    url: str,
    *,
    lobby: str | None = None,
    name: str | None = None,
    is_bot: bool = False,
    password: str | None = None,
    token: str | None = None,
    reconnect: Backoff | bool = True,
    timeouts: Timeouts | None = None,
    event_queue_length: int = EVENT_QUEUE_LENGTH,
    ssl_context: ssl.SSLContext | None = None,
    open_stream: OpenStream | None = None,
) -> AsyncGenerator[Connection, None]:
    """Connect to a relay, join a lobby if one is given, and be connected until the scope ends.

    ``password``: of a private lobby. ``token``: a join token (docs/auth.md).

    The first connection is tried once; a lost one is replaced as ``reconnect`` says (False: never), and the events
    tell. Leaving the scope says goodbye: the server ends the session and its media at once. An exception of the body
    comes out as it is. ``open_stream`` replaces TCP, for proxies and tests.

    Raises: ConnectError; ProtocolError when the lobby cannot be joined; ValueError for a malformed URL or name.
    """
    if lobby is not None and name is None:
        raise ValueError("to join a lobby give a `name` as well")
    address = WebSocketUrl.parse(url)
    async with open_bare_nursery() as nursery:
        connection = Connection(
            url=address,
            open_stream=open_stream or partial(open_tcp, address, ssl_context),
            timeouts=timeouts or Timeouts(),
            backoff=Backoff() if reconnect is True else reconnect or None,
            event_queue_length=event_queue_length,
            tasks=nursery,
        )
        await nursery.start(connection.run)
        if lobby is not None and name is not None:
            await connection.join(lobby, name, is_bot=is_bot, password=password, token=token)
        yield connection
