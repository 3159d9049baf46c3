"""The parts of a running service, for the HTTP interface and for those who look on: health, info, metrics."""

import time
from dataclasses import dataclass, field

import relay
from signaling.access import Access
from signaling.address_limits import AddressLimits
from signaling.admission import Gate
from signaling.bots import BotService
from signaling.bus import Bus
from signaling.counters import Counters
from signaling.drain import Drain
from signaling.lobbies import Lobbies
from signaling.loop_lag import LoopLag
from signaling.readiness import Readiness
from signaling.sessions import Sessions
from signaling.settings import Settings
from signaling.storage import Store
from signaling.tracing.tracer import Tracer
from signaling.webhooks.deliveries import Webhooks


@dataclass(frozen=True, slots=True)
class Service:
    """See the module."""

    settings: Settings
    router: relay.Router
    bus: Bus
    lobbies: Lobbies
    sessions: Sessions
    counters: Counters
    store: Store
    access: Access
    gate: Gate
    bots: BotService
    address_limits: AddressLimits
    webhooks: Webhooks
    drain: Drain
    loop_lag: LoopLag
    readiness: Readiness
    tracer: Tracer
    started: float = field(default_factory=time.monotonic)

    @property
    def uptime_seconds(self) -> float:
        """How long the service has been running."""
        return time.monotonic() - self.started
