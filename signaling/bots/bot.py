"""One bot, from the request for it to its end: what was asked for, where it stands, what it did."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from signaling.bots.lifecycle import BotState, Ending


@dataclass(frozen=True, slots=True)
class BotRequest:
    """Somebody wants a bot in a lobby. Either ``provider`` or ``capability`` says which; both together narrow it down."""

    lobby_id: str
    lobby: str
    company_id: str = ""
    #: Name of the provider.
    provider: str | None = None
    #: A word among the provider's capabilities.
    capability: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    #: Display name in the lobby; None: the provider's name.
    name: str | None = None
    #: Who wants it, for events and people.
    requested_by: str = ""
    #: Whether another provider shall take it over when its own fails, and how often.
    reassign: bool = True
    max_reassignments: int = 3
    #: The same key, from the same company: the same request, made once.
    idempotency_key: str | None = None

    def is_same_as(self, other: "BotRequest") -> bool:
        """Whether both ask for the same thing, whoever asked."""
        mine, theirs = (
            tuple(getattr(each, name) for name in BotRequest.__slots__ if name != "requested_by")
            for each in (self, other)
        )
        return mine == theirs


@dataclass(slots=True)
class BotStatistics:
    """Counters; they only grow."""

    offers: int = 0
    joins: int = 0
    messages: int = 0
    failures: int = 0
    reassignments: int = 0
    #: Time in the lobby, over all joins.
    active_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BotInfo:
    """A bot as one is told of it."""

    bot_id: str
    lobby_id: str
    lobby: str
    company_id: str
    name: str
    state: BotState
    #: Why it is in this state.
    reason: str
    #: Set once it is gone.
    ending: Ending | None
    provider_id: str | None
    provider: str | None
    participant_id: str | None
    requested_by: str
    requested_at: datetime
    config: Mapping[str, Any]
    statistics: BotStatistics


@dataclass(frozen=True, slots=True)
class BotTicket:
    """What a join ticket is good for: one bot's entry into one lobby, once."""

    bot_id: str
    lobby_id: str
    lobby: str
    company_id: str
    name: str


@dataclass(slots=True)
class Bot:
    """A bot as the core keeps it."""

    bot_id: str
    request: BotRequest
    requested_at: datetime
    state: BotState = BotState.REQUESTED
    reason: str = ""
    ending: Ending | None = None
    #: When something must have happened; none while it is active or gone.
    deadline: float = math.inf
    #: Its provider, from the offer on; the last one when it is gone.
    provider_id: str | None = None
    provider_name: str | None = None
    #: SHA-256 of the ticket of the present offer; None when it has been used or is void.
    ticket_digest: bytes | None = None
    #: The ticket was used, and its bot is on its way in; the session that used it.
    redeemed: bool = False
    holder: str = ""
    participant_id: str | None = None
    active_since: float | None = None
    #: Somebody asked for its end; then nothing brings it back.
    stop_reason: str | None = None
    #: provider id -> why it was passed over since the bot last was active.
    tried: dict[str, str] = field(default_factory=dict)
    #: Provider it had been with, to be taken again only for want of a better one.
    former_provider_id: str | None = None
    statistics: BotStatistics = field(default_factory=BotStatistics)

    @property
    def name(self) -> str:
        """Its display name."""
        return self.request.name or self.provider_name or "bot"

    def info(self, now: float) -> BotInfo:
        """Return how it is now."""
        counted = {name: getattr(self.statistics, name) for name in BotStatistics.__slots__}
        if self.active_since is not None:
            counted["active_seconds"] += now - self.active_since
        return BotInfo(
            bot_id=self.bot_id,
            lobby_id=self.request.lobby_id,
            lobby=self.request.lobby,
            company_id=self.request.company_id,
            name=self.name,
            state=self.state,
            reason=self.reason,
            ending=self.ending,
            provider_id=self.provider_id,
            provider=self.provider_name,
            participant_id=self.participant_id,
            requested_by=self.request.requested_by,
            requested_at=self.requested_at,
            config=self.request.config,
            statistics=BotStatistics(**counted),
        )

    def ticket(self) -> BotTicket:
        """Return what its ticket is good for."""
        request = self.request
        return BotTicket(self.bot_id, request.lobby_id, request.lobby, request.company_id, self.name)
