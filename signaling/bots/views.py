"""Bots and their providers as one is told of them: frozen, complete, of one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from signaling.bots.lifecycle import BotState, Ending, ProviderState


@dataclass(frozen=True, slots=True)
class BotView:
    """A bot: where it stands and why, and what it has done. Counters and seconds only grow."""

    bot_id: str
    lobby_id: str
    #: Name of the lobby.
    lobby: str
    #: Whose lobby it is; empty: nobody's.
    company_id: str
    #: Display name in the lobby.
    name: str
    state: BotState
    #: Why it is in this state, for people.
    reason: str
    #: How it ended, for programs; None until it is gone.
    ending: Ending | None
    #: Its provider, from the offer on; the last one when it is gone.
    provider_id: str | None
    provider: str | None
    #: Who it is in the lobby, while it is there.
    participant_id: str | None
    requested_by: str
    #: What its provider was told; may hold what is for those only who asked for it.
    config: Mapping[str, Any]
    requested_at: datetime
    #: Since when it is in this state.
    since: datetime
    #: When it was in its lobby for the first time.
    joined_at: datetime | None
    gone_at: datetime | None
    #: Providers that were asked.
    offers: int
    joins: int
    #: Lines of chat it wrote, and questions it answered.
    messages: int
    failures: int
    reassignments: int
    #: Time in the lobby, over all joins.
    active_seconds: float


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A provider: what it offers, how it is, and what it has done. Counters and seconds only grow."""

    provider_id: str
    #: Several may share one, and then share its work.
    name: str
    description: str
    #: Whose it is, and then it serves nobody else; empty: the operator's, for everybody.
    company_id: str
    state: ProviderState
    #: Why it is in this state, for people.
    reason: str
    capabilities: tuple[str, ...]
    capacity: int
    config_schema: Mapping[str, Any]
    #: Bots it has, by our count.
    bots: int
    #: How busy it says it is, from 0 to 1.
    load: float
    #: Whether it failed just now and is passed over for a while.
    cooling: bool
    registered_at: datetime
    offers: int
    accepted: int
    refused: int
    #: Offers it did not answer in time.
    expired: int
    joins: int
    messages: int
    #: Bots of it that failed: did not come, or crashed.
    failures: int
    #: Times its connection was lost.
    losses: int
    #: Time its bots were in lobbies, of those that are over.
    active_seconds: float


@dataclass(frozen=True, slots=True)
class BotsStatistics:
    """All bots and providers together, for metrics and health."""

    #: state -> how many are in it now; all states but *gone* are there.
    bots: Mapping[BotState, int]
    #: state -> how many providers are in it now.
    providers: Mapping[ProviderState, int]
    #: state -> how often bots entered it; only grows.
    entered: Mapping[BotState, int]
    #: ending -> how many bots ended so; only grows.
    endings: Mapping[Ending, int]
    reassignments: int
    #: Lines of chat and answers of all bots.
    messages: int
    #: Questions to bots that got no answer.
    unanswered: int
    #: Join tickets that were wrong, used, too late, or for another lobby.
    tickets_refused: int
