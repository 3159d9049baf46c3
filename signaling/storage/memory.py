"""A store that keeps everything in memory, for tests and for servers that need not remember."""

from collections import defaultdict

from signaling.storage.changes import (
    AddAudit,
    AddChat,
    AddDeadLetter,
    AddEvent,
    Change,
    DropCompany,
    DropDeadLetter,
    DropLobby,
    DropName,
    DropSession,
    PutCompany,
    PutLobby,
    PutName,
    PutSession,
)
from signaling.storage.records import (
    AuditRecord,
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


class MemoryStore:
    """See the module."""

    def __init__(self) -> None:
        self._sessions: dict[str, SessionRecord] = {}
        self._lobbies: dict[str, LobbyRecord] = {}
        self._names: dict[tuple[str, str], NameRecord] = {}
        self._companies: dict[str, CompanyRecord] = {}
        self._chat: defaultdict[str, dict[int, ChatRecord]] = defaultdict(dict)
        self._events: dict[int, EventRecord] = {}
        self._audit: list[AuditRecord] = []
        self._letters: dict[str, DeadLetterRecord] = {}
        self._committed = 0

    async def load(self) -> Snapshot:
        """See ``Store``."""
        return Snapshot(
            sessions=tuple(self._sessions.values()),
            lobbies=tuple(self._lobbies.values()),
            names=tuple(self._names.values()),
            companies=tuple(self._companies.values()),
            chat_seqs={lobby_id: max(lines) for lobby_id, lines in self._chat.items() if lines},
            event_seq=max(self._events, default=0),
        )

    def submit(self, *changes: Change) -> None:
        """See ``Store``."""
        for change in changes:
            self._apply(change)
        self._committed += len(changes)

    async def commit(self, *changes: Change) -> None:
        """See ``Store``."""
        self.submit(*changes)

    async def chat_before(self, lobby_id: str, *, before: int | None, limit: int) -> tuple[ChatRecord, ...]:
        """See ``Store``."""
        lines = self._chat.get(lobby_id, {})
        numbers = sorted(seq for seq in lines if before is None or seq < before)
        return tuple(lines[seq] for seq in numbers[-limit:])

    async def events_after(
        self, seq: int, *, limit: int, types: frozenset[str] | None = None, lobby_id: str | None = None
    ) -> tuple[EventRecord, ...]:
        """See ``Store``."""
        found = (event for number, event in sorted(self._events.items()) if number > seq)
        wanted = [
            event
            for event in found
            if (types is None or event.type in types) and lobby_id in {None, event.lobby_id}
        ]
        return tuple(wanted[:limit])

    async def audit_before(self, *, before: int | None, limit: int) -> tuple[AuditRecord, ...]:
        """See ``Store``."""
        found = [entry for entry in self._audit if before is None or entry.entry_id < before]
        return tuple(reversed(found[-limit:]))

    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        """See ``Store``."""
        return tuple(self._letters.values())[:limit]

    def statistics(self) -> StoreStatistics:
        """See ``Store``."""
        return StoreStatistics(StoreHealth.OK, None, 0, 1_000_000, self._committed, 0, 0, 0, 0.0)

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
                self._chat[line.lobby_id].setdefault(line.seq, line)
            case PutName(name):
                self._names[name.company_id, name.key] = name
            case DropName(company_id, key):
                self._names.pop((company_id, key), None)
            case PutCompany(company):
                self._companies[company.company_id] = company
            case DropCompany(company_id):
                self._companies.pop(company_id, None)
            case AddEvent(event):
                self._events.setdefault(event.seq, event)
            case AddDeadLetter(letter):
                self._letters.setdefault(letter.delivery_id, letter)
            case DropDeadLetter(delivery_id):
                self._letters.pop(delivery_id, None)
            case AddAudit(entry):
                self._audit.append(entry)
