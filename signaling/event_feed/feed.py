"""The administrator's event stream on one WebSocket: what happens, as it happens, and what happened before.

Protocol: ``signaling/ADMIN_EVENTS.md``. Who may open it is decided by the caller. Two tasks: one reads requests, one
streams. The stream sends only while little waits to be written, so that a replay goes at the client's pace; what
happens meanwhile waits in the bus's bounded queue for this client. When that is full the client is closed with 1013:
it can come back and say how far it had got.
"""

from datetime import UTC, datetime

import trio

from signaling.bus import Bus, Overflow, Stamped, SubscriptionLostError
from signaling.counters import Counters
from signaling.event_feed.replay import FeedReplay
from signaling.event_feed.stream import FeedStream
from signaling.event_types import event_types
from signaling.messages import (
    CloseCode,
    ErrorCode,
    ErrorReply,
    MessageError,
    Ping,
    Pong,
    decode_client,
    encode_server,
)
from signaling.messages.feed import (
    FEED_CLIENT_MESSAGES,
    FeedGap,
    FeedHello,
    FeedSubscribe,
    FeedSubscribed,
)
from signaling.messages.server import ServerMessage
from signaling.rate_limit import TokenBucket
from signaling.storage import Store
from signaling.websocket import Disconnected, WebSocket

#: The name of these subscriptions in metrics.
SUBSCRIBER = "admin_feed"
#: Events that may wait for one administrator.
QUEUE_EVENTS = 10_000
#: While more than this waits to be written, nothing is added.
QUEUE_BYTES = 512 * 1024
#: How long until that is looked at again.
PAUSE_SECONDS = 0.05
#: Events handled between two looks at the clock.
TURN_EVENTS = 100
#: Requests: each may read a page of the store.
REQUEST_BURST = 20
REQUESTS_PER_SECOND = 5.0
#: Refusals that are put up with.
REFUSAL_BURST = 100
REFUSALS_PER_SECOND = 5.0


async def serve_event_feed(
    socket: WebSocket,
    bus: Bus,
    store: Store | None,
    *,
    company_id: str | None = None,
    counters: Counters | None = None,
    queue_events: int = QUEUE_EVENTS,
) -> None:
    """Serve one administrator until the connection ends.

    ``company_id`` restricts everything to one company's events; None: an operator of the service, who sees all.
    Without a ``store`` only what the bus still has is replayed.
    """
    feed = _Feed(socket, bus, store, company_id, counters or Counters(), queue_events)
    async with trio.open_nursery() as nursery:
        await feed.run(nursery)
        nursery.cancel_scope.cancel()


