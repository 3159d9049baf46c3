"""What an operator can set: flags over environment (``RELAY_...``) over a file (``relay.toml``) over the defaults here.

``load_settings`` is the one way in; it turns a bad value into one line that names where it was given, the value and
what was expected. Nothing reads the environment after it.

A new setting is one entry of the table and, where bounds do not say it all, a validator. Its flag, its variable, its
place in ``docs/settings.md`` and in the example file follow from the entry.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from signaling.configuration.errors import SettingsError
from signaling.configuration.fields import (
    ENVIRONMENT_PREFIX,
    SecretUrl,
    Table,
    access,
    limit,
    log,
    media,
    network,
    service,
    storage,
    telephony,
)
from signaling.configuration.sources import DEFAULT_FILE, ENVIRONMENT_FILE, Given, gather, validate

__all__ = [
    "ENVIRONMENT_PREFIX",
    "IceServer",
    "Settings",
    "SettingsError",
    "TelephoneNumber",
    "WebhookTarget",
    "load_settings",
    "load_with_sources",
]

#: Keeps everything in memory and nothing beyond the process's end: for trials and tests.
MEMORY_DATABASE = "memory:"
DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")
DATABASE_FILE = "relay.sqlite3"

#: RFC 7518 section 3.2: a key for HS256 has at least the size of its hash.
TOKEN_SECRET_BYTES = 32
ADMIN_TOKEN_LENGTH = 16
WEBHOOK_SECRET_LENGTH = 16
TWILIO_TOKEN_LENGTH = 16
EXOTEL_PASSWORD_LENGTH = 8
#: Where calls meet that nothing else sends elsewhere.
DEFAULT_PHONE_LOBBY = "phone"

_DAYS = "a number of days from 1 to 36500, or 0: for ever"
_SECONDS = "seconds from 0 to 3600"

Port = Annotated[int, Field(ge=0, le=65_535)]
Days = Annotated[int, Field(ge=0, le=36_500)]


class IceServer(Table):
    """A STUN or TURN server that clients are told of (``RTCIceServer`` of the WebRTC specification)."""

    urls: tuple[Annotated[str, Field(pattern=r"^(stun|stuns|turn|turns):\S+$")], ...] = Field(
        min_length=1,
        description="addresses such as stun:stun.example.org:3478 or turn:turn.example.org",
        examples=[["stun:stun.example.org:3478"]],
    )
    username: str | None = Field(None, description="a name that the TURN server knows")
    credential: SecretStr | None = Field(None, description="the password of that name")

    @field_validator("urls", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class WebhookTarget(Table):
    """Where events are posted to."""

    url: str = Field(
        description="a URL such as https://example.org/hook", examples=["https://example.org/hook"]
    )
    secret: SecretStr = Field(
        min_length=WEBHOOK_SECRET_LENGTH,
        description=f"at least {WEBHOOK_SECRET_LENGTH} characters, with which deliveries are signed",
    )
    events: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="names of events; none: all of them"
    )

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _web_url(value)


class TelephoneNumber(Table):
    """A number that is called, and where its calls go."""

    number: str = Field(
        pattern=r"^\+?[0-9]{3,15}$",
        description="the called number as the provider writes it, such as +18005551212",
        examples=["+18005551212"],
    )
    lobby: str = Field(
        min_length=1,
        max_length=64,
        description="the lobby that its calls go to",
        examples=["support"],
    )


class Settings(BaseModel):
    """The effective settings of one server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = network(
        "0.0.0.0",  # noqa: S104 - a server listens
        "IP address to listen on, TCP and UDP",
        "an IP address to listen on, such as 0.0.0.0, :: or 127.0.0.1",
    )
    port: Port = network(
        8080, "TCP port of the page, the API and the WebSocket", "a TCP port, 0 to 65535 (0: any free one)"
    )
    udp_port: Port = network(
        40_000,
        "UDP port of the first media worker; the others follow it",
        "the first worker's UDP port, 0 to 65535 (0: any free ones); the others follow it",
    )
    public_address: tuple[str, ...] = network(
        (),
        "IP addresses at which clients reach this machine",
        "IP addresses that clients can reach, separated by commas",
        unset="the machine's own",
        examples=[["203.0.113.5"]],
    )
    allowed_origins: tuple[str, ...] = network(
        (),
        "origins of foreign pages that may connect",
        "origins such as https://example.org separated by commas, or * for any",
        flag="--allowed-origin",
        unset="only the server's own page",
        examples=[["https://example.org"]],
    )
    trusted_proxies: tuple[str, ...] = network(
        (),
        "proxies whose X-Forwarded-For is believed",
        "IP addresses or networks such as 10.0.0.0/8, separated by commas",
        flag="--trusted-proxy",
        unset="none",
        examples=[["10.0.0.0/8"]],
    )
    compression: bool = network(
        True, "compress large messages for clients that offer it", "true or false (permessage-deflate)"
    )
    stop_seconds: float = network(
        3.0, "how long clients may take to leave when the server stops", "seconds from 0 to 600", ge=0, le=600
    )

    workers: int | None = media(
        None,
        "media workers, one core each",
        "a number of workers from 1 to 64",
        unset="cores - 1",
        examples=[4],
        ge=1,
        le=64,
    )
    mixers: int | None = media(
        None,
        "threads that mix audio",
        "a number of threads from 1 to 64",
        unset="cores / 8, at least 1",
        examples=[2],
        ge=1,
        le=64,
    )
    max_peers: int | None = media(
        None,
        "clients with media at once; more are refused",
        "a number of clients that send or receive media, from 1 to 1000000",
        unset="as the tables hold",
        examples=[5_000],
        ge=1,
        le=1_000_000,
    )
    max_outbound_streams: int | None = media(
        None,
        "streams to subscribers beyond which no new client gets media",
        "a number of streams to subscribers, from 1 to 10000000",
        unset="as the tables hold",
        examples=[200_000],
        ge=1,
        le=10_000_000,
    )
    ice_servers: tuple[IceServer, ...] = media(
        (),
        "STUN and TURN servers that clients are told of",
        "tables with urls and, for TURN, username and credential (JSON in the environment)",
        unset="none: clients reach the relay directly",
    )

    max_connections: int = limit(
        1_000, "WebSockets at once", "a number of WebSockets from 1 to 1000000", ge=1, le=1_000_000
    )
    max_connections_per_address: int = limit(
        500,
        "connections at once from one address (IPv6: one /64 network)",
        "a number of connections from 1 to 1000000",
        ge=1,
        le=1_000_000,
    )
    resume_seconds: float = limit(30.0, "how long a session outlives its connection", _SECONDS, ge=0, le=3600)
    keepalive_seconds: float = limit(
        4.0,
        "how often a quiet client is asked whether it lives; the answer may take as long",
        "seconds above 0, at most 3600",
        gt=0,
        le=3600,
    )
    send_timeout_seconds: float = limit(
        10.0, "how long a client may take to accept a message", "seconds above 0, at most 3600", gt=0, le=3600
    )
    max_message_bytes: int = limit(
        512 * 1024,
        "size of a client's message",
        "a number of bytes from 1024 to 16777216",
        ge=1024,
        le=16 * 1024 * 1024,
    )
    send_queue_bytes: int = limit(
        4 * 1024 * 1024,
        "what may wait to be sent to one client before it is disconnected",
        "a number of bytes from 65536 to 1073741824",
        ge=65_536,
        le=1024**3,
    )

    api_requests_per_minute: int = limit(
        300,
        "HTTP requests of one address; companies have limits of their own",
        "a number of requests from 1 to 1000000",
        ge=1,
        le=1_000_000,
    )

    development: bool = access(
        False,
        "leave the admin API open to this machine when there is no admin_token",
        "true or false; for trials only",
    )
    admin_token: SecretStr | None = access(
        None,
        "the secret with which an administrator uses the admin API",
        f"at least {ADMIN_TOKEN_LENGTH} characters",
        unset="the admin API is closed",
        min_length=ADMIN_TOKEN_LENGTH,
    )
    token_secret: SecretStr | None = access(
        None,
        "the secret with which join tokens are signed (HS256)",
        f"at least {TOKEN_SECRET_BYTES} bytes",
        unset="no such tokens are taken",
    )
    token_key_file: Path | None = access(
        None,
        "the Ed25519 key of join tokens (EdDSA); with its public half only, tokens are accepted and none are made",
        "a file with an Ed25519 key in PEM form, not together with token_secret",
        examples=["token-key.pem"],
        unset="no such tokens are taken",
    )
    token_issuer: str | None = access(
        None, "what the claim iss of a join token must say", "a text", unset="not looked at", min_length=1
    )
    token_audience: str | None = access(
        None,
        "what the claim aud of a join token must contain",
        "a text",
        unset="not looked at",
        min_length=1,
    )
    token_leeway_seconds: float = access(
        30.0,
        "how far the clock of who makes join tokens may differ from ours",
        "seconds from 0 to 3600",
        ge=0,
        le=3600,
    )

    data_dir: Path = storage(
        Path("relay-data"), "directory of what the server keeps", "a directory the server may write to"
    )
    database: SecretUrl | None = storage(
        None,
        "where sessions, lobbies, chat, names, companies, events and the audit log are kept",
        "a URL: sqlite:////absolute/file, sqlite:///relative/file, postgresql://user:password@host/name, or memory: "
        "(kept until the process ends)",
        unset=f"SQLite in data_dir, {DATABASE_FILE}",
        examples=["postgresql://relay@localhost/relay"],
    )
    store_queue_changes: int = storage(
        10_000,
        "changes that may wait while the database does not answer",
        "a number of changes from 100 to 1000000",
        ge=100,
        le=1_000_000,
    )
    keep_events_days: Days = storage(7, "how long events are kept", _DAYS)
    keep_chat_days: Days = storage(90, "how long chat is kept", _DAYS)
    keep_audit_days: Days = storage(365, "how long the audit log is kept", _DAYS)

    webhooks: tuple[WebhookTarget, ...] = service(
        (),
        "where events are posted to, signed",
        "tables with url, secret and events (JSON in the environment)",
        unset="nowhere",
    )
    otlp_endpoint: str | None = service(
        None,
        "OpenTelemetry collector that gets traces, over HTTP",
        "a URL such as http://localhost:4318",
        also="OTEL_EXPORTER_OTLP_ENDPOINT",
        unset="no traces, unless OTEL_EXPORTER_OTLP_ENDPOINT is set",
        examples=["http://localhost:4318"],
    )

    telephony_public_url: str | None = telephony(
        None,
        "where providers of telephony reach this server: what they sign, and where they are sent",
        "a URL such as https://relay.example.org, with a path if a proxy takes one away",
        unset="https:// and the host that the request names",
        examples=["https://relay.example.org"],
    )
    telephony_lobby: str = telephony(
        DEFAULT_PHONE_LOBBY,
        "the lobby of calls to numbers that telephony_numbers does not name",
        "a name of 1 to 64 characters; {to} and {from} in it stand for the called and the calling number",
    )
    telephony_numbers: tuple[TelephoneNumber, ...] = telephony(
        (),
        "lobbies of certain called numbers",
        "tables with number and lobby (JSON in the environment)",
        unset="all calls go to telephony_lobby",
    )
    twilio_auth_token: SecretStr | None = telephony(
        None,
        "the auth token of the Twilio account, with which Twilio signs its requests",
        f"at least {TWILIO_TOKEN_LENGTH} characters: what Twilio's console calls the auth token",
        unset="calls by Twilio are refused",
        min_length=TWILIO_TOKEN_LENGTH,
    )
    exotel_user: str = telephony(
        "exotel",
        "the user name in the address that Exotel is given",
        "1 to 64 letters, digits, underscores or dashes",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
    )
    exotel_password: SecretStr | None = telephony(
        None,
        "the password in the address that Exotel is given",
        f"at least {EXOTEL_PASSWORD_LENGTH} characters",
        unset="calls by Exotel are refused",
        min_length=EXOTEL_PASSWORD_LENGTH,
    )

    twilio_bots: int = telephony(
        0,
        "bots written for Twilio Media Streams that may be in lobbies at once",
        "a number of bots from 0 to 1000 (0: none are taken)",
        ge=0,
        le=1000,
    )

    log_level: Literal["debug", "info", "warning", "error"] = log(
        "info", "what is logged", "debug, info, warning or error"
    )
    log_format: Literal["auto", "console", "json"] = log(
        "auto", "how it is logged", "auto, console or json (auto: console on a terminal)"
    )

    @property
    def database_url(self) -> str:
        """The URL of the database in use; it may hold a password."""
        if self.database is not None:
            return self.database.get_secret_value()
        return f"sqlite:///{(self.data_dir / DATABASE_FILE).absolute()}"

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic would take true for 1.
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError
        return value

    @field_validator("public_address", "allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return "127.0.0.1" if value == "localhost" else str(ip_address(value))

    @field_validator("public_address")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_address(part)) for part in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(part)) for part in value)

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            scheme, separator, rest = part.partition("://")
            if part != "*" and not (separator and scheme in {"http", "https"} and rest and "/" not in rest):
                raise ValueError
        return tuple(part.lower() for part in value)

    @field_validator("token_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < TOKEN_SECRET_BYTES:
            raise ValueError
        return value

    @field_validator("database")
    @classmethod
    def _database(cls, value: SecretUrl | None) -> SecretUrl | None:
        if value is None or value.get_secret_value() == MEMORY_DATABASE:
            return value
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme not in DATABASE_SCHEMES or not rest.strip("/"):
            raise ValueError
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        return None if value is None else _web_url(value)

    @field_validator("telephony_public_url")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(_web_url(value))
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError
        return value.rstrip("/")

    @field_validator("telephony_lobby")
    @classmethod
    def _lobby_template(cls, value: str) -> str:
        plain = value.replace("{to}", "").replace("{from}", "")
        if not value.strip() or len(value) > 64 or "{" in plain or "}" in plain:
            raise ValueError
        return value

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def load_settings(
    flags: Mapping[str, Any],
    environment_file: Path | None = ENVIRONMENT_FILE,
    default_file: Path | None = DEFAULT_FILE,
) -> Settings:
    """Return the effective settings; see ``load_with_sources``.

    Raises: SettingsError for the first bad value.
    """
    return load_with_sources(flags, environment_file, default_file)[0]


def load_with_sources(
    flags: Mapping[str, Any],
    environment_file: Path | None = ENVIRONMENT_FILE,
    default_file: Path | None = DEFAULT_FILE,
) -> tuple[Settings, Mapping[str, Given]]:
    """Return the effective settings, and what was given for those that are not as by default.

    ``flags`` holds what was given on the command line; None stands for nothing. Its ``config``, or RELAY_CONFIG, names
    the file; without them ``default_file`` is read if it exists.

    Raises: SettingsError for the first bad value.
    """
    given = gather(Settings, flags, environment_file=environment_file, default_file=default_file)
    return validate(Settings, given), given


def _web_url(value: str) -> str:
    parts = urlsplit(value)
    # Reading the port checks it.
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError
    if re.search(r"[\s\x00-\x1f]", value):
        raise ValueError
    return value
