"""All providers, and the choice among them. No clock inside.

The least busy provider that fits is asked. One that just failed is passed over while it cools down, one that was tried
for this bot already is not asked again, and the one a bot was with before is taken for want of a better one only.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from signaling.bots.bot import Bot, BotRequest
from signaling.bots.deadlines import BotLimits, Deadlines
from signaling.bots.errors import BotCapacityError, BotConfigError, UnknownProviderError
from signaling.bots.lifecycle import ProviderState
from signaling.bots.provider import Provider

#: How much of a refusal is repeated in the reason of a bot that nobody took, and how many of them.
_MAX_REASON_LENGTH = 100
_MAX_REASONS = 3
#: Different config schemas that a request is compared with before it is believed that none fits.
_MAX_SCHEMAS = 5


class Fit(Enum):
    """Whether a provider of the right kind can take a bot now; the value is what people are told."""

    FITS = "fits"
    TRIED = "did not take it"
    DRAINING = "draining"
    AWAY = "not connected just now"
    FULL = "at capacity"
    COOLING = "cooling down after a failure"


#: What may be different in a moment.
_PASSING = frozenset({Fit.AWAY, Fit.FULL, Fit.COOLING})


@dataclass(frozen=True, slots=True)
class Choice:
    """The provider to ask; or why there is none, and whether to wait for one makes sense."""

    provider: Provider | None
    reason: str = ""
    hopeful: bool = False


class ProviderPool:
    """See the module."""

    def __init__(self, deadlines: Deadlines, limits: BotLimits) -> None:
        self._deadlines = deadlines
        self._limits = limits
        self._providers: dict[str, Provider] = {}
        self._by_token: dict[bytes, Provider] = {}

    def __len__(self) -> int:
        return len(self._providers)

    def __iter__(self) -> Iterator[Provider]:
        return iter(tuple(self._providers.values()))

    def __contains__(self, provider_id: object) -> bool:
        return provider_id in self._providers

    def get(self, provider_id: str) -> Provider:
        """Return the provider of this id.

        Raises: UnknownProviderError.
        """
        provider = self._providers.get(provider_id)
        if provider is None:
            raise UnknownProviderError(f"there is no provider {provider_id!r}: it may have left")
        return provider

    def find(self, token_digest: bytes) -> Provider | None:
        """Return the provider that may come back with this token."""
        return self._by_token.get(token_digest)

    def add(self, provider: Provider) -> None:
        """Let a provider be chosen.

        Raises: BotCapacityError.
        """
        if len(self._providers) >= self._limits.providers:
            raise BotCapacityError(f"there are {len(self._providers)} providers, as many as there may be")
        if provider.company_id:
            its = sum(other.company_id == provider.company_id for other in self)
            if its >= self._limits.providers_per_company:
                raise BotCapacityError(f"the company has {its} providers, as many as it may have")
        self._providers[provider.provider_id] = provider
        self._by_token[provider.token_digest] = provider

    def remove(self, provider: Provider) -> None:
        """Forget a provider."""
        del self._providers[provider.provider_id]
        del self._by_token[provider.token_digest]

    def check_config(self, request: BotRequest) -> None:
        """Return if some provider of the right kind takes the config, or there is none to ask.

        Raises: BotConfigError.
        """
        fault: BotConfigError | None = None
        refused: list[object] = []
        for provider in self._of_kind(request):
            schema = provider.spec.config_schema
            if schema.schema in refused:
                continue
            try:
                schema.check(request.config)
            except BotConfigError as error:
                fault = error
                refused.append(schema.schema)
            else:
                return
            if len(refused) == _MAX_SCHEMAS:
                break
        if fault is not None:
            raise fault

    def choose(self, bot: Bot, now: float) -> Choice:
        """Return whom to ask for this bot."""
        fits: Counter[Fit] = Counter()
        candidates: list[Provider] = []
        for provider in self._of_kind(bot.request):
            fit = _fit(provider, bot, now)
            fits[fit] += 1
            if fit is Fit.FITS:
                candidates.append(provider)
        # The config is looked at last, and of no more providers than need be: it costs the most.
        for provider in sorted(candidates, key=lambda provider: _rank(provider, bot)):
            if bot.offers_in_a_row >= self._limits.offers:
                return Choice(None, f"{_explain(bot, fits)}; it was offered {bot.offers_in_a_row} times")
            try:
                provider.spec.config_schema.check(bot.request.config)
            except BotConfigError as error:
                bot.tried[provider.provider_id] = f"{provider.name!r} cannot use the config: {error}"
            else:
                return Choice(provider)
        hopeful = not bot.tried or any(fits[fit] for fit in _PASSING)
        return Choice(None, _explain(bot, fits), hopeful)

    def has_room(self, now: float) -> bool:
        """Whether any provider could take a bot just now."""
        return any(
            each.state is ProviderState.READY and not each.full and each.cooling_until <= now
            for each in self._providers.values()
        )

    def note_failure(self, provider: Provider, now: float) -> None:
        """Let a provider that failed cool down."""
        provider.note_failure(
            now,
            initial_seconds=self._deadlines.cool_down_s,
            maximum_seconds=self._deadlines.max_cool_down_s,
        )

    def overdue(self, now: float) -> list[tuple[Provider, str]]:
        """Return the providers that are to be given up, and why."""
        found: list[tuple[Provider, str]] = []
        for provider in self._providers.values():
            if now < self._deadline(provider):
                continue
            away = provider.state is ProviderState.AWAY
            found.append(
                (
                    provider,
                    f"it did not come back within {self._deadlines.away_s:g} s"
                    if away
                    else f"no heartbeat for {self._deadlines.late_s:g} s",
                )
            )
        return found

    def next_timeout(self) -> float:
        """Return when a provider is overdue."""
        return min(map(self._deadline, self._providers.values()), default=math.inf)

    def next_recovery(self, now: float) -> float:
        """Return when a provider has cooled down."""
        return min(
            (each.cooling_until for each in self._providers.values() if each.cooling_until > now),
            default=math.inf,
        )

    def _deadline(self, provider: Provider) -> float:
        if provider.state is ProviderState.AWAY:
            return provider.away_until
        return provider.heard_at + self._deadlines.late_s if provider.has_heartbeat else math.inf

    def _of_kind(self, request: BotRequest) -> Iterator[Provider]:
        for provider in self._providers.values():
            if (
                provider.serves(request.company_id)
                and request.provider in {None, provider.name}
                and (request.capability is None or request.capability in provider.spec.capabilities)
            ):
                yield provider


def _fit(provider: Provider, bot: Bot, now: float) -> Fit:
    if provider.provider_id in bot.tried:
        return Fit.TRIED
    if provider.state is ProviderState.DRAINING:
        return Fit.DRAINING
    if provider.state is ProviderState.AWAY:
        return Fit.AWAY
    if provider.full:
        return Fit.FULL
    return Fit.COOLING if provider.cooling_until > now else Fit.FITS


def _rank(provider: Provider, bot: Bot) -> tuple[bool, float, float, str]:
    # The one that has waited longest among equals, so that work goes round.
    return (
        provider.provider_id == bot.former_provider_id,
        provider.pressure,
        provider.offered_at,
        provider.provider_id,
    )


def _explain(bot: Bot, fits: Counter[Fit]) -> str:
    request = bot.request
    wanted = "provider" if request.provider is None else f"provider named {request.provider!r}"
    if request.capability is not None:
        wanted += f" with the capability {request.capability!r}"
    if not fits and not bot.tried:
        return f"no {wanted} is registered"
    reasons = [reason[:_MAX_REASON_LENGTH] for reason in tuple(bot.tried.values())[-_MAX_REASONS:]]
    reasons += [
        f"{count} {'is' if count == 1 else 'are'} {fit.value}"
        for fit, count in sorted(fits.items(), key=lambda item: item[0].value)
        if fit not in {Fit.TRIED, Fit.FITS}
    ]
    return f"no {wanted} can take it: {'; '.join(reasons)}"
