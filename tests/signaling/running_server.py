"""A whole server inside a test: the real relay on the loopback address, every port chosen by the system."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from signaling.auth import TokenKey
from signaling.bots import Deadlines
from signaling.peer_path import Answerer
from signaling.server import RunningServer, run_server
from signaling.settings import load_settings
from signaling.storage import Store
from signaling.voices.mix import OpenMix

#: Loading the kernels takes a second; compiling them, once a machine, a minute or two.
START_SECONDS = 300


@asynccontextmanager
async def running_server(
    *,
    store: Store | None = None,
    token_key: TokenKey | None = None,
    answerer: Answerer | None = None,
    bot_deadlines: Deadlines | None = None,
    open_mix: OpenMix | None = None,
    **settings: object,
) -> AsyncIterator[RunningServer]:
    """Serve for the length of a scope; leaving it stops the server in the orderly way."""
    flags = {
        "host": "127.0.0.1",
        "port": 0,
        "udp_port": 0,
        "workers": 1,
        "stop_seconds": 2.0,
        "database": "memory:",
        # Tests are on the server's machine, and may do what an administrator may without a credential.
        "development": True,
    } | settings
    effective = load_settings(flags, environment_file=None, default_file=None)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(START_SECONDS):
            running = await nursery.start(
                partial(
                    run_server,
                    effective,
                    store=store,
                    token_key=token_key,
                    answerer=answerer,
                    bot_deadlines=bot_deadlines,
                    open_mix=open_mix,
                    stop=stop,
                )
            )
        try:
            yield running
        finally:
            stop.set()
