"""What happens to bots and their providers, for the bus. Each step of a bot's life is one event, with its reason."""

from dataclasses import dataclass, field

from signaling.bots.lifecycle import BotState
from signaling.events import Event, LobbyEvent


@dataclass(frozen=True, slots=True)
class BotEvent(LobbyEvent):
    """Base of what happens to a bot. ``provider_id`` is empty while it has none."""

    bot_id: str
    provider_id: str
    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class BotRequested(BotEvent):
    """Somebody asked for a bot, or it needs another provider; the reason says which."""

    requested_by: str


@dataclass(frozen=True, slots=True)
class BotOffered(BotEvent):
    """A provider was asked to run it."""


@dataclass(frozen=True, slots=True)
class BotJoining(BotEvent):
    """The provider said yes."""


@dataclass(frozen=True, slots=True)
class BotActive(BotEvent):
    """It is in the lobby."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class BotLeaving(BotEvent):
    """It was asked to leave, or has left."""


@dataclass(frozen=True, slots=True)
class BotGone(BotEvent):
    """It is over; ``ending`` says how in one word."""

    ending: str


@dataclass(frozen=True, slots=True)
class BotReassigned(BotEvent):
    """A bot that was active is looking for another provider; precedes its ``BotRequested``."""

    #: How often that has happened to it, this time included.
    reassignments: int


@dataclass(frozen=True, slots=True)
class ProviderEvent(Event):
    """Base of what happens to a provider. ``company_id`` is empty for those of the operator."""

    provider_id: str
    provider: str
    company_id: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class ProviderRegistered(ProviderEvent):
    """It may be given bots."""

    capabilities: tuple[str, ...]
    capacity: int


@dataclass(frozen=True, slots=True)
class ProviderAway(ProviderEvent):
    """Its connection was lost; it may come back for a while."""

    reason: str


@dataclass(frozen=True, slots=True)
class ProviderResumed(ProviderEvent):
    """It is back, with its bots."""


@dataclass(frozen=True, slots=True)
class ProviderDraining(ProviderEvent):
    """It gets no new bots; those it has finish."""

    reason: str


@dataclass(frozen=True, slots=True)
class ProviderGone(ProviderEvent):
    """It is not registered any more."""

    reason: str


#: state -> the event of entering it.
STATE_EVENTS: dict[BotState, type[BotEvent]] = {
    BotState.REQUESTED: BotRequested,
    BotState.OFFERED: BotOffered,
    BotState.JOINING: BotJoining,
    BotState.ACTIVE: BotActive,
    BotState.LEAVING: BotLeaving,
    BotState.GONE: BotGone,
}
