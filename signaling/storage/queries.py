"""What is read from the tables. Each takes a connection, and blocks: for threads only."""

from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select

from signaling.storage.mapping import TABLES, record_of
from signaling.storage.marks import last_chat_seqs, last_event_seq
from signaling.storage.records import (
    AuditRecord,
    BotRecord,
    ChatRecord,
    CompanyRecord,
    DeadLetterRecord,
    EventRecord,
    LobbyRecord,
    NameRecord,
    SessionRecord,
    Snapshot,
)
from signaling.storage.tables import (
    AUDIT,
    BOTS,
    CHAT,
    COMPANIES,
    DEAD_LETTERS,
    EVENTS,
    LOBBIES,
    NAMES,
    SESSIONS,
)

#: Numbers that callers ask with may be anything; rows have 64-bit ones.
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1

_Record = TypeVar("_Record")


def read_snapshot(connection: Connection) -> Snapshot:
    """Return what ``Store.load`` returns."""
    sessions = select(SESSIONS).order_by(SESSIONS.c.created_at, SESSIONS.c.session_id)
    lobbies = select(LOBBIES).order_by(LOBBIES.c.created_at, LOBBIES.c.lobby_id)
    names = select(NAMES).order_by(NAMES.c.protected_at, NAMES.c.company_id, NAMES.c.key)
    companies = select(COMPANIES).order_by(COMPANIES.c.created_at, COMPANIES.c.company_id)
    bots = select(BOTS).order_by(BOTS.c.requested_at, BOTS.c.bot_id)
    return Snapshot(
        sessions=_records(connection, SessionRecord, sessions),
        lobbies=_records(connection, LobbyRecord, lobbies),
        names=_records(connection, NameRecord, names),
        companies=_records(connection, CompanyRecord, companies),
        bots=_records(connection, BotRecord, bots),
        chat_seqs=last_chat_seqs(connection),
        event_seq=last_event_seq(connection),
    )


def read_chat(
    connection: Connection, lobby_id: str, before: int | None, limit: int
) -> tuple[ChatRecord, ...]:
    """Return what ``Store.chat_before`` returns."""
    newest = select(CHAT).where(CHAT.c.lobby_id == lobby_id).order_by(CHAT.c.seq.desc())
    if before is not None:
        newest = newest.where(CHAT.c.seq < _within_64_bits(before))
    return _records(connection, ChatRecord, newest.limit(_rows(limit)))[::-1]


def read_events(
    connection: Connection, seq: int, limit: int, types: frozenset[str] | None, lobby_id: str | None
) -> tuple[EventRecord, ...]:
    """Return what ``Store.events_after`` returns."""
    found = select(EVENTS).where(EVENTS.c.seq > _within_64_bits(seq)).order_by(EVENTS.c.seq)
    if types is not None:
        found = found.where(EVENTS.c.type.in_(sorted(types)))
    if lobby_id is not None:
        found = found.where(EVENTS.c.lobby_id == lobby_id)
    return _records(connection, EventRecord, found.limit(_rows(limit)))


def read_audit(connection: Connection, before: int | None, limit: int) -> tuple[AuditRecord, ...]:
    """Return what ``Store.audit_before`` returns."""
    newest = select(AUDIT).order_by(AUDIT.c.entry_id.desc())
    if before is not None:
        newest = newest.where(AUDIT.c.entry_id < _within_64_bits(before))
    return _records(connection, AuditRecord, newest.limit(_rows(limit)))


def read_dead_letters(connection: Connection, limit: int) -> tuple[DeadLetterRecord, ...]:
    """Return what ``Store.dead_letters`` returns."""
    oldest = select(DEAD_LETTERS).order_by(DEAD_LETTERS.c.given_up_at, DEAD_LETTERS.c.delivery_id)
    return _records(connection, DeadLetterRecord, oldest.limit(_rows(limit)))


def _records(connection: Connection, kind: type[_Record], query: Select[Any]) -> tuple[_Record, ...]:
    assert TABLES[kind].c.keys() == query.selected_columns.keys()
    return tuple(record_of(kind, row) for row in connection.execute(query))


def _within_64_bits(number: int) -> int:
    return min(max(number, _LOWEST), _HIGHEST)


def _rows(limit: int) -> int:
    # SQLite takes a negative limit for none at all, PostgreSQL for an error.
    return _within_64_bits(max(0, limit))
