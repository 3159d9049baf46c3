"""Where a call goes: its lobby, and what the caller is called there.

Parameters that the operator gave to the call decide first, then the called number, then the lobby for all others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from signaling.messages.model import MAX_LOBBY_LENGTH, LobbyName, Name
from signaling.settings import Settings
from signaling.telephony.phone import CallRefusedError

LOBBY_PARAMETER = "lobby"
NAME_PARAMETER = "name"
#: Of a number, so many digits are shown to others.
SHOWN_DIGITS = 4

_LOBBY: TypeAdapter[str] = TypeAdapter(LobbyName)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_NO_NUMBER = re.compile(r"[^0-9A-Za-z+_.@-]")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a call goes."""

    lobby: str
    name: str


class Directory:
    """The operator's settings, as answers."""

    def __init__(self, settings: Settings) -> None:
        self._template = settings.telephony_lobby
        self._by_number = {_digits(each.number): each.lobby for each in settings.telephony_numbers}

    def find(self, *, calling: str, called: str, parameters: Mapping[str, str]) -> Destination:
        """Return where a call goes; numbers are as the provider wrote them.

        Raises: CallRefusedError.
        """
        lobby = (
            parameters.get(LOBBY_PARAMETER)
            or self._by_number.get(_digits(called))
            or self._template.replace("{to}", _plain(called)).replace("{from}", _plain(calling))
        )
        name = parameters.get(NAME_PARAMETER) or _shown(calling)
        try:
            return Destination(_LOBBY.validate_python(lobby[:MAX_LOBBY_LENGTH]), _NAME.validate_python(name))
        except ValidationError:
            raise CallRefusedError(
                "the parameters `lobby` and `name` must be 1 to 64 printable characters"
            ) from None


def _digits(number: str) -> str:
    """Return what is compared of a number: Exotel writes 0804… where others write +91804…, so leave that to the operator."""
    return number.strip().lstrip("+ ")


def _plain(number: str) -> str:
    return _NO_NUMBER.sub("", number) or "unknown"


def _shown(number: str) -> str:
    """Return what a caller is called: the others in a lobby need not know the whole number."""
    digits = re.sub(r"\D", "", number)
    return f"Caller {digits[-SHOWN_DIGITS:]}" if len(digits) > SHOWN_DIGITS else "Caller"
