"""Serving HTTP on one accepted connection, with Hypercorn's per-connection handler and an ASGI application."""

import logging
from typing import Any, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState

from signaling.peeked_stream import PeekedStream
from signaling.request_head import MAX_HEAD_BYTES

KEEP_ALIVE_SECONDS = 5.0
#: A body trickled slower than a read in this time is not waited for.
READ_TIMEOUT_SECONDS = 20


class WebServer:
    """Serves ``app`` on streams given one by one."""

    def __init__(self, app: Any) -> None:
        self._app = ASGIWrapper(cast("ASGIFramework", app))
        self._context = WorkerContext(max_requests=None)
        self._config = Config()
        self._config.h11_max_incomplete_size = MAX_HEAD_BYTES
        self._config.keep_alive_timeout = KEEP_ALIVE_SECONDS
        self._config.read_timeout = READ_TIMEOUT_SECONDS
        self._config.include_server_header = False
        self._config.errorlog = logging.getLogger("hypercorn.error")

    async def serve(self, stream: PeekedStream) -> None:
        """Serve requests until the connection ends; closes the stream."""
        state = ConnectionState(cast("LifespanState", {}))
        # Duck-typed: the handler asks of a stream only what a PeekedStream has.
        server = TCPServer(self._app, self._config, self._context, state, cast("Any", stream))
        try:
            await server.run()
        finally:
            # The two hold each other; as a cycle they and the request's buffers would wait for the garbage collector.
            vars(server).pop("protocol", None)

    async def stop(self) -> None:
        """Close idle connections, and the others after the request they are in."""
        await self._context.terminated.set()
