"""The tables, as the newest migration leaves them; a test compares the two.

There are no foreign keys and no unique names beside primary keys: memory is authoritative, and a shadow that lacks one
change (dropped while the database was away) must still take the next.
"""

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, MetaData, Table

from signaling.storage.column_types import BIG_INTEGER, AnyText, Json, UtcTime

METADATA = MetaData()

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("session_id", AnyText, primary_key=True),
    Column("token_digest", LargeBinary, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Column("company_id", AnyText, nullable=False),
    Column("lobby_id", AnyText),
    Column("participant_id", AnyText),
    Column("name", AnyText),
    Column("is_bot", Boolean, nullable=False),
    Column("joined_at", UtcTime),
    Column("grants", Json),
)

LOBBIES = Table(
    "lobbies",
    METADATA,
    Column("lobby_id", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("company_id", AnyText, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("password_hash", AnyText),
    Column("capacity", BIG_INTEGER),
    Column("persistent", Boolean, nullable=False),
)

#: Read backwards within a lobby, by its primary key.
CHAT = Table(
    "chat",
    METADATA,
    Column("lobby_id", AnyText, primary_key=True),
    Column("seq", BIG_INTEGER, primary_key=True, autoincrement=False),
    Column("participant_id", AnyText, nullable=False),
    Column("name", AnyText, nullable=False),
    Column("text", AnyText, nullable=False),
    Column("sent_at", UtcTime, nullable=False),
    Index("ix_chat_sent_at", "sent_at"),
)

NAMES = Table(
    "protected_names",
    METADATA,
    Column("company_id", AnyText, primary_key=True),
    Column("key", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("password_hash", AnyText, nullable=False),
    Column("protected_at", UtcTime, nullable=False),
)

COMPANIES = Table(
    "companies",
    METADATA,
    Column("company_id", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    #: Digests in hexadecimal digits.
    Column("key_digests", Json, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("limits", Json, nullable=False),
)

#: Those that are gone are not in here.
BOTS = Table(
    "bots",
    METADATA,
    Column("bot_id", AnyText, primary_key=True),
    Column("lobby_id", AnyText, nullable=False),
    Column("requested_at", UtcTime, nullable=False),
    Column("request", Json, nullable=False),
    Column("provider", Json),
    Column("participant_id", AnyText),
    Column("joined_at", UtcTime),
    Column("counters", Json, nullable=False),
)

#: Numbered by the writer, so that a batch that is tried twice makes each entry once.
AUDIT = Table(
    "audit",
    METADATA,
    Column("entry_id", BIG_INTEGER, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("action", AnyText, nullable=False),
    Column("target", AnyText, nullable=False),
    Column("detail", Json, nullable=False),
    Column("correlation_id", AnyText, nullable=False),
    Index("ix_audit_at", "at"),
)

#: Read forwards by number, of certain types or of a lobby.
EVENTS = Table(
    "events",
    METADATA,
    Column("seq", BIG_INTEGER, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("type", AnyText, nullable=False),
    Column("data", Json, nullable=False),
    Column("session_id", AnyText),
    Column("lobby_id", AnyText),
    Column("correlation_id", AnyText, nullable=False),
    Index("ix_events_at", "at"),
    Index("ix_events_type_seq", "type", "seq"),
    Index("ix_events_lobby_id_seq", "lobby_id", "seq"),
)

DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    Column("delivery_id", AnyText, primary_key=True),
    Column("url", AnyText, nullable=False),
    Column("event_type", AnyText, nullable=False),
    Column("body", AnyText, nullable=False),
    Column("attempts", BIG_INTEGER, nullable=False),
    Column("last_error", AnyText, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("given_up_at", UtcTime, nullable=False),
    Index("ix_dead_letters_given_up_at", "given_up_at", "delivery_id"),
)

#: The highest numbers of rows that retention removed: numbers are never given twice. Kinds: chat (by lobby), event, audit.
MARKS = Table(
    "marks",
    METADATA,
    Column("kind", AnyText, primary_key=True),
    Column("key", AnyText, primary_key=True),
    Column("seq", BIG_INTEGER, nullable=False),
)

#: Which store opened the database last; one row. Who finds another here after an interruption must not go on writing.
OWNER = Table(
    "owner",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("token", AnyText, nullable=False),
)
