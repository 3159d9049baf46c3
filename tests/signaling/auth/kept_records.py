"""A store that keeps names, companies and audit entries in dicts, and can be down or slow at a test's word."""

from dataclasses import replace

import trio

from signaling.storage import (
    AddAudit,
    AuditRecord,
    Change,
    ChatRecord,
    CompanyRecord,
    DeadLetterRecord,
    DropCompany,
    DropName,
    EventRecord,
    NameRecord,
    PutCompany,
    PutName,
    Snapshot,
    StoreHealth,
    StoreStatistics,
    StoreUnavailableError,
)


class KeptRecords:
    """Changes are applied in the order of the calls; while ``down``, those of ``commit`` are refused."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], NameRecord] = {}
        self.companies: dict[str, CompanyRecord] = {}
        self.audit: list[AuditRecord] = []
        self.down = False
        #: While set to an event, a commit is not acknowledged before it.
        self.acknowledge: trio.Event | None = None
        self.committed = 0

    async def load(self) -> Snapshot:
        return Snapshot(names=tuple(self.names.values()), companies=tuple(self.companies.values()))

    def submit(self, *changes: Change) -> None:
        for change in changes:
            match change:
                case PutName(record):
                    self.names[record.company_id, record.key] = record
                case DropName(company_id, key):
                    self.names.pop((company_id, key), None)
                case PutCompany(record):
                    self.companies[record.company_id] = record
                case DropCompany(company_id):
                    self.companies.pop(company_id, None)
                case AddAudit(entry):
                    self.audit.append(replace(entry, entry_id=len(self.audit) + 1))
                case _:
                    raise AssertionError(f"not of this package: {change}")

    async def commit(self, *changes: Change) -> None:
        if self.down:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailableError("the database does not answer")
        self.submit(*changes)
        if self.acknowledge is not None:
            await self.acknowledge.wait()
        await trio.lowlevel.checkpoint()
        self.committed += 1

    async def chat_before(self, lobby_id: str, *, before: int | None, limit: int) -> tuple[ChatRecord, ...]:
        return ()

    async def events_after(
        self, seq: int, *, limit: int, types: frozenset[str] | None = None, lobby_id: str | None = None
    ) -> tuple[EventRecord, ...]:
        return ()

    async def audit_before(self, *, before: int | None, limit: int) -> tuple[AuditRecord, ...]:
        entries = [entry for entry in reversed(self.audit) if before is None or entry.entry_id < before]
        return tuple(entries[:limit])

    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        return ()

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(StoreHealth.OK, None, 0, 1, self.committed, 0, 0, 0, 0.0)
