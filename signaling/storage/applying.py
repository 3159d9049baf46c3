"""Changes to SQL: what each does to the tables, applied in order, and the same when applied twice."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Executable, Table, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite

from signaling.storage.changes import (
    AddAudit,
    AddChat,
    AddDeadLetter,
    AddEvent,
    Change,
    DropBot,
    DropCompany,
    DropDeadLetter,
    DropLobby,
    DropName,
    DropSession,
    PutBot,
    PutCompany,
    PutLobby,
    PutName,
    PutSession,
)
from signaling.storage.mapping import TABLES, row_of
from signaling.storage.marks import CHAT_MARK
from signaling.storage.tables import BOTS, CHAT, COMPANIES, DEAD_LETTERS, LOBBIES, MARKS, NAMES, SESSIONS

Step = tuple[Executable, dict[str, Any]]


def apply_changes(connection: Connection, changes: Iterable[Change]) -> None:
    """Apply changes within the connection's transaction; runs of the same kind are sent together."""
    name = connection.dialect.name
    steps = (step for change in changes for step in _steps(change, name))
    for statement, run in groupby(steps, key=itemgetter(0)):
        connection.execute(statement, [parameters for _, parameters in run])


def _steps(change: Change, dialect: str) -> Iterable[Step]:
    match change:
        case PutSession(record) | PutLobby(record) | PutName(record) | PutCompany(record) | PutBot(record):
            return [(_put(TABLES[type(record)], dialect), row_of(record))]
        case AddChat(record) | AddEvent(record) | AddAudit(record) | AddDeadLetter(record):
            return [(_add(TABLES[type(record)], dialect), row_of(record))]
        case DropSession(session_id):
            return [(_drop(SESSIONS), {"key_session_id": session_id})]
        case DropLobby(lobby_id):
            return [
                (_drop(LOBBIES), {"key_lobby_id": lobby_id}),
                (_DROP_CHAT, {"key_lobby_id": lobby_id}),
                (_DROP_MARK, {"key_lobby_id": lobby_id}),
            ]
        case DropName(company_id, key):
            return [(_drop(NAMES), {"key_company_id": company_id, "key_key": key})]
        case DropCompany(company_id):
            return [(_drop(COMPANIES), {"key_company_id": company_id})]
        case DropBot(bot_id):
            return [(_drop(BOTS), {"key_bot_id": bot_id})]
        case DropDeadLetter(delivery_id):
            return [(_drop(DEAD_LETTERS), {"key_delivery_id": delivery_id})]
    raise TypeError(f"a change of an unknown kind: {type(change).__name__}")


_DROP_CHAT = delete(CHAT).where(CHAT.c.lobby_id == bindparam("key_lobby_id"))
_DROP_MARK = delete(MARKS).where(MARKS.c.kind == CHAT_MARK, MARKS.c.key == bindparam("key_lobby_id"))


@lru_cache
def _put(table: Table, dialect: str) -> Executable:
    """Insert, or replace the row of the same key."""
    insert = _insert(table, dialect)
    others = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)


@lru_cache
def _add(table: Table, dialect: str) -> Executable:
    """Insert, unless there is a row of the same key."""
    return _insert(table, dialect).on_conflict_do_nothing(index_elements=list(table.primary_key))


@lru_cache
def _drop(table: Table) -> Executable:
    """Delete by the primary key; its parameters have a prefix, for SQLAlchemy keeps the columns' names to itself."""
    return delete(table).where(*(column == bindparam(f"key_{column.name}") for column in table.primary_key))


def _insert(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
