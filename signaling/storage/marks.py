"""The highest numbers ever given, also of rows that are gone: retention notes them, the next start reads them."""

from collections.abc import Mapping

from sqlalchemy import Connection, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from signaling.storage.tables import AUDIT, CHAT, EVENTS, LOBBIES, MARKS

CHAT_MARK = "chat"
EVENT_MARK = "event"
AUDIT_MARK = "audit"


def raise_marks(connection: Connection, kind: str, seqs: Mapping[str, int]) -> None:
    """Note the numbers of rows about to be removed; ``seqs``: key (a lobby for chat, else "") -> highest."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(MARKS)
    new = insert.excluded.seq
    statement = insert.on_conflict_do_update(
        index_elements=list(MARKS.primary_key),
        set_={"seq": case((new > MARKS.c.seq, new), else_=MARKS.c.seq)},
    )
    connection.execute(statement, [{"kind": kind, "key": key, "seq": seq} for key, seq in seqs.items()])


def last_event_seq(connection: Connection) -> int:
    """Return the number of the last event ever kept, or 0."""
    kept = connection.scalar(select(func.max(EVENTS.c.seq))) or 0
    return max(kept, _marks(connection, EVENT_MARK).get("", 0))


def last_audit_id(connection: Connection) -> int:
    """Return the number of the last audit entry ever kept, or 0."""
    kept = connection.scalar(select(func.max(AUDIT.c.entry_id))) or 0
    return max(kept, _marks(connection, AUDIT_MARK).get("", 0))


def last_chat_seqs(connection: Connection) -> dict[str, int]:
    """Return lobby -> number of its last line ever kept. Cost: of the number of lobbies, not of lines."""
    last = select(func.max(CHAT.c.seq)).where(CHAT.c.lobby_id == LOBBIES.c.lobby_id).scalar_subquery()
    marks = _marks(connection, CHAT_MARK)
    seqs = {
        lobby_id: max(seq or 0, marks.get(lobby_id, 0))
        for lobby_id, seq in connection.execute(select(LOBBIES.c.lobby_id, last))
    }
    return {lobby_id: seq for lobby_id, seq in seqs.items() if seq}


def _marks(connection: Connection, kind: str) -> dict[str, int]:
    found = connection.execute(select(MARKS.c.key, MARKS.c.seq).where(MARKS.c.kind == kind))
    return {row.key: row.seq for row in found}
