"""Why a client is taken out of its lobby by somebody else's will: what the others, the client and the log are told."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Removal:
    """See the module. ``reason`` is stable, ``text`` is for people."""

    reason: str
    text: str
    #: Otherwise the session lives on, in no lobby, and may join again.
    ends_session: bool = True


NAME_TAKEN_OVER: Final = Removal(
    "name_taken_over", "somebody who knows the password of your name has entered the lobby with it"
)
TOKEN_EXPIRED: Final = Removal(
    "token_expired", "your join token has expired: join again with a new one", ends_session=False
)
#: The event ``lobby_closed`` has told the client.
LOBBY_CLOSED: Final = Removal("lobby_closed", "the lobby was closed", ends_session=False)


def kicked(text: str = "") -> Removal:
    """Return the removal by an administrator, with the administrator's own words if there are any."""
    return Removal("kicked", text or "an administrator removed you from the lobby")
