"""What a company may have and do."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from signaling.auth.errors import CompanyError
from signaling.messages.model import WHOLE

Limit = Annotated[StrictInt, Field(ge=0, le=1_000_000), WHOLE]
PerTime = Annotated[StrictInt, Field(ge=1, le=1_000_000), WHOLE]


class CompanyLimits(BaseModel):
    """See the module. The defaults are for a company nobody has thought about yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_sessions: Limit = Field(default=1000, description="sessions at a time, bots among them")
    max_lobbies: Limit = Field(default=100, description="lobbies at a time, persistent ones among them")
    max_participants: Limit = Field(
        default=1000, description="participants at a time, in all lobbies together"
    )
    max_bots: Limit = Field(default=50, description="bots at a time")
    messages_per_second: PerTime = Field(
        default=500, description="requests over WebSockets, of all sessions together"
    )
    requests_per_minute: PerTime = Field(
        default=600, description="requests of the HTTP interface, of all API keys together"
    )

    @classmethod
    def read(cls, limits_untrusted: Mapping[str, Any]) -> Self:
        """Return the limits of a request; what is left out has its default.

        Raises: CompanyError that names the limit at fault.
        """
        try:
            return cls.model_validate(dict(limits_untrusted))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            name = str(fault["loc"][0])[:64]
            text = f"limits: {name!r}: {fault['msg']}; there are {', '.join(cls.model_fields)}"
            raise CompanyError("invalid_message", text, field=f"limits.{name}") from None

    @classmethod
    def restore(cls, stored: Mapping[str, int]) -> Self:
        """Return the limits of a stored record; what this version does not know, or would not take, is left out."""
        limits = cls()
        for name, value in stored.items():
            try:
                limits = cls.model_validate({**limits.stored(), name: value})
            except ValidationError:
                continue
        return limits

    def stored(self) -> dict[str, int]:
        """Return what ``restore`` reads: what was set, so that the rest follows the defaults of later versions."""
        return self.model_dump(exclude_unset=True)
