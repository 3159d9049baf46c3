"""What the core wants done: it does nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from signaling.events import Event


@dataclass(frozen=True, slots=True)
class Offer:
    """A bot, as a provider is asked to run it. ``ticket`` is a secret, good for one entry before the deadline."""

    bot_id: str
    lobby: str
    lobby_id: str
    company_id: str
    name: str
    config: Mapping[str, Any]
    ticket: str
    #: To accept or refuse; then, for the bot to be in the lobby.
    deadline_s: float
    join_s: float


@dataclass(frozen=True, slots=True)
class SendOffer:
    """Ask a provider."""

    provider_id: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class SendStop:
    """Tell a provider to end a bot; it may know nothing of it."""

    provider_id: str
    bot_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SendDrain:
    """Tell a provider that it gets no new bots."""

    provider_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DropProvider:
    """End the connection of a provider that is not registered any more."""

    provider_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expel:
    """Take a participant out of its lobby; it may be gone already."""

    lobby_id: str
    participant_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell the bus."""

    event: Event


Output = SendOffer | SendStop | SendDrain | DropProvider | Expel | Publish
