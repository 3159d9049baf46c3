"""What an operator can set: flags over environment (``RELAY_...``) over the file ``.env`` over the defaults here.

``load_settings`` is the one way in; it turns a bad value into one line that names the setting, the value and
what was expected. Nothing reads the environment after it.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENVIRONMENT_PREFIX = "RELAY_"
ENVIRONMENT_FILE = Path(".env")

Port = Annotated[int, Field(ge=0, le=65_535)]


class Settings(BaseSettings):
    """The effective settings of one server. The descriptions are what an error calls "expected"."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, extra="ignore", frozen=True, env_ignore_empty=True
    )

    host: str = Field("0.0.0.0", description="an IP address to listen on, such as 0.0.0.0, :: or 127.0.0.1")  # noqa: S104 - a server listens
    port: Port = Field(8080, description="a TCP port, 0 to 65535 (0: any free one)")
    udp_port: Port = Field(
        40_000, description="the first worker's UDP port, 0 to 65535 (0: any free ones); the others follow it"
    )
    workers: int | None = Field(None, ge=1, le=64, description="a number of workers from 1 to 64")
    public_address: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="IP addresses that clients can reach, separated by commas"
    )
    max_connections: int = Field(
        10_000, ge=1, le=1_000_000, description="a number of WebSockets from 1 to 1000000"
    )
    max_peers: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="a number of clients that send or receive media, from 1 to 1000000",
    )
    max_outbound_streams: int | None = Field(
        None, ge=1, le=10_000_000, description="a number of streams to subscribers, from 1 to 10000000"
    )
    resume_seconds: float = Field(30.0, ge=0, le=3600, description="seconds from 0 to 3600")
    keepalive_seconds: float = Field(4.0, gt=0, le=3600, description="seconds above 0, at most 3600")
    send_timeout_seconds: float = Field(10.0, gt=0, le=3600, description="seconds above 0, at most 3600")
    max_message_bytes: int = Field(
        512 * 1024, ge=1024, le=16 * 1024 * 1024, description="a number of bytes from 1024 to 16777216"
    )
    send_queue_bytes: int = Field(
        4 * 1024 * 1024, ge=65_536, le=1024**3, description="a number of bytes from 65536 to 1073741824"
    )
    stop_seconds: float = Field(3.0, ge=0, le=600, description="seconds from 0 to 600")
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origins such as https://example.org separated by commas, or * for any"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto, console or json (auto: console on a terminal)"
    )

    @field_validator("public_address", "allowed_origins", mode="before")
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

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            scheme, separator, rest = part.partition("://")
            if part != "*" and not (separator and scheme in {"http", "https"} and rest and "/" not in rest):
                raise ValueError
        return tuple(part.lower() for part in value)

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class SettingsError(Exception):
    """A setting has a bad value; the text is one line for the operator."""


def load_settings(flags: Mapping[str, Any], environment_file: Path | None = ENVIRONMENT_FILE) -> Settings:
    """Return the effective settings; ``flags`` holds only what was given on the command line.

    Raises: SettingsError for the first bad value.
    """
    try:
        return Settings(**{"_env_file": environment_file, **flags})
    except ValidationError as error:
        raise SettingsError(_describe(error, flags)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {environment_file}: {error}") from None


def _describe(error: ValidationError, flags: Mapping[str, Any]) -> str:
    fault = error.errors(include_url=False)[0]
    name = str(fault["loc"][0]).lower().removeprefix(ENVIRONMENT_PREFIX.lower())
    given = flags[name] if name in flags else fault["input"]
    if isinstance(given, list | tuple):
        given = ",".join(str(part) for part in given)
    source = "--" + name.replace("_", "-") if name in flags else ENVIRONMENT_PREFIX + name.upper()
    expected = Settings.model_fields[name].description
    return f"{source}: {str(given)[:100]!r} is not valid; expected {expected}"
