"""Older events for one administrator: from the store, up to where the bus's own replay buffer begins.

What cannot be had is said. A store keeps an event at least every ``KEEP_EVERY`` numbers, so a longer stretch without
any was removed, dropped or not yet written; but for the one that the start of a server leaves (``RESTART_GAP``).
"""

from signaling.bus import Bus
from signaling.event_feed.filter import FeedFilter
from signaling.event_store import KEEP_EVERY, RESTART_GAP
from signaling.messages.feed import MAX_FRAME_EVENTS, FeedGap
from signaling.storage import EventRecord, Store, StoreUnavailableError

#: What a crash may have left unwritten of the numbers before a restart, generously.
_UNWRITTEN = 100_000


class FeedReplay:
    """See the module. Ask ``next`` until it returns None; then ``Bus.kept_after(cursor)`` has the rest."""

    def __init__(self, bus: Bus, store: Store | None, wanted: FeedFilter, since: int) -> None:
        self.cursor = since
        self._bus = bus
        self._store = store
        self._filter = wanted
        self._begun = False
        self._over = False

    async def next(self) -> tuple[EventRecord, ...] | FeedGap | None:
        """Return the next page of events, not yet filtered by session and company; or what is missing; or None."""
        if self._over or self._bus.kept_after(self.cursor).complete:
            return None
        if self._store is None:
            return self._give_up("this server keeps no events beyond those in its memory")
        try:
            return await self._read(self._store)
        except StoreUnavailableError as error:
            return self._give_up(f"the store cannot be read now: {error}")

    async def _read(self, store: Store) -> tuple[EventRecord, ...] | FeedGap | None:
        if not self._begun:
            self._begun = True
            gap = await self._missing_at_the_beginning(store)
            if gap is not None:
                return gap
        page = await store.events_after(
            self.cursor,
            limit=MAX_FRAME_EVENTS,
            types=self._filter.store_types,
            lobby_id=self._filter.lobby,
        )
        if page:
            self.cursor = page[-1].seq
            return page
        self._over = True
        oldest = self._bus.replay.oldest_seq
        if oldest == self._bus.first_seq + 1:
            # All of this life is in memory, and the former one ended where the store does.
            return None
        near = await store.events_after(max(self.cursor, oldest - KEEP_EVERY - 1), limit=1)
        if self.cursor + 1 < oldest and not (near and near[0].seq <= oldest):
            return self._give_up("they were not kept, or are not written yet")
        return None

    async def _missing_at_the_beginning(self, store: Store) -> FeedGap | None:
        """Return the gap when the first event that is still kept is too far away."""
        first = await store.events_after(self.cursor, limit=1)
        if not first:
            return None
        distance = first[0].seq - self.cursor
        restarted = RESTART_GAP - _UNWRITTEN <= distance <= RESTART_GAP + 1
        if distance <= KEEP_EVERY or restarted:
            return None
        gap = FeedGap(after=self.cursor, before=first[0].seq, reason="they are no longer kept")
        self.cursor = first[0].seq - 1
        return gap

    def _give_up(self, reason: str) -> FeedGap:
        self._over = True
        before = self._bus.replay.oldest_seq
        gap = FeedGap(after=self.cursor, before=before, reason=reason)
        self.cursor = before - 1
        return gap