class _Feed:
    def __init__(
        self,
        socket: WebSocket,
        bus: Bus,
        store: Store | None,
        company_id: str | None,
        counters: Counters,
        queue_events: int,
    ) -> None:
        self._socket = socket
        self._bus = bus
        self._store = store
        self._company_id = company_id
        self._counters = counters
        self._queue_events = queue_events
        self._streaming = trio.CancelScope()
        self._stopped = trio.Event()
        self._stopped.set()
        now = trio.current_time()
        self._allowance = TokenBucket(burst=REQUEST_BURST, per_second=REQUESTS_PER_SECOND, now=now)
        self._patience = TokenBucket(burst=REFUSAL_BURST, per_second=REFUSALS_PER_SECOND, now=now)

    async def run(self, nursery: trio.Nursery) -> None:
        self._send(
            FeedHello(
                seq=self._bus.seq, oldest_seq=self._bus.replay.oldest_seq, types=tuple(sorted(event_types()))
            )
        )
        try:
            while True:
                await self._answer(await self._socket.receive(), nursery)
        except Disconnected:
            return

    # Requests.

    async def _answer(self, received_untrusted: str | bytes, nursery: trio.Nursery) -> None:
        if not self._allowance.take(trio.current_time()):
            self._refuse(None, ErrorCode.RATE_LIMITED, f"more than {REQUESTS_PER_SECOND:g} requests a second")
            if not self._patience.take(trio.current_time()):
                self._socket.close(CloseCode.POLICY, "too many requests for too long")
            return
        if isinstance(received_untrusted, bytes):
            self._refuse(None, ErrorCode.UNSUPPORTED, "binary frames are not used: send JSON in text frames")
            return
        try:
            frame = decode_client(received_untrusted, FEED_CLIENT_MESSAGES)
        except MessageError as error:
            self._refuse(error.re, error.code, error.error, error.field)
            return
        self._counters.messages[f"admin_{frame.message.type}"] += 1
        if isinstance(frame.message, Ping):
            self._send(Pong(time=datetime.now(UTC)), frame.id)
        elif isinstance(frame.message, FeedSubscribe):
            await self._subscribe(frame.message, frame.id, nursery)

    async def _subscribe(self, wanted: FeedSubscribe, re: int | None, nursery: trio.Nursery) -> None:
        unknown = sorted(set(wanted.types) - event_types())
        if unknown:
            text = f"`types`: there are no events of the type {unknown[0]!r}; `hello` lists all types"
            self._refuse(re, ErrorCode.INVALID_MESSAGE, text, "types")
            return
        if wanted.since is not None and wanted.since > self._bus.seq:
            text = (
                f"`since`: the last event here has the number {self._bus.seq}, so {wanted.since} is of another "
                "server; subscribe without `since`"
            )
            self._refuse(re, ErrorCode.INVALID_MESSAGE, text, "since")
            return
        # The former stream has ended before the new one's first word: what follows the reply is as asked for.
        self._streaming.cancel()
        await self._stopped.wait()
        self._streaming, self._stopped = trio.CancelScope(), trio.Event()
        self._send(FeedSubscribed(seq=self._bus.seq, since=wanted.since), re)
        since = self._bus.seq if wanted.since is None else wanted.since
        nursery.start_soon(self._stream, wanted, since, self._streaming, self._stopped)

    # The stream.

    async def _stream(
        self, wanted: FeedSubscribe, since: int, scope: trio.CancelScope, stopped: trio.Event
    ) -> None:
        try:
            with scope:
                stream = FeedStream(wanted, company_id=self._company_id)
                cursor = await self._replay(stream, since)
                await self._follow(stream, cursor)
        except SubscriptionLostError as error:
            self._socket.close(CloseCode.TRY_LATER, f"too slow: {error}", discard=True)
        finally:
            stopped.set()

    async def _replay(self, stream: FeedStream, since: int) -> int:
        """Send what only the store has; return the number from which the bus has everything."""
        replay = FeedReplay(self._bus, self._store, stream.filter, since)
        while (found := await replay.next()) is not None:
            if isinstance(found, FeedGap):
                await self._flush(stream)
                self._send(found)
                continue
            for record in found:
                stream.add_record(record)
            await self._flush(stream)
        return replay.cursor

    async def _follow(self, stream: FeedStream, cursor: int) -> None:
        # From here to the subscription nothing happens in between.
        kept = self._bus.kept_after(cursor).events
        with self._bus.subscribe(
            SUBSCRIBER, capacity=self._queue_events, overflow=Overflow.CLOSE
        ) as subscription:
            for stamped in kept:
                await self._give(stream, stamped)
            while True:
                with trio.move_on_at(stream.batch.due_at()):
                    await subscription.wait_for(1)
                for stamped in subscription.take(TURN_EVENTS):
                    await self._give(stream, stamped)
                if stream.batch.due_at() <= trio.current_time():
                    await self._send_batch(stream)

    async def _give(self, stream: FeedStream, stamped: Stamped) -> None:
        stream.add(stamped)
        if stream.batch.full:
            await self._send_batch(stream)

    async def _flush(self, stream: FeedStream) -> None:
        while not stream.batch.empty:
            await self._send_batch(stream)

    async def _send_batch(self, stream: FeedStream) -> None:
        while self._socket.queued_bytes > QUEUE_BYTES:  # noqa: ASYNC110 - nobody signals that a client has read
            await trio.sleep(PAUSE_SECONDS)
        self._send(stream.batch.take(trio.current_time()))
        await trio.lowlevel.checkpoint()

    def _send(self, message: ServerMessage, re: int | None = None) -> None:
        self._socket.send(encode_server(message, re))

    def _refuse(self, re: int | None, code: ErrorCode, text: str, field: str | None = None) -> None:
        self._counters.errors[code] += 1
        self._send(ErrorReply(code=code, error=text, field=field), re)
