"""A TCP proxy that can cut all its connections, as a network does that goes away.

Only HTTP and WebSocket pass through it; media goes its own way, over UDP.
"""

import contextlib
import selectors
import socket
import threading

CHUNK_BYTES = 65_536
LINGER_ABORT = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
"""struct linger: closing sends RST, so that no closing handshake softens the blow."""


class SeverableProxy:
    """Forwards to `target_port` on the loopback address; `sever` cuts, `refuse` decides about new connections."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.refuse = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="severable-proxy")
        self._thread.start()

    def sever(self) -> None:
        """Cut every connection at once."""
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ABORT)
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the proxy with all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self.sever()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.ExitStack() as pumps:
            while True:
                try:
                    client, _ = self._listener.accept()
                except OSError:
                    return
                if self.refuse:
                    client.close()
                    continue
                pump = threading.Thread(target=self._pump, args=(client,))
                pump.start()
                pumps.callback(pump.join)

    def _pump(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self.target_port))
            with server:
                self._keep(client, server)
                try:
                    _shovel(client, server)
                finally:
                    self._forget(client, server)

    def _keep(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets.update(sockets)

    def _forget(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets.difference_update(sockets)


def _shovel(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                chunk = key.fileobj.recv(CHUNK_BYTES)
                if not chunk:
                    return
                key.data.sendall(chunk)
