"""Removes rows for their age, in small steps between the writer's batches, an hour from round to round.

The numbers of what is removed are noted first (``marks.py``): a number is never given twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Table, bindparam, delete, select

from signaling.storage.marks import AUDIT_MARK, CHAT_MARK, EVENT_MARK, raise_marks
from signaling.storage.tables import AUDIT, CHAT, EVENTS

ROUND_SECONDS = 3600.0
#: After a step that failed.
POSTPONE_SECONDS = 60.0
#: Rows of a step: a few milliseconds in which no change is written.
STEP_ROWS = 500


@dataclass(frozen=True, slots=True)
class Keep:
    """How many days of each are kept; 0: all."""

    events_days: int = 0
    chat_days: int = 0
    audit_days: int = 0


@dataclass(frozen=True, slots=True)
class _Kind:
    table: Table
    mark: str
    at: Column[Any]
    seq: Column[Any]
    #: What the numbers count within; None: everything.
    within: Column[Any] | None = None


_EVENTS = _Kind(EVENTS, EVENT_MARK, EVENTS.c.at, EVENTS.c.seq)
_CHAT = _Kind(CHAT, CHAT_MARK, CHAT.c.sent_at, CHAT.c.seq, CHAT.c.lobby_id)
_AUDIT = _Kind(AUDIT, AUDIT_MARK, AUDIT.c.at, AUDIT.c.entry_id)


class Retention:
    """See the module. ``due_at`` is of the monotonic clock; the first round is due at once."""

    def __init__(self, keep: Keep, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        days = ((_EVENTS, keep.events_days), (_CHAT, keep.chat_days), (_AUDIT, keep.audit_days))
        self._days = {kind: count for kind, count in days if count}
        self._clock = clock
        self._round: Iterator[_Kind] | None = None
        self._kind: _Kind | None = None
        self.due_at = 0.0 if self._days else float("inf")

    def step(self, connection: Connection, now: float) -> int:
        """Remove some rows within the connection's transaction; return how many. ``now``: of the monotonic clock."""
        if self._round is None:
            self._round = iter(self._days)
            self._kind = next(self._round, None)
        removed = 0
        if self._kind is not None:
            removed = _remove(connection, self._kind, self._clock() - timedelta(days=self._days[self._kind]))
            if removed < STEP_ROWS:
                self._kind = next(self._round, None)
        if self._kind is None:
            self._round = None
            self.due_at = now + ROUND_SECONDS
        return removed

    def postpone(self, now: float) -> None:
        """Begin again a little later: the step was not committed."""
        self._round = None
        self.due_at = now + POSTPONE_SECONDS


def _remove(connection: Connection, kind: _Kind, before: datetime) -> int:
    key = list(kind.table.primary_key)
    old = connection.execute(select(*key).where(kind.at < before).order_by(kind.at).limit(STEP_ROWS)).all()
    if not old:
        return 0
    seqs: dict[str, int] = {}
    for row in old:
        within = "" if kind.within is None else getattr(row, kind.within.name)
        seqs[within] = max(getattr(row, kind.seq.name), seqs.get(within, 0))
    raise_marks(connection, kind.mark, seqs)
    this = [column == bindparam(f"key_{column.name}") for column in key]
    rows = [{f"key_{column.name}": getattr(row, column.name) for column in key} for row in old]
    connection.execute(delete(kind.table).where(*this), rows)
    return len(old)
