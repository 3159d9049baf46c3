"""Where webhooks go, what goes there, and how it is written in the settings."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from signaling.event_mapping import company_of, lobby_of
from signaling.event_types import event_types
from signaling.outbound_errors import TargetRefusedError
from signaling.outbound_target import check_url
from signaling.webhook_signature import signing_key

MAX_ENDPOINTS = 100
#: The current secret and those it replaces.
MAX_SECRETS = 3
#: An event with one of these fields is about a bot.
_BOT_FIELDS = ("bot_id", "provider_id")


class WebhookConfigurationError(Exception):
    """An endpoint is described wrongly; the text is one line that names the fault."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """One receiver. It hears all events about lobbies and bots that are not passing states, or those in ``types``."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    types: frozenset[str] = frozenset()
    #: Only this company's events; None: everybody's.
    company_id: str | None = None
    #: Private addresses are fine: the operator chose the URL, or allowed them.
    trusted: bool = False

    @property
    def endpoint_id(self) -> str:
        """What the endpoint is called in delivery ids and metrics: the same as long as URL and company are."""
        name = f"{self.company_id or ''}\n{self.url}"
        return hashlib.sha256(name.encode()).hexdigest()[:12]

    def wants(self, event_type: str, data: Mapping[str, Any], *, passing: bool) -> bool:
        """Tell whether an event goes here; ``passing`` says that it tells a passing state."""
        if self.company_id is not None and self.company_id != company_of(data):
            return False
        if self.types:
            return event_type in self.types
        return not passing and (lobby_of(data) is not None or any(data.get(each) for each in _BOT_FIELDS))


def make_endpoint(
    *,
    url: str,
    secrets: tuple[str, ...],
    types: frozenset[str] = frozenset(),
    company_id: str | None = None,
    trusted: bool = False,
) -> WebhookEndpoint:
    """Return the endpoint, checked.

    Raises: WebhookConfigurationError.
    """
    try:
        check_url(url, trusted=trusted)
        for secret in secrets:
            signing_key(secret)
    except (TargetRefusedError, ValueError) as error:
        raise WebhookConfigurationError(f"webhook {_shown(url)}: {error}") from None
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise WebhookConfigurationError(f"webhook {_shown(url)}: expected 1 to {MAX_SECRETS} secrets")
    unknown = sorted(types - event_types())
    if unknown:
        known = ", ".join(sorted(event_types()))
        raise WebhookConfigurationError(
            f"webhook {_shown(url)}: there are no events of the type {unknown[0]!r}; expected some of {known}"
        )
    return WebhookEndpoint(url, secrets, types, company_id, trusted)


def parse_endpoints(text: str) -> tuple[WebhookEndpoint, ...]:
    """Return the endpoints that the setting describes: a JSON list of objects with ``url`` and ``secret``.

    Raises: WebhookConfigurationError.
    """
    try:
        described = _ENDPOINTS.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(str(step) for step in fault["loc"]) or "webhooks"
        raise WebhookConfigurationError(f"webhooks: `{path}`: {fault['msg']}") from None
    endpoints = tuple(
        make_endpoint(
            url=each.url,
            secrets=each.secret,
            types=frozenset(each.types),
            company_id=each.company,
            trusted=True,
        )
        for each in described
    )
    if len({each.endpoint_id for each in endpoints}) < len(endpoints):
        raise WebhookConfigurationError(
            "webhooks: two have the same URL and company; put their types together"
        )
    return endpoints


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Described(BaseModel):
    """An endpoint as the settings have it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    #: One, or the current one and those it replaces.
    secret: Annotated[tuple[str, ...], BeforeValidator(_listed)]
    types: tuple[str, ...] = ()
    company: str | None = None

    @field_validator("company")
    @classmethod
    def _not_empty(cls, value: str | None) -> str | None:
        if value == "":
            raise ValueError("leave it out to hear the events of all companies")
        return value


_ENDPOINTS = TypeAdapter(Annotated[tuple[_Described, ...], Field(max_length=MAX_ENDPOINTS)])


def _shown(url: str) -> str:
    """Return the URL without what may be secret in it."""
    scheme, separator, rest = url.partition("://")
    return repr(f"{scheme}{separator}{rest.partition('/')[0].rpartition('@')[2]}"[:100])
