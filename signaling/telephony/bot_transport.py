"""The stream under a WebSocket that we open, and the nursery of the library that reads it.

trio-websocket raises in its reader what a server's bytes make of it, waits for ever for an opening handshake that breaks off, and
keeps the whole body of a refusal. All that ends here: faults are kept for whoever waits, the end is told, an answer is bounded.
"""

import httpcore
import trio
from trio_websocket import ConnectionRejected

from signaling.logs import get_logger
from signaling.reception import printable

#: What is read of an answer that opens no WebSocket.
MAX_ANSWER_BYTES = 64 * 1024

_log = get_logger(__name__)


class Transport(trio.abc.Stream):
    """A stream of httpcore's as Trio has them, and the nursery of the library that reads it.

    What the library raises stays in here, and so does a cancellation from outside, until ``end``: goodbyes have to be read.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._scope = trio.CancelScope(shield=True)
        self.nursery: trio.Nursery
        #: What the opening handshake is waited for in.
        self.opening = trio.CancelScope()
        #: Set by who waits for it: whether it is a WebSocket now.
        self.opened = False
        self._opening_bytes = 0
        #: Whether nothing more will be received.
        self.over = False
        self.fault: Exception | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the nursery open until ``end``."""
        try:
            with self._scope:
                async with trio.open_nursery() as self.nursery:
                    task_status.started()
                    await trio.sleep_forever()
        except* Exception as faults:  # noqa: BLE001 - whatever a bot's bytes do to the library, it is this bot's affair
            self.fault = _first(faults)
            if not isinstance(self.fault, ConnectionRejected):
                # Of bytes that are no HTTP the library makes a fault of its own; it is not ours to trace.
                _log.info("a bot's connection failed", fault=printable(repr(self.fault)))
            await trio.aclose_forcefully(self)
        finally:
            self._note_over()

    async def end(self) -> None:
        """Close at once."""
        self._scope.cancel()
        await trio.aclose_forcefully(self)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See ``trio.abc.ReceiveStream``."""
        try:
            received = await self._stream.read(max_bytes or 65536)
        except httpcore.NetworkError as error:
            self._note_over()
            raise trio.BrokenResourceError from error
        if not self.opened:
            # Of an answer that refuses, the library keeps the whole body.
            self._opening_bytes += len(received)
            if self._opening_bytes > MAX_ANSWER_BYTES:
                received = b""
        if not received:
            self._note_over()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See ``trio.abc.SendStream``."""
        try:
            await self._stream.write(bytes(data))
        except httpcore.NetworkError as error:
            self._note_over()
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        """See ``trio.abc.SendStream``; of the interface, and never used."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See ``trio.abc.AsyncResource``."""
        await self._stream.aclose()

    def _note_over(self) -> None:
        self.over = True
        self.opening.cancel()


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    fault: BaseException = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    assert isinstance(fault, Exception)
    return fault
