"""The parts of a running service, for those who look on: health, info, metrics. Nobody acts through it."""

import time
from dataclasses import dataclass, field

import relay
from signaling.auth import Companies, ProtectedNames
from signaling.bus import Bus
from signaling.counters import Counters
from signaling.lobbies import Lobbies
from signaling.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Service:
    """See the module."""

    router: relay.Router
    bus: Bus
    lobbies: Lobbies
    sessions: Sessions
    counters: Counters
    names: ProtectedNames
    companies: Companies
    started: float = field(default_factory=time.monotonic)

    @property
    def uptime_seconds(self) -> float:
        """How long the service has been running."""
        return time.monotonic() - self.started
