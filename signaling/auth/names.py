"""Protected display names: a name that only who knows its password may use.

Who may call themselves what is asked at each join and each change of name (``check``); the answer counts at the
moment it is given, so act on it before the next checkpoint. Names belong to a company; the empty company is everybody
who has none.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from pydantic import TypeAdapter, ValidationError

from signaling.auth.errors import NameRefusedError
from signaling.auth.guarded_passwords import GuardedPasswords
from signaling.auth.name_key import name_key
from signaling.logs import get_logger
from signaling.messages.model import Name
from signaling.storage import Change, DropName, NameRecord, PutName, Store

#: Some 500 bytes each.
MAX_NAMES = 100_000

_NAME: TypeAdapter[str] = TypeAdapter(Name)

_log = get_logger(__name__)


class NameVerdict(Enum):
    """Whether somebody may use a name."""

    #: Not protected.
    FREE = "free"
    #: Protected, and the password is right.
    RIGHT = "right"
    #: Protected, and the password is wrong.
    WRONG = "wrong"
    #: Protected, and no password was given.
    PASSWORD_REQUIRED = "password_required"  # noqa: S105 - a verdict

    @property
    def admits(self) -> bool:
        """Whether the name may be used."""
        return self in {NameVerdict.FREE, NameVerdict.RIGHT}

    @property
    def takes_over(self) -> bool:
        """Whether a session that goes by this name already must give it up.

        Who knows the password owns the name: the other session is a former connection of the owner's, or of somebody
        who had the name before it was protected. Free names are nobody's, and several may use one.
        """
        return self is NameVerdict.RIGHT


@dataclass(frozen=True, slots=True)
class ProtectedName:
    """A protected name as administrators see it."""

    name: str
    protected_at: datetime
    company_id: str


class ProtectedNames:
    """See the module. ``len`` is the number of names, of all companies."""

    def __init__(
        self,
        *,
        store: Store,
        guarded: GuardedPasswords,
        records: Iterable[NameRecord] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_names: int = MAX_NAMES,
    ) -> None:
        self._store = store
        self._guarded = guarded
        self._clock = clock
        self._max_names = max_names
        self._names: dict[tuple[str, str], NameRecord] = {}
        for record in sorted(records, key=lambda record: record.protected_at):
            # Keys are made anew: a newer Python may know more of Unicode than the one that stored them.
            kept = self._names.setdefault((record.company_id, name_key(record.name)), record)
            if kept is not record:
                _log.warning(
                    "a protected name is left out: it cannot be told from an older one", name=record.name
                )

    def __len__(self) -> int:
        return len(self._names)

    def is_protected(self, name: str, *, company_id: str = "") -> bool:
        """Tell whether a name needs a password."""
        return (company_id, name_key(name)) in self._names

    def listed(self, company_id: str = "") -> tuple[ProtectedName, ...]:
        """Return a company's protected names, in the order of their keys."""
        subjects = sorted(subject for subject in self._names if subject[0] == company_id)
        records = [self._names[subject] for subject in subjects]
        return tuple(ProtectedName(record.name, record.protected_at, company_id) for record in records)

    def page(
        self, company_id: str = "", *, after: str = "", limit: int
    ) -> tuple[tuple[ProtectedName, ...], str | None]:
        """Return up to ``limit`` names whose keys come after this one, and the last key of those (None: that was all).

        Cost: 8 ms for a hundred thousand names.
        """
        keys = (key for owner, key in self._names if owner == company_id and key > after)
        found = heapq.nsmallest(limit + 1, keys)
        records = [self._names[company_id, key] for key in found[:limit]]
        names = tuple(ProtectedName(record.name, record.protected_at, company_id) for record in records)
        return names, found[limit - 1] if len(found) > limit else None

    async def check(
        self, name: str, password_untrusted: str | None, *, client: str, company_id: str = ""
    ) -> NameVerdict:
        """Tell whether ``name`` may be used by who gives this password; ``client`` is the address it came from.

        With a password given, a name that is not protected takes as long as one that is.

        Raises: TooManyAttemptsError, PasswordFormatError, PasswordsBusyError.
        """
        subject = (company_id, name_key(name))
        while True:
            record = self._names.get(subject)
            if password_untrusted is None:
                return NameVerdict.FREE if record is None else NameVerdict.PASSWORD_REQUIRED
            password_hash = None if record is None else record.password_hash
            verification = await self._guarded.verify(
                subject, password_hash, password_untrusted, client=client
            )
            if self._names.get(subject) is not record:
                continue  # protected, changed or cleared while the password was compared: that answer is an old one
            if record is None:
                return NameVerdict.FREE
            if verification.renewed_hash is not None:
                self._renew(subject, record, verification.renewed_hash)
            return NameVerdict.RIGHT if verification.right else NameVerdict.WRONG

    async def protect(
        self, name_untrusted: str, password_untrusted: str, *, company_id: str = ""
    ) -> ProtectedName:
        """Protect a name, or give a protected one a new password; it holds at once, and durably on return.

        Raises: NameRefusedError, PasswordFormatError, PasswordsBusyError; StoreUnavailableError when it holds, but
        perhaps not after a restart.
        """
        name = _validated(name_untrusted)
        subject = (company_id, name_key(name))
        password_hash = await self._guarded.passwords.hash(password_untrusted)
        former = self._names.get(subject)
        if former is None and len(self._names) >= self._max_names:
            raise NameRefusedError(
                "at_capacity",
                f"{self._max_names} names are protected, more are not kept: clear some",
                field="name",
            )
        record = NameRecord(subject[1], name, password_hash, self._clock(), company_id)
        changes: list[Change] = [PutName(record)]
        if former is not None and former.key != record.key:
            changes.insert(0, DropName(company_id, former.key))
        self._names[subject] = record
        await self._store.commit(*changes)
        return ProtectedName(record.name, record.protected_at, company_id)

    async def clear(self, name: str, *, company_id: str = "") -> bool:
        """Free a name, durably on return; tells whether it was protected.

        Raises: StoreUnavailableError when it is free, but perhaps not after a restart: do it again then.
        """
        key = name_key(name)
        record = self._names.pop((company_id, key), None)
        # Dropped from the store even when it is not here: an earlier attempt may have got no further.
        keys = {key} if record is None else {key, record.key}
        await self._store.commit(*(DropName(company_id, each) for each in sorted(keys)))
        return record is not None

    async def clear_company(self, company_id: str) -> int:
        """Free all names of a company and return how many they were.

        Raises: as ``clear``.
        """
        subjects = [subject for subject in self._names if subject[0] == company_id]
        changes = [DropName(company_id, self._names.pop(subject).key) for subject in subjects]
        if changes:
            await self._store.commit(*changes)
        return len(changes)

    def _renew(self, subject: tuple[str, str], record: NameRecord, password_hash: str) -> None:
        # Not waited for: if it is lost, the old hash is as good as before and is renewed the next time.
        renewed = NameRecord(record.key, record.name, password_hash, record.protected_at, record.company_id)
        self._names[subject] = renewed
        self._store.submit(PutName(renewed))


def _validated(name_untrusted: str) -> str:
    try:
        name = _NAME.validate_python(name_untrusted)
    except ValidationError as error:
        raise NameRefusedError(
            "invalid_message", f"the name cannot be used: {error.errors()[0]['msg']}", field="name"
        ) from None
    if not name_key(name):
        raise NameRefusedError("invalid_message", "the name has no character that can be seen", field="name")
    return name
