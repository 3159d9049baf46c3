"""Where webhooks go, and what goes there: the operator's settings, checked."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from signaling.event_types import event_types
from signaling.outbound.errors import TargetRefusedError
from signaling.outbound.target import check_url
from signaling.settings import WebhookTarget
from signaling.webhooks.signature import signing_key

MAX_ENDPOINTS = 100
#: The current secret and those it replaces.
MAX_SECRETS = 3


class WebhookConfigurationError(Exception):
    """An endpoint is described wrongly; the text is one line that names the fault."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """One receiver. It hears all events that are not passing states, or those in ``types``."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    types: frozenset[str] = frozenset()

    @property
    def endpoint_id(self) -> str:
        """What the endpoint is called in logs and metrics, for its URL may be a secret: the same as long as that is."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:12]

    def wants(self, event_type: str, *, passing: bool) -> bool:
        """Tell whether an event goes here; ``passing`` says that it tells a passing state (``Event.latest_by``)."""
        return event_type in self.types if self.types else not passing


def webhook_endpoints(targets: Iterable[WebhookTarget]) -> tuple[WebhookEndpoint, ...]:
    """Return the endpoints that the settings name. Call it when all modules that define events are imported.

    ``secret`` may hold several, separated by blanks: each signs, so that one can be replaced without a gap.

    Raises: WebhookConfigurationError.
    """
    endpoints = tuple(_endpoint(target) for target in targets)
    if len(endpoints) > MAX_ENDPOINTS:
        raise WebhookConfigurationError(
            f"webhooks: there are {len(endpoints)}; expected at most {MAX_ENDPOINTS}"
        )
    if len({each.url for each in endpoints}) < len(endpoints):
        raise WebhookConfigurationError("webhooks: two have the same url; put their events together")
    return endpoints


def _endpoint(target: WebhookTarget) -> WebhookEndpoint:
    shown = f"webhooks: {_shown(target.url)}"
    secrets = tuple(target.secret.get_secret_value().split())
    try:
        check_url(target.url, trusted=True)
        for secret in secrets:
            signing_key(secret)
    except (TargetRefusedError, ValueError) as error:
        raise WebhookConfigurationError(f"{shown}: {error}") from None
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise WebhookConfigurationError(f"{shown}: expected 1 to {MAX_SECRETS} secrets, separated by blanks")
    unknown = sorted(set(target.events) - event_types())
    if unknown:
        known = ", ".join(sorted(event_types()))
        raise WebhookConfigurationError(
            f"{shown}: there are no events of the type {unknown[0]!r}; expected some of {known}"
        )
    return WebhookEndpoint(target.url, secrets, frozenset(target.events))


def _shown(url: str) -> str:
    """Return the URL without what may be secret in it."""
    scheme, separator, rest = url.partition("://")
    return repr(f"{scheme}{separator}{rest.partition('/')[0].rpartition('@')[2]}"[:100])
