"""A store that keeps what it is given in lists, and can be told to fail."""

from signaling.storage import (
    AddDeadLetter,
    AddEvent,
    AuditRecord,
    Change,
    ChatRecord,
    DeadLetterRecord,
    DropDeadLetter,
    EventRecord,
    Snapshot,
    StoreHealth,
    StoreStatistics,
    StoreUnavailableError,
)


class RecordingStore:
    def __init__(self, *events: EventRecord) -> None:
        self.events = list(events)
        self.letters: dict[str, DeadLetterRecord] = {}
        #: The sizes of what was submitted together.
        self.batches: list[int] = []
        self.available = True

    async def load(self) -> Snapshot:
        return Snapshot(event_seq=max((each.seq for each in self.events), default=0))

    def submit(self, *changes: Change) -> None:
        self.batches.append(len(changes))
        for change in changes:
            if isinstance(change, AddEvent):
                self.events.append(change.event)
            elif isinstance(change, AddDeadLetter):
                self.letters[change.letter.delivery_id] = change.letter
            elif isinstance(change, DropDeadLetter):
                self.letters.pop(change.delivery_id, None)
            else:
                raise TypeError(change)

    async def commit(self, *changes: Change) -> None:
        self._check()
        self.submit(*changes)

    async def chat_before(self, lobby_id: str, *, before: int | None, limit: int) -> tuple[ChatRecord, ...]:
        raise AssertionError

    async def events_after(
        self, seq: int, *, limit: int, types: frozenset[str] | None = None, lobby_id: str | None = None
    ) -> tuple[EventRecord, ...]:
        self._check()
        found = (
            each
            for each in sorted(self.events, key=lambda each: each.seq)
            if each.seq > seq
            and (types is None or each.type in types)
            and (lobby_id is None or each.lobby_id == lobby_id)
        )
        return tuple(found)[:limit]

    async def audit_before(self, *, before: int | None, limit: int) -> tuple[AuditRecord, ...]:
        raise AssertionError

    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        self._check()
        return tuple(self.letters.values())[:limit]

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(StoreHealth.OK, None, 0, 1000, 0, 0, 0, 0, 0.0)

    def _check(self) -> None:
        if not self.available:
            raise StoreUnavailableError("the database does not answer")
