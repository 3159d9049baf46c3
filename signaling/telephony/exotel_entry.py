"""Exotel at the door, ``/telephony/exotel``: a WebSocket whose address holds a user name and a password.

Exotel makes ``Authorization: Basic`` of them. Whoever does not want them in the WebSocket's address lets the applet ask first, at
the same address with ``https``: the answer is ``{"url": ...}`` with a ticket in it that is good for two minutes.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from signaling.endpoints import RefusedUpgradeError, RequestInfo
from signaling.settings import Settings
from signaling.telephony import stream_ticket
from signaling.telephony.destination import LOBBY_PARAMETER, NAME_PARAMETER, Destination, Directory
from signaling.telephony.phone import Call
from signaling.telephony.public_address import PublicAddress

PATH = "/telephony/exotel"
HEADERS = frozenset({"authorization", "host"})
CHALLENGE = {"WWW-Authenticate": 'Basic realm="telephony"'}
#: Of an address's fields, those that say where the call goes; Exotel passes three on, of 256 characters in all.
_CHOICES = (LOBBY_PARAMETER, NAME_PARAMETER)

_OFF = "calls by Exotel are not taken here: the setting exotel_password is missing"
_WRONG = "the user name or the password is wrong: see the settings exotel_user and exotel_password"


class ExotelEntry:
    """See the module. ``now_s`` gives seconds since 1970."""

    def __init__(self, settings: Settings, *, now_s: Callable[[], float] = time.time) -> None:
        password = settings.exotel_password
        self._password = None if password is None else password.get_secret_value()
        self._user = settings.exotel_user
        self._public = PublicAddress(settings)
        self._directory = Directory(settings)
        self._now_s = now_s

    def answer(self, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
        """Return what the applet is told of where its WebSocket is.

        Raises: RefusedUpgradeError, UnknownAddressError.
        """
        password = self._check(headers)
        parameters = {name: query[name] for name in _CHOICES if query.get(name)}
        ticket = stream_ticket.make_ticket(password, "", parameters, int(self._now_s()))
        url = self._public.websocket(PATH, headers.get("host", ""))
        return {"url": f"{url}?{urlencode({**parameters, stream_ticket.FIELD: ticket})}"}

    async def authorize(self, request: RequestInfo) -> Mapping[str, str]:
        """Return the fields of the address that say where the call goes; see ``endpoints.Authorize``.

        Raises: RefusedUpgradeError.
        """
        parameters = {name: request.query[name] for name in _CHOICES if request.query.get(name)}
        ticket = request.query.get(stream_ticket.FIELD)
        if ticket is None or self._password is None:
            self._check(request.headers)
        elif not stream_ticket.is_valid(self._password, "", parameters, ticket, int(self._now_s())):
            raise RefusedUpgradeError(403, "this ticket is not valid, or not any more: ask for another one")
        return parameters

    async def admit(self, call: Call, *, chosen: Mapping[str, str]) -> Destination:
        """Return where a stream that has started goes.

        Raises: CallRefusedError.
        """
        parameters = {**call.parameters, **chosen}
        return self._directory.find(calling=call.calling, called=call.called, parameters=parameters)

    def _check(self, headers: Mapping[str, str]) -> str:
        """Return the password if it was given."""
        if self._password is None:
            raise RefusedUpgradeError(403, _OFF)
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(credentials.strip(), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        expected = f"{self._user}:{self._password}".encode()
        if scheme.lower() != "basic" or not hmac.compare_digest(given, expected):
            raise RefusedUpgradeError(401, _WRONG, headers=CHALLENGE)
        return self._password
