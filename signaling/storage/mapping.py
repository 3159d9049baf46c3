"""Records to rows and back. Fields and columns have the same names; what else differs is here."""

from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Row, Table

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

TABLES: dict[type[Any], Table] = {
    SessionRecord: SESSIONS,
    LobbyRecord: LOBBIES,
    ChatRecord: CHAT,
    NameRecord: NAMES,
    CompanyRecord: COMPANIES,
    BotRecord: BOTS,
    AuditRecord: AUDIT,
    EventRecord: EVENTS,
    DeadLetterRecord: DEAD_LETTERS,
}

_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in TABLES}

_Record = TypeVar("_Record")


def row_of(record: Any) -> dict[str, Any]:
    """Return a record as the parameters of an INSERT."""
    row = {name: getattr(record, name) for name in _FIELDS[type(record)]}
    if isinstance(record, CompanyRecord):
        row["key_digests"] = [digest.hex() for digest in record.key_digests]
    return row


def record_of(kind: type[_Record], row: Row[Any]) -> _Record:
    """Return a row, of all columns of the kind's table, as a record."""
    values = dict(row._mapping)  # noqa: SLF001 - the public name of what SQLAlchemy documents
    if kind is CompanyRecord:
        values["key_digests"] = tuple(bytes.fromhex(digest) for digest in values["key_digests"])
    return kind(**values)
