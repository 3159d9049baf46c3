"""A store that keeps everything in memory, for tests and for servers that need not remember.

What grows without end (events, chat, audit entries, dead letters) is bounded: the oldest is forgotten.
"""

import sys
from bisect import bisect_left, bisect_right
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

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
from signaling.storage.store import StoreHealth, StoreStatistics

#: What is kept at most of what grows; the oldest goes first. Fifty thousand events take some 50 MB.
MAX_EVENTS = 50_000
MAX_CHAT_LINES = 10_000
MAX_AUDIT_ENTRIES = 10_000
MAX_DEAD_LETTERS = 10_000
#: Only then is the excess cut off, all at once.
_SLACK = 1.1

_Numbered = TypeVar("_Numbered", ChatRecord, EventRecord)


class MemoryStore:
    """See the module. ``max_chat_lines`` is per lobby."""

    def __init__(self, *, max_events: int = MAX_EVENTS, max_chat_lines: int = MAX_CHAT_LINES) -> None:
        self._max_events = max_events
        self._max_chat_lines = max_chat_lines
        self._sessions: dict[str, SessionRecord] = {}
        self._lobbies: dict[str, LobbyRecord] = {}
        self._names: dict[tuple[str, str], NameRecord] = {}
        self._companies: dict[str, CompanyRecord] = {}
        self._bots: dict[str, BotRecord] = {}
        self._chat: dict[str, list[ChatRecord]] = {}
        self._events: list[EventRecord] = []
        self._audit: list[AuditRecord] = []
        self._letters: dict[str, DeadLetterRecord] = {}
        self._audit_id = 0
        self._committed = 0
        self._batches = 0
        self._expired = 0

    async def load(self) -> Snapshot:
        """See ``Store``."""
        return Snapshot(
            sessions=tuple(self._sessions.values()),
            lobbies=tuple(self._lobbies.values()),
            names=tuple(self._names.values()),
            companies=tuple(self._companies.values()),
            bots=tuple(self._bots.values()),
            chat_seqs={
                lobby_id: self._chat[lobby_id][-1].seq for lobby_id in self._lobbies if lobby_id in self._chat
            },
            event_seq=self._events[-1].seq if self._events else 0,
        )

    def submit(self, *changes: Change) -> None:
        """See ``Store``."""
        for change in changes:
            self._apply(change)
        self._committed += len(changes)
        self._batches += bool(changes)

    async def commit(self, *changes: Change) -> None:
        """See ``Store``."""
        self.submit(*changes)

    async def chat_before(self, lobby_id: str, *, before: int | None, limit: int) -> tuple[ChatRecord, ...]:
        """See ``Store``."""
        lines = self._chat.get(lobby_id, [])
        end = len(lines) if before is None else bisect_left(lines, before, key=_seq)
        return tuple(lines[max(0, end - max(0, limit)) : end])

    async def events_after(
        self, seq: int, *, limit: int, types: frozenset[str] | None = None, lobby_id: str | None = None
    ) -> tuple[EventRecord, ...]:
        """See ``Store``."""
        found = islice(self._events, bisect_right(self._events, seq, key=_seq), None)
        wanted = (
            event
            for event in found
            if (types is None or event.type in types) and lobby_id in {None, event.lobby_id}
        )
        return tuple(islice(wanted, max(0, limit)))

    async def audit_before(self, *, before: int | None, limit: int) -> tuple[AuditRecord, ...]:
        """See ``Store``."""
        found = (entry for entry in reversed(self._audit) if before is None or entry.entry_id < before)
        return tuple(islice(found, max(0, limit)))

    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        """See ``Store``."""
        oldest = sorted(self._letters.values(), key=lambda letter: (letter.given_up_at, letter.delivery_id))
        return tuple(oldest[: max(0, limit)])

    def statistics(self) -> StoreStatistics:
        """See ``Store``. Nothing ever waits here, so any number may."""
        return StoreStatistics(
            health=StoreHealth.OK,
            fault=None,
            queued=0,
            capacity=sys.maxsize,
            committed=self._committed,
            batches=self._batches,
            dropped=0,
            retries=0,
            commit_seconds_total=0.0,
            expired=self._expired,
        )

    def _add(self, rows: list[_Numbered], row: _Numbered, most: int) -> None:
        """Insert a row by its number, if there is none of that number, and forget the oldest beyond ``most``."""
        place = bisect_left(rows, row.seq, key=_seq)
        if place == len(rows) or rows[place].seq != row.seq:
            rows.insert(place, row)
            self._bound(rows, most)

    def _bound(self, rows: list[Any], most: int) -> None:
        if len(rows) > most * _SLACK:
            self._expired += len(rows) - most
            del rows[:-most]

    def _apply(self, change: Change) -> None:
        match change:
            case PutSession(session):
                self._sessions[session.session_id] = session
            case DropSession(session_id):
                self._sessions.pop(session_id, None)
            case PutLobby(lobby):
                self._lobbies[lobby.lobby_id] = lobby
            case DropLobby(lobby_id):
                self._lobbies.pop(lobby_id, None)
                self._chat.pop(lobby_id, None)
            case AddChat(line):
                self._add(self._chat.setdefault(line.lobby_id, []), line, self._max_chat_lines)
            case PutName(name):
                self._names[name.company_id, name.key] = name
            case DropName(company_id, key):
                self._names.pop((company_id, key), None)
            case PutCompany(company):
                self._companies[company.company_id] = company
            case DropCompany(company_id):
                self._companies.pop(company_id, None)
            case PutBot(bot):
                self._bots[bot.bot_id] = bot
            case DropBot(bot_id):
                self._bots.pop(bot_id, None)
            case AddEvent(event):
                self._add(self._events, event, self._max_events)
            case AddDeadLetter(letter):
                self._letters.setdefault(letter.delivery_id, letter)
                if len(self._letters) > MAX_DEAD_LETTERS:
                    del self._letters[next(iter(self._letters))]
                    self._expired += 1
            case DropDeadLetter(delivery_id):
                self._letters.pop(delivery_id, None)
            case AddAudit(entry):
                self._audit_id += 1
                self._audit.append(replace(entry, entry_id=self._audit_id))
                self._bound(self._audit, MAX_AUDIT_ENTRIES)


def _seq(row: ChatRecord | EventRecord) -> int:
    return row.seq
