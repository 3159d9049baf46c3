"""What the service keeps: records, the changes made to them, and stores that hold them.

The service's memory is what it works with; a store is its durable shadow. At start-up ``Store.load`` gives everything
back; from then on each change to memory is handed to the store, in the order in which it happened. What grows without
bound (chat, events, the audit log) stays in the store and is read page by page.
"""

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
from signaling.storage.store import (
    ChangeRefusedError,
    Store,
    StoreHealth,
    StoreOpenError,
    StoreStatistics,
    StoreUnavailableError,
)

__all__ = [
    "AddAudit",
    "AddChat",
    "AddDeadLetter",
    "AddEvent",
    "AuditRecord",
    "BotRecord",
    "Change",
    "ChangeRefusedError",
    "ChatRecord",
    "CompanyRecord",
    "DeadLetterRecord",
    "DropBot",
    "DropCompany",
    "DropDeadLetter",
    "DropLobby",
    "DropName",
    "DropSession",
    "EventRecord",
    "LobbyRecord",
    "NameRecord",
    "PutBot",
    "PutCompany",
    "PutLobby",
    "PutName",
    "PutSession",
    "SessionRecord",
    "Snapshot",
    "Store",
    "StoreHealth",
    "StoreOpenError",
    "StoreStatistics",
    "StoreUnavailableError",
]
