"""One bot in one lobby, without being asked for: a program's own ``relay bot ... --lobby``, and a first try of a bot."""

import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import trio

from voicebot.backoff import Backoff
from voicebot.bot import Assignment
from voicebot.bot_runner import MakeBot
from voicebot.connection import Connection
from voicebot.errors import ConnectError
from voicebot.opening import connect
from voicebot.provider import Log, may_be_late
from voicebot.stream import CLIENT_PATH, OpenStream, relay_url


async def attend(
    url: str,
    make: MakeBot,
    *,
    lobby: str,
    name: str,
    config: Mapping[str, Any] | None = None,
    token: str | None = None,
    password: str | None = None,
    backoff: Backoff | None = None,
    patient: bool = False,
    log: Log = lambda _: None,
    open_stream: OpenStream | None = None,
    dice: Callable[[], float] = random.random,
) -> None:
    """Let a bot join a lobby, and run it to its end. The bot is made first: what it raises then comes out at once.

    ``patient``: a relay that is not there yet is waited for. The rest as for ``connect`` and ``Provider``.

    Raises: ConnectError; ProtocolError when the lobby cannot be joined; ValueError for a malformed URL; whatever the bot raises.
    """
    bot = make(Assignment("", lobby, "", "", name, config or {}))
    address = relay_url(url, CLIENT_PATH)
    pauses = backoff or Backoff(attempts=None)
    async with AsyncExitStack() as stack:
        connection: Connection | None = None
        attempt = 0
        while connection is None:
            try:
                connection = await stack.enter_async_context(
                    connect(
                        address,
                        lobby=lobby,
                        name=name,
                        is_bot=True,
                        token=token,
                        password=password,
                        open_stream=open_stream,
                    )
                )
            except ConnectError as error:
                if not patient or not may_be_late(error) or not pauses.allows(attempt):
                    raise
                log(f"waiting for the relay: {error}")
                await trio.sleep(pauses.delay_s(attempt, dice()))
                attempt += 1
        log(f"{name!r} is in the lobby {lobby!r}")
        await bot.run(connection)
