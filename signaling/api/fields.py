"""What requests and answers are made of: fields that several resources have, and the bases of their bodies."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from signaling.messages.model import MAX_ID_LENGTH, PRINTABLE, printable_text

#: As ``signaling.identifiers`` makes them; whatever else comes in a path is nothing there is.
_ID_PATTERN = r"^[A-Za-z0-9_-]+$"
MAX_REASON_LENGTH = 200


def _reason(text: str) -> str:
    return printable_text(text).strip()


def _path(description: str) -> Path:  # type: ignore[valid-type]
    return Path(min_length=1, max_length=MAX_ID_LENGTH, pattern=_ID_PATTERN, description=description)  # type: ignore[no-any-return]


SessionId = Annotated[str, _path("of a session, such as `s-4fzTqTQ0c3k`")]
LobbyId = Annotated[str, _path("of a lobby (not its name), such as `l-Q5rT8sVx2wY`")]
ParticipantId = Annotated[str, _path("of a participant, such as `p-9fQ2bC4mZ1k`")]
CompanyId = Annotated[str, _path("of a company, such as `co-1zXk2tUq0aE`")]
BotId = Annotated[str, _path("of a bot")]
ProviderId = Annotated[str, _path("of a provider")]
KeyId = Annotated[str, _path("of an API key: the first digits of its digest")]
DeliveryId = Annotated[str, _path("of a delivery, such as `msg-4fzTqTQ0c3k`")]

Reason = Annotated[str, Field(max_length=MAX_REASON_LENGTH), AfterValidator(_reason), PRINTABLE]
ReasonQuery = Annotated[
    str,
    Query(max_length=MAX_REASON_LENGTH, description="what those concerned are told"),
    AfterValidator(_reason),
    PRINTABLE,
]
CompanyName = Annotated[
    str,
    Query(
        max_length=MAX_ID_LENGTH,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="id of a company; empty: what belongs to none",
    ),
]


class Request(BaseModel):
    """A body that is sent to us: what is not known is refused, so that a misspelt field is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class View(BaseModel):
    """A part of an answer; programs must ignore fields they do not know."""

    model_config = ConfigDict(frozen=True)
