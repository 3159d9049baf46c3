"""What the service keeps, one frozen record a row. Times are aware, in UTC; secrets are here only as digests or hashes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session that may be resumed after a restart, and the lobby it is in."""

    session_id: str
    #: SHA-256 of the resume token.
    token_digest: bytes
    created_at: datetime
    last_seen_at: datetime
    #: Company (tenant) it belongs to; empty: none.
    company_id: str = ""
    lobby_id: str | None = None
    participant_id: str | None = None
    name: str | None = None
    is_bot: bool = False
    joined_at: datetime | None = None
    #: What its join token allows, as JSON; None: everything.
    grants: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LobbyRecord:
    """A lobby. Its name is unique within its company; its id is unique and never used again."""

    lobby_id: str
    name: str
    created_at: datetime
    company_id: str = ""
    #: Not listed, and entered with a password or a join token only.
    private: bool = False
    #: argon2id; None: no password.
    password_hash: str | None = None
    #: Participants at most; None: no limit.
    capacity: int | None = None
    #: Stays when the last participant has left.
    persistent: bool = False


@dataclass(frozen=True, slots=True)
class ChatRecord:
    """One line of a lobby's chat; ``seq`` counts from 1 within the lobby."""

    lobby_id: str
    seq: int
    participant_id: str
    name: str
    text: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class NameRecord:
    """A display name that only who knows the password may use."""

    #: The name as compared (NFKC, case folded, one space between words), prefixed by nothing.
    key: str
    name: str
    #: argon2id.
    password_hash: str
    protected_at: datetime
    company_id: str = ""


@dataclass(frozen=True, slots=True)
class CompanyRecord:
    """A tenant with API keys and limits of its own."""

    company_id: str
    name: str
    created_at: datetime
    #: SHA-256 of each API key; several, so that a key can be replaced without a gap.
    key_digests: tuple[bytes, ...] = ()
    enabled: bool = True
    #: Name of a limit -> value, as ``signaling.auth`` defines them.
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who did what as an administrator. ``entry_id`` is given by the store (0 before that)."""

    at: datetime
    actor: str
    action: str
    target: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str = ""
    entry_id: int = 0


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event of the bus, as kept."""

    seq: int
    at: datetime
    type: str
    data: Mapping[str, Any]
    session_id: str | None = None
    lobby_id: str | None = None
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A webhook delivery that was given up after its last attempt."""

    delivery_id: str
    url: str
    event_type: str
    body: str
    attempts: int
    last_error: str
    created_at: datetime
    given_up_at: datetime


@dataclass(frozen=True, slots=True)
class BotRecord:
    """A bot that is wanted, and who runs it."""

    bot_id: str
    lobby_id: str
    requested_at: datetime
    #: What was asked for, as JSON; ``signaling.bots`` knows its fields.
    request: Mapping[str, Any]
    #: Its provider, from the acknowledgement on: who that is, and the digest of what it may come back with.
    provider: Mapping[str, Any] | None = None
    #: Who it is in the lobby, while it is there.
    participant_id: str | None = None
    joined_at: datetime | None = None
    #: Counter -> value, as ``signaling.bots`` has them.
    counters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a store gives back at start-up. Chat, events, audit and dead letters are read by the page instead."""

    sessions: tuple[SessionRecord, ...] = ()
    lobbies: tuple[LobbyRecord, ...] = ()
    names: tuple[NameRecord, ...] = ()
    companies: tuple[CompanyRecord, ...] = ()
    bots: tuple[BotRecord, ...] = ()
    #: lobby_id -> number of its last line of chat ever kept, of lobbies that have any.
    chat_seqs: Mapping[str, int] = field(default_factory=dict)
    #: Number of the last event ever kept; 0 when there is none.
    event_seq: int = 0
