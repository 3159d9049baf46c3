"""How much a company has at the moment and has done, counted against its limits.

The empty company id stands for everybody who belongs to none: unlimited, and counted like the others.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import trio

from signaling.auth.allowances import Allowances, Rate
from signaling.auth.company_limits import CompanyLimits
from signaling.auth.errors import CompanyError, CompanyLimitError


class Resource(Enum):
    """What a company has a number of at a time; the value names its limit."""

    SESSION = "max_sessions"
    LOBBY = "max_lobbies"
    PARTICIPANT = "max_participants"
    BOT = "max_bots"


#: resource -> how an error calls several.
PLURALS: dict[Resource, str] = {
    Resource.SESSION: "sessions",
    Resource.LOBBY: "lobbies",
    Resource.PARTICIPANT: "participants",
    Resource.BOT: "bots",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a company has now, and has done since the server started."""

    held: Mapping[Resource, int]
    messages: int
    #: limit -> how often it was met.
    refused: Mapping[str, int]


class _Counter:
    """The figures of one company, while they change."""

    __slots__ = ("held", "messages", "refused")

    def __init__(self) -> None:
        self.held: Counter[Resource] = Counter()
        self.messages = 0
        self.refused: Counter[str] = Counter()


class CompanyUsage:
    """See the module. ``limits_of`` gives the limits of a company that is known and enabled."""

    def __init__(self, limits_of: Callable[[str], CompanyLimits | None], *, max_companies: int) -> None:
        self._limits_of = limits_of
        self._counters: dict[str, _Counter] = {}
        self._messages = Allowances(max_companies)

    def of(self, company_id: str) -> Usage:
        """Return what a company has and has done."""
        counter = self._counters.get(company_id) or _Counter()
        held = {resource: counter.held[resource] for resource in Resource}
        return Usage(held, counter.messages, dict(counter.refused))

    def acquire(self, company_id: str, resource: Resource, *, limited: bool = True) -> None:
        """Count one more; each is to be released once. Without ``limited``, however many there are (after a restart).

        Raises: CompanyLimitError, or CompanyError ``company_unknown`` for one that is gone or disabled; then nothing
        is counted.
        """
        if limited and company_id:
            limits = self._limits_of(company_id)
            if limits is None:
                raise CompanyError("company_unknown", "the company is not known here, or is disabled")
            allowed: int = getattr(limits, resource.value)
            counter = self._counter(company_id)
            if counter.held[resource] >= allowed:
                counter.refused[resource.value] += 1
                raise CompanyLimitError(
                    resource.value,
                    allowed,
                    f"the company may have {allowed} {PLURALS[resource]} at a time and has them: "
                    f"end some, or ask for a higher {resource.value}",
                )
        self._counter(company_id).held[resource] += 1

    def release(self, company_id: str, resource: Resource) -> None:
        """Count one less."""
        counter = self._counter(company_id)
        assert counter.held[resource] > 0, f"{resource} of {company_id!r} released more often than acquired"
        counter.held[resource] -= 1

    def take_message(self, company_id: str) -> bool:
        """Count a request over a WebSocket, and tell whether the company may make it now."""
        limits = self._limits_of(company_id) if company_id else None
        if company_id and limits is None:
            return False
        counter = self._counter(company_id)
        counter.messages += 1
        if limits is None:
            return True
        rate = Rate(limits.messages_per_second, limits.messages_per_second)
        allowed = self._messages.take(company_id, rate, trio.current_time()).allowed
        if not allowed:
            counter.refused["messages_per_second"] += 1
        return allowed

    def forget(self, company_id: str) -> None:
        """Drop the figures of a company that was deleted and has nothing left; what is still held stays counted."""
        counter = self._counters.get(company_id)
        if counter is not None and not counter.held.total():
            del self._counters[company_id]

    def _counter(self, company_id: str) -> _Counter:
        return self._counters.setdefault(company_id, _Counter())
