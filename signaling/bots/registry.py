"""The life of bot providers, as ``core.py`` is that of bots: no clock, socket or task; what to do comes out.

A provider registers, and is heard of regularly. When its connection is lost it is *away*: it may come back with its
token, and its bots go on meanwhile, for they have connections of their own. When it stays away, or was not heard of,
it is gone, and its bots are given to others. Who says goodbye is gone at once. One that drains gets no new bots.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime

from signaling.bots import events
from signaling.bots.core import BotCore
from signaling.bots.deadlines import Deadlines
from signaling.bots.ledger import digest
from signaling.bots.lifecycle import ProviderState
from signaling.bots.outputs import DropProvider, Output, Publish, SendDrain, SendStop
from signaling.bots.pool import ProviderPool
from signaling.bots.provider import Provider, ProviderSpec


class Registry:
    """See the module. Each method is one step, as the core's are."""

    def __init__(
        self,
        *,
        pool: ProviderPool,
        core: BotCore,
        outputs: deque[Output],
        deadlines: Deadlines,
        new_id: Callable[[str], str],
        new_secret: Callable[[], str],
    ) -> None:
        self._pool = pool
        self._core = core
        self._outputs = outputs
        self._deadlines = deadlines
        self._new_id = new_id
        self._new_secret = new_secret

    def next_timeout(self) -> float:
        """Return when ``handle_timeout`` is due."""
        return self._pool.next_timeout()

    def handle_timeout(self, now: float) -> None:
        """Give up the providers that did not come back, or were not heard of."""
        for provider, reason in self._pool.overdue(now):
            self.remove(provider, reason, now)

    def register(
        self,
        spec: ProviderSpec,
        company_id: str,
        now: float,
        at: datetime,
        *,
        has_heartbeat: bool = True,
        running: frozenset[str] = frozenset(),
    ) -> tuple[Provider, str]:
        """Let a provider be given bots; return it and the token that it may come back with.

        ``running`` are bots it has from before: they are none of ours, and it is told to stop them.

        Raises: BotCapacityError.
        """
        token = self._new_secret()
        provider = Provider(
            provider_id=self._new_id("v"),
            spec=spec,
            company_id=company_id,
            token_digest=digest(token),
            registered_at=at,
            heard_at=now,
            has_heartbeat=has_heartbeat,
            reason="it registered",
        )
        self._pool.add(provider)
        self._publish(
            provider,
            events.ProviderRegistered,
            capabilities=spec.capabilities,
            capacity=spec.capacity,
        )
        for bot_id in sorted(running):
            self._outputs.append(
                SendStop(provider.provider_id, bot_id, "it is not known here any more, or another's")
            )
        self._core.place_waiting(now)
        return provider, token

    def restore(
        self, provider_id: str, name: str, company_id: str, token_digest: bytes, now: float, at: datetime
    ) -> Provider:
        """Return the provider of before a restart, which is away and may come back."""
        if provider_id in self._pool:
            return self._pool.get(provider_id)
        provider = Provider(
            provider_id=provider_id,
            spec=ProviderSpec(name),
            company_id=company_id,
            token_digest=token_digest,
            registered_at=at,
            heard_at=now,
            state=ProviderState.AWAY,
            reason="the server started again",
            away_until=now + self._deadlines.restart_s,
        )
        self._pool.add(provider)
        return provider

    def find(self, token_untrusted: str, company_id: str) -> Provider | None:
        """Return the provider of this token and company, if it may come back."""
        provider = self._pool.find(digest(token_untrusted))
        return provider if provider is not None and provider.company_id == company_id else None

    def resume(self, provider: Provider, spec: ProviderSpec, running: frozenset[str], now: float) -> None:
        """Let a provider be back, as it describes itself now, with the bots that it still has."""
        provider.heard_at = now
        provider.spec = spec
        if provider.state is ProviderState.AWAY:
            provider.state = ProviderState.DRAINING if provider.draining else ProviderState.READY
            provider.reason = "it came back"
            self._publish(provider, events.ProviderResumed)
        if provider.state is ProviderState.DRAINING:
            self._outputs.append(SendDrain(provider.provider_id, "it was draining before"))
        self._core.compare(provider, running, now)

    def hear(self, provider: Provider, now: float, load: float | None = None) -> None:
        """Note that a provider lives, and how busy it says it is."""
        provider.heard_at = now
        if load is not None and load != provider.load:
            provider.load = load
            self._core.place_waiting(now)

    def drain(self, provider: Provider, reason: str) -> None:
        """Give a provider no new bots; those it has finish."""
        if provider.state is ProviderState.DRAINING or provider.draining:
            return
        provider.draining = True
        if provider.state is ProviderState.READY:
            provider.state = ProviderState.DRAINING
        provider.reason = reason
        self._publish(provider, events.ProviderDraining, reason=reason)
        self._outputs.append(SendDrain(provider.provider_id, reason))

    def lose(self, provider: Provider, reason: str, now: float) -> None:
        """Note that a provider's connection is gone; it may come back."""
        if provider.state is ProviderState.AWAY:
            return
        provider.state = ProviderState.AWAY
        provider.reason = reason
        provider.away_until = now + self._deadlines.away_s
        provider.statistics.losses += 1
        self._publish(provider, events.ProviderAway, reason=reason)
        self._core.lose(provider, now)

    def remove(self, provider: Provider, reason: str, now: float) -> None:
        """Forget a provider, and give its bots to others."""
        self._pool.remove(provider)
        provider.state = ProviderState.GONE
        provider.reason = reason
        self._publish(provider, events.ProviderGone, reason=reason)
        self._outputs.append(DropProvider(provider.provider_id, reason))
        self._core.abandon(provider, reason, now)
        provider.bots.clear()

    def _publish(self, provider: Provider, kind: Callable[..., events.ProviderEvent], **more: object) -> None:
        event = kind(
            provider_id=provider.provider_id,
            provider=provider.name,
            company_id=provider.company_id,
            **more,
        )
        self._outputs.append(Publish(event))
