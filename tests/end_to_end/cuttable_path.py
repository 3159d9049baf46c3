"""A TCP path that can be cut: a proxy between a client and the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio


class CuttablePath:
    """A proxy; ``cut`` breaks what goes through it, ``refusing`` lets nobody through."""

    def __init__(self, host: str, port: int) -> None:
        #: Where new connections are carried to.
        self.target = (host, port)
        self._open: set[trio.CancelScope] = set()
        self.port = 0
        self.refusing = False
        self.connections = 0

    def cut(self) -> None:
        """Break all connections, without a closing handshake of the WebSocket."""
        for scope in self._open:
            scope.cancel()

    async def carry(self, client: trio.SocketStream) -> None:
        """Carry one connection until an end closes it or it is cut."""
        if self.refusing:
            return
        self.connections += 1
        try:
            server = await trio.open_tcp_stream(*self.target)
        except OSError:
            return
        with trio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, client, server, scope)
                    nursery.start_soon(self._pump, server, client, scope)
            finally:
                self._open.discard(scope)
                await trio.aclose_forcefully(server)
                await trio.aclose_forcefully(client)

    @staticmethod
    async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for received in source:
                await sink.send_all(received)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@asynccontextmanager
async def open_cuttable_path(host: str, port: int) -> AsyncIterator[CuttablePath]:
    """Listen on a free port of 127.0.0.1 and carry what comes to the target."""
    path = CuttablePath(host, port)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, path.carry, 0, host="127.0.0.1"))
        path.port = listeners[0].socket.getsockname()[1]
        yield path
        nursery.cancel_scope.cancel()
