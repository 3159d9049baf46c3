"""What all WebSockets of one server have done for them: queued frames are written, and the quiet are asked for life.

One task writes for everybody. A connection with something to send asks for a ``flush``; the courier makes its
rounds a moment later, when the tasks that were ready have run. So an event for a thousand participants costs a
thousand plain system calls and no switch of tasks, and events that happen together leave in one write. The
rounds are cut into short turns, between which all other tasks run.

One task keeps all alive: every connection is checked once per interval, the one that has waited longest first.
"""

from collections import OrderedDict, deque
from typing import Protocol

import trio

#: Flushes between two looks at other tasks: about a millisecond.
TURN = 100

#: Checks are made in this many rounds per interval at most, for to sleep costs as much as a few of them: a tenth
#: of a core with ten thousand connections.
ROUNDS = 100


class Client(Protocol):
    """What the courier does for one connection; neither may wait, or raise."""

    def flush(self) -> None:
        """Write what is queued, as far as that goes without waiting."""

    def check(self) -> None:
        """Ask for a sign of life, or give up when the last one has not come."""


class Courier:
    """See the module. ``run`` must run while there are clients."""

    def __init__(self, *, keepalive_seconds: float) -> None:
        self._keepalive_seconds = keepalive_seconds
        self._to_flush: deque[Client] = deque()
        self._asked = trio.Event()
        #: client -> when it is to be checked; the order of both is the same.
        self._to_check: OrderedDict[Client, float] = OrderedDict()
        self._enrolled = trio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._flush_for_ever)
            nursery.start_soon(self._check_for_ever)

    def request_flush(self, client: Client) -> None:
        """Call ``flush`` soon. A client asks again only after that."""
        self._to_flush.append(client)
        self._asked.set()

    def enroll(self, client: Client) -> None:
        """Call ``check`` once per interval from now on."""
        self._to_check[client] = trio.current_time() + self._keepalive_seconds
        self._enrolled.set()

    def dismiss(self, client: Client) -> None:
        """Forget a client; it need not be known."""
        self._to_check.pop(client, None)

    async def _flush_for_ever(self) -> None:
        while True:
            if not self._to_flush:
                self._asked = trio.Event()
            await self._asked.wait()
            for _ in range(min(TURN, len(self._to_flush))):
                self._to_flush.popleft().flush()

    async def _check_for_ever(self) -> None:
        while True:
            if not self._to_check:
                self._enrolled = trio.Event()
                await self._enrolled.wait()
            now = trio.current_time()
            self._check_those_due(now)
            due = next(iter(self._to_check.values()), now)
            if due <= now:
                await trio.lowlevel.checkpoint()
            else:
                await trio.sleep_until(max(due, now + self._keepalive_seconds / ROUNDS))

    def _check_those_due(self, now: float) -> None:
        for _ in range(TURN):
            client, due = next(iter(self._to_check.items()), (None, 0.0))
            if client is None or due > now:
                return
            # First to the end of the line: a check that gives up dismisses the client.
            self._to_check[client] = now + self._keepalive_seconds
            self._to_check.move_to_end(client)
            client.check()
