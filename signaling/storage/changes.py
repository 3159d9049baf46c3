"""What can happen to the records: typed changes, applied by a store in the order in which they were given.

``Put`` inserts or replaces the row of the same key; ``Drop`` removes it, and is nothing when it is not there;
``Add`` appends, and adding the same row again is nothing (a batch may be tried twice).
"""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Change:
    """Base of all changes."""


@dataclass(frozen=True, slots=True)
class PutSession(Change):
    """Insert or replace a session."""

    session: SessionRecord


@dataclass(frozen=True, slots=True)
class DropSession(Change):
    """Remove a session."""

    session_id: str


@dataclass(frozen=True, slots=True)
class PutLobby(Change):
    """Insert or replace a lobby."""

    lobby: LobbyRecord


@dataclass(frozen=True, slots=True)
class DropLobby(Change):
    """Remove a lobby with its chat."""

    lobby_id: str


@dataclass(frozen=True, slots=True)
class AddChat(Change):
    """Append a line of chat."""

    line: ChatRecord


@dataclass(frozen=True, slots=True)
class PutName(Change):
    """Protect a name, or change its password."""

    name: NameRecord


@dataclass(frozen=True, slots=True)
class DropName(Change):
    """Free a name."""

    company_id: str
    key: str


@dataclass(frozen=True, slots=True)
class PutCompany(Change):
    """Insert or replace a company."""

    company: CompanyRecord


@dataclass(frozen=True, slots=True)
class DropCompany(Change):
    """Remove a company; its lobbies, sessions and names are dropped by whoever asks for this."""

    company_id: str


@dataclass(frozen=True, slots=True)
class PutBot(Change):
    """Insert or replace a bot."""

    bot: BotRecord


@dataclass(frozen=True, slots=True)
class DropBot(Change):
    """Forget a bot: it is gone."""

    bot_id: str


@dataclass(frozen=True, slots=True)
class AddAudit(Change):
    """Append to the audit log."""

    entry: AuditRecord


@dataclass(frozen=True, slots=True)
class AddEvent(Change):
    """Keep an event."""

    event: EventRecord


@dataclass(frozen=True, slots=True)
class AddDeadLetter(Change):
    """Keep a webhook delivery that was given up."""

    letter: DeadLetterRecord


@dataclass(frozen=True, slots=True)
class DropDeadLetter(Change):
    """Forget a dead letter: it was delivered after all, or is not wanted."""

    delivery_id: str
