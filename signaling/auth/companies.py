"""Companies (tenants): who they are, the API keys that prove it, and what they may use.

A change holds at once and is durable when the method returns. ``StoreUnavailableError`` means: a restriction (revoke,
disable, delete, limits) holds, but perhaps not after a restart, and should be asked for again; of what would have been
handed out (a company, a key) nothing is left.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from signaling.auth.api_keys import digest_of, key_id, new_api_key, same_digest
from signaling.auth.company_limits import CompanyLimits
from signaling.auth.company_usage import CompanyUsage
from signaling.auth.errors import CompanyError
from signaling.identifiers import new_id
from signaling.messages.model import Name
from signaling.storage import CompanyRecord, DropCompany, PutCompany, Store

MAX_COMPANIES = 10_000
#: The one in use, its successor, and some for those who forget to revoke.
MAX_KEYS = 5

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class Company:
    """A company as the service sees it; ``key_ids`` are names of its keys, oldest first."""

    company_id: str
    name: str
    created_at: datetime
    enabled: bool
    limits: CompanyLimits
    key_ids: tuple[str, ...]


class Companies:
    """See the module. ``len`` is their number."""

    def __init__(
        self,
        *,
        store: Store,
        records: Iterable[CompanyRecord] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_companies: int = MAX_COMPANIES,
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_companies = max_companies
        self._records: dict[str, CompanyRecord] = {}
        self._companies: dict[str, Company] = {}
        self._owners: dict[bytes, str] = {}
        #: What they have of it: sessions, lobbies and so on.
        self.usage = CompanyUsage(self._limits_of, max_companies=max_companies)
        for record in records:
            self._keep(record)

    def __len__(self) -> int:
        return len(self._companies)

    def listed(self) -> tuple[Company, ...]:
        """Return all companies, oldest first."""
        return tuple(
            sorted(self._companies.values(), key=lambda company: (company.created_at, company.company_id))
        )

    def find(self, company_id: str) -> Company | None:
        """Return the company of this id."""
        return self._companies.get(company_id)

    def is_enabled(self, company_id: str) -> bool:
        """Tell whether there is such a company, and it is not disabled."""
        company = self._companies.get(company_id)
        return company is not None and company.enabled

    def authenticate(self, api_key_untrusted: str) -> Company | None:
        """Return the company of this API key, unless it is disabled.

        The key is digested before it is looked up: the time that takes tells something of a digest, which nobody can
        make a key from, and nothing of the key.
        """
        digest = digest_of(api_key_untrusted)
        company_id = self._owners.get(digest, "")
        record = self._records.get(company_id)
        digests = (_NOBODY,) if record is None else record.key_digests
        matches = [same_digest(digest, kept) for kept in digests]
        company = self._companies.get(company_id)
        return company if any(matches) and company is not None and company.enabled else None

    async def create(
        self, name_untrusted: str, limits_untrusted: Mapping[str, Any] | None = None
    ) -> tuple[Company, str]:
        """Make a company; returns it and its API key, which is shown this once.

        Raises: CompanyError (``invalid_message``, ``company_exists``, ``at_capacity``), StoreUnavailableError.
        """
        name = self._validated(name_untrusted)
        limits = CompanyLimits.read(limits_untrusted or {})
        if len(self._companies) >= self._max_companies:
            raise CompanyError("at_capacity", f"there are {self._max_companies} companies, more are not kept")
        api_key = new_api_key()
        company_id = new_id("co")
        record = CompanyRecord(
            company_id, name, self._clock(), key_digests=(digest_of(api_key),), limits=limits.stored()
        )
        company = self._keep(record)
        durable = False
        try:
            await self._store.commit(PutCompany(record))
            durable = True
        finally:
            if not durable:
                if company_id in self._records:
                    self._forget(company_id)
                self._store.submit(DropCompany(company_id))
        return company, api_key

    async def rotate(self, company_id: str) -> str:
        """Give a company one more API key and return it, shown this once. The former ones work until they are revoked.

        Raises: CompanyError (``company_unknown``, ``at_capacity``), StoreUnavailableError.
        """
        record = self._record(company_id)
        if len(record.key_digests) >= MAX_KEYS:
            raise CompanyError("at_capacity", f"the company has {MAX_KEYS} API keys: revoke one first")
        api_key = new_api_key()
        digest = digest_of(api_key)
        changed = replace(record, key_digests=(*record.key_digests, digest))
        self._keep(changed)
        durable = False
        try:
            await self._store.commit(PutCompany(changed))
            durable = True
        finally:
            # It may have been changed, or deleted, meanwhile: only the new key is taken back.
            if not durable and company_id in self._records:
                self._store.submit(PutCompany(self._without_key(self._records[company_id], digest)))
        return api_key

    async def revoke(self, company_id: str, revoked_key_id: str) -> bool:
        """Let an API key be worth nothing from now on; tells whether the company had it.

        Raises: CompanyError (``company_unknown``), StoreUnavailableError.
        """
        record = self._record(company_id)
        found = [digest for digest in record.key_digests if key_id(digest) == revoked_key_id]
        for digest in found:
            record = self._without_key(record, digest)
        await self._store.commit(PutCompany(record))
        return bool(found)

    async def set_enabled(self, company_id: str, *, enabled: bool) -> Company:
        """Let a company's keys and tokens be good, or no longer. What it has open is for the caller to close.

        Raises: CompanyError (``company_unknown``), StoreUnavailableError.
        """
        return await self._change(replace(self._record(company_id), enabled=enabled))

    async def set_limits(self, company_id: str, limits_untrusted: Mapping[str, Any]) -> Company:
        """Replace a company's limits; what is left out gets its default. Nothing that it has is taken away.

        Raises: CompanyError (``company_unknown``, ``invalid_message``), StoreUnavailableError.
        """
        limits = CompanyLimits.read(limits_untrusted)
        return await self._change(replace(self._record(company_id), limits=limits.stored()))

    async def delete(self, company_id: str) -> bool:
        """Forget a company and its keys; tells whether it was there. Its names, lobbies and sessions are the caller's to end.

        Raises: StoreUnavailableError.
        """
        found = company_id in self._records
        if found:
            self._forget(company_id)
        # Dropped from the store even when it is not here: an earlier attempt may have got no further.
        await self._store.commit(DropCompany(company_id))
        return found

    async def _change(self, record: CompanyRecord) -> Company:
        company = self._keep(record)
        await self._store.commit(PutCompany(record))
        return company

    def _record(self, company_id: str) -> CompanyRecord:
        record = self._records.get(company_id)
        if record is None:
            raise CompanyError("company_unknown", "there is no company of this id", field="company_id")
        return record

    def _keep(self, record: CompanyRecord) -> Company:
        company = Company(
            company_id=record.company_id,
            name=record.name,
            created_at=record.created_at,
            enabled=record.enabled,
            limits=CompanyLimits.restore(record.limits),
            key_ids=tuple(key_id(digest) for digest in record.key_digests),
        )
        self._records[record.company_id] = record
        self._companies[record.company_id] = company
        for digest in record.key_digests:
            self._owners[digest] = record.company_id
        return company

    def _without_key(self, record: CompanyRecord, digest: bytes) -> CompanyRecord:
        self._owners.pop(digest, None)
        changed = replace(record, key_digests=tuple(kept for kept in record.key_digests if kept != digest))
        self._keep(changed)
        return changed

    def _forget(self, company_id: str) -> None:
        for digest in self._records.pop(company_id).key_digests:
            self._owners.pop(digest, None)
        del self._companies[company_id]
        self.usage.forget(company_id)

    def _limits_of(self, company_id: str) -> CompanyLimits | None:
        company = self._companies.get(company_id)
        return company.limits if company is not None and company.enabled else None

    def _validated(self, name_untrusted: str) -> str:
        try:
            name = _NAME.validate_python(name_untrusted)
        except ValidationError as error:
            raise CompanyError(
                "invalid_message", f"the name cannot be used: {error.errors()[0]['msg']}", field="name"
            ) from None
        if any(company.name.casefold() == name.casefold() for company in self._companies.values()):
            raise CompanyError("company_exists", "there is a company of this name", field="name")
        return name
