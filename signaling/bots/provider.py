"""A bot provider: what it offers, how it is, and what it has done. A program outside, or a part of this one."""

from dataclasses import dataclass, field
from datetime import datetime

from signaling.bots.config_schema import ANY, ConfigSchema
from signaling.bots.lifecycle import ProviderState
from signaling.bots.views import ProviderView

#: After so many failures in a row the cool-down does not grow any more; keeps the power finite.
_MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """What a provider says of itself."""

    name: str
    description: str = ""
    #: Words by which it may be asked for.
    capabilities: tuple[str, ...] = ()
    #: Bots it runs at once.
    capacity: int = 1
    config_schema: ConfigSchema = ANY


@dataclass(slots=True)
class ProviderStatistics:
    """Counters; they only grow."""

    offers: int = 0
    accepted: int = 0
    refused: int = 0
    #: Offers it did not answer in time.
    expired: int = 0
    #: Bots of it that entered their lobby.
    joins: int = 0
    #: Bots of it that failed: did not come, or crashed.
    failures: int = 0
    #: Times its connection was lost.
    losses: int = 0
    #: Lines of chat its bots wrote.
    messages: int = 0
    #: Of all its bots that are over, together.
    active_seconds: float = 0.0


@dataclass(slots=True)
class Provider:
    """A provider as the core keeps it."""

    provider_id: str
    spec: ProviderSpec
    company_id: str
    #: SHA-256 of what it may come back with.
    token_digest: bytes
    registered_at: datetime
    heard_at: float
    #: Whether it must be heard of; a part of this program need not.
    has_heartbeat: bool = True
    state: ProviderState = ProviderState.READY
    reason: str = ""
    #: It gets no new bots, also when it comes back from being away.
    draining: bool = False
    away_until: float = 0.0
    load: float = 0.0
    #: Ids of the bots it has been offered and not yet been freed of.
    bots: set[str] = field(default_factory=set)
    #: Failures since it last did well.
    failures: int = 0
    cooling_until: float = 0.0
    offered_at: float = 0.0
    statistics: ProviderStatistics = field(default_factory=ProviderStatistics)

    @property
    def name(self) -> str:
        """Its name; several providers may share one, and then share its work."""
        return self.spec.name

    @property
    def full(self) -> bool:
        """Whether it can take no more, by our count or by its own word."""
        return len(self.bots) >= self.spec.capacity or self.load >= 1

    @property
    def pressure(self) -> float:
        """How busy it is, from 0 to 1: our own count is never late, its word knows more."""
        return max(len(self.bots) / self.spec.capacity, self.load)

    def serves(self, company_id: str) -> bool:
        """Whether it may be given bots of this company: its own, or anybody's if it is the operator's."""
        return self.company_id in {"", company_id}

    def note_failure(self, now: float, *, initial_seconds: float, maximum_seconds: float) -> None:
        """Let it cool down, the longer the more often it has failed in a row."""
        doublings = min(self.failures, _MAX_DOUBLINGS)
        self.failures += 1
        self.statistics.failures += 1
        self.cooling_until = now + min(initial_seconds * 2**doublings, maximum_seconds)

    def note_success(self) -> None:
        """Forget its failures."""
        self.failures = 0
        self.cooling_until = 0.0

    def view(self, now: float) -> ProviderView:
        """Return how it is now."""
        counted = {name: getattr(self.statistics, name) for name in ProviderStatistics.__slots__}
        return ProviderView(
            provider_id=self.provider_id,
            name=self.name,
            description=self.spec.description,
            company_id=self.company_id,
            state=self.state,
            reason=self.reason,
            capabilities=self.spec.capabilities,
            capacity=self.spec.capacity,
            config_schema=self.spec.config_schema.schema,
            bots=len(self.bots),
            load=self.load,
            cooling=self.cooling_until > now,
            registered_at=self.registered_at,
            **counted,
        )
