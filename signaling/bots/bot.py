"""One bot, from the request for it to its end: what was asked for, where it stands, what it did."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from signaling.bots.lifecycle import BotState, Ending
from signaling.bots.views import BotView


@dataclass(frozen=True, slots=True)
class BotRequest:
    """Somebody wants a bot in a lobby. Either ``provider`` or ``capability`` says which; both together narrow it down."""

    lobby_id: str
    lobby: str
    #: Whose lobby it is.
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
    #: The same key, from the same company: the same request, made once.
    idempotency_key: str | None = None

    def is_same_as(self, other: "BotRequest") -> bool:
        """Whether both ask for the same thing, whoever asked."""
        mine, theirs = (
            tuple(getattr(each, name) for name in BotRequest.__slots__ if name != "requested_by")
            for each in (self, other)
        )
        return mine == theirs


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
    """A bot as the core keeps it. Times are the core's, in seconds."""

    bot_id: str
    request: BotRequest
    requested_at: datetime
    #: The core's time at ``requested_at``.
    requested_time: float
    state: BotState = BotState.REQUESTED
    since: float = 0.0
    reason: str = ""
    ending: Ending | None = None
    #: When something must have happened; none while it is active or gone.
    deadline: float = math.inf
    #: Its provider, from the offer on; the last one when it is gone.
    provider_id: str | None = None
    provider_name: str | None = None
    #: SHA-256 of the ticket of the present offer; None when it has been used or is void.
    ticket_digest: bytes | None = None
    #: The session that used the ticket and is on its way in.
    holder: str | None = None
    participant_id: str | None = None
    active_since: float | None = None
    first_joined: float | None = None
    #: Somebody asked for its end; then nothing brings it back.
    stop_reason: str | None = None
    #: provider id -> why it was passed over since the bot last was active.
    tried: dict[str, str] = field(default_factory=dict)
    #: Offers made since then.
    offers_in_a_row: int = 0
    #: Provider it had been with, to be taken again only for want of a better one.
    former_provider_id: str | None = None
    #: Reassignments since it last did well.
    reassigned_in_a_row: int = 0
    # Counters; they only grow.
    offers: int = 0
    joins: int = 0
    messages: int = 0
    failures: int = 0
    reassignments: int = 0
    #: Time in the lobby, over all stays that have ended.
    active_seconds: float = 0.0

    @property
    def name(self) -> str:
        """Its display name."""
        return self.request.name or self.provider_name or "bot"

    def begin_anew(self) -> None:
        """Forget whom it was offered to."""
        self.tried.clear()
        self.offers_in_a_row = 0

    def view(self, now: float) -> BotView:
        """Return how it is now."""
        request = self.request
        staying = 0.0 if self.active_since is None else now - self.active_since
        return BotView(
            bot_id=self.bot_id,
            lobby_id=request.lobby_id,
            lobby=request.lobby,
            company_id=request.company_id,
            name=self.name,
            state=self.state,
            reason=self.reason,
            ending=self.ending,
            provider_id=self.provider_id,
            provider=self.provider_name,
            participant_id=self.participant_id,
            requested_by=request.requested_by,
            config=request.config,
            requested_at=self.requested_at,
            since=self._at(self.since),
            joined_at=None if self.first_joined is None else self._at(self.first_joined),
            gone_at=self._at(self.since) if self.state is BotState.GONE else None,
            offers=self.offers,
            joins=self.joins,
            messages=self.messages,
            failures=self.failures,
            reassignments=self.reassignments,
            active_seconds=self.active_seconds + staying,
        )

    def ticket(self) -> BotTicket:
        """Return what its ticket is good for."""
        request = self.request
        return BotTicket(self.bot_id, request.lobby_id, request.lobby, request.company_id, self.name)

    def _at(self, time: float) -> datetime:
        return self.requested_at + timedelta(seconds=time - self.requested_time)
