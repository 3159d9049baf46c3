"""Twilio at the door, ``/telephony/twilio``: its webhook asks what to do with a call, then the call's stream comes.

The webhook is Twilio's if its signature says so. It is answered with TwiML that sends the call to the WebSocket at the same path,
with the call's lobby and a ticket as parameters. The stream may begin with that ticket; or its own request was signed, as
Twilio does for ``wss`` URLs, and then its parameters are those that the operator wrote in TwiML of their own.
"""

import time
from collections.abc import Callable, Mapping

from signaling.endpoints import RefusedUpgradeError, RequestInfo
from signaling.settings import Settings
from signaling.telephony import stream_ticket, twiml
from signaling.telephony.destination import LOBBY_PARAMETER, NAME_PARAMETER, Destination, Directory
from signaling.telephony.line import CALLED, CALLING
from signaling.telephony.phone import Call, CallRefusedError
from signaling.telephony.public_address import PublicAddress, UnknownAddressError
from signaling.telephony.signature import HEADER, Form, is_signed

PATH = "/telephony/twilio"
HEADERS = frozenset({HEADER, "host"})
#: Of the webhook's query and the form these matter: what the operator added to the URL, and who calls whom.
CALL_ID_FIELD = "CallSid"
CALLING_FIELD = "From"
CALLED_FIELD = "To"
#: Callers may be SIP addresses.
MAX_NUMBER_LENGTH = 128

_OFF = "calls by Twilio are not taken here: the setting twilio_auth_token is missing"
_UNSIGNED = (
    "X-Twilio-Signature does not fit: compare twilio_auth_token and telephony_public_url with what Twilio has"
)


class NotTwilioError(Exception):
    """The request is not Twilio's, or none that can be answered; ``status`` is of HTTP."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class TwilioEntry:
    """See the module. ``now_s`` gives seconds since 1970."""

    def __init__(self, settings: Settings, *, now_s: Callable[[], float] = time.time) -> None:
        token = settings.twilio_auth_token
        self._token = None if token is None else token.get_secret_value()
        self._public = PublicAddress(settings)
        self._directory = Directory(settings)
        self._now_s = now_s

    def answer(self, query: bytes, fields: Mapping[str, str], form: Form, headers: Mapping[str, str]) -> str:
        """Return the TwiML for a call. ``fields`` are those of the query and the form together.

        Raises: NotTwilioError.
        """
        token = self._token
        if token is None:
            raise NotTwilioError(403, _OFF)
        host = headers.get("host", "")
        try:
            url, stream_url = self._public.web(PATH, query, host), self._public.websocket(PATH, host)
        except UnknownAddressError as error:
            raise NotTwilioError(400, str(error)) from None
        if not is_signed(token, url, form, headers.get(HEADER, "")):
            raise NotTwilioError(403, _UNSIGNED)
        call_id = fields.get(CALL_ID_FIELD, "")
        calling, called = fields.get(CALLING_FIELD, ""), fields.get(CALLED_FIELD, "")
        if not call_id:
            raise NotTwilioError(400, f"{CALL_ID_FIELD} is missing: is this the URL for voice calls?")
        try:
            destination = self._directory.find(calling=calling, called=called, parameters=fields)
            told = {
                LOBBY_PARAMETER: destination.lobby,
                NAME_PARAMETER: destination.name,
                CALLING: calling[:MAX_NUMBER_LENGTH],
                CALLED: called[:MAX_NUMBER_LENGTH],
            }
            # Nobody promises that empty ones come back, and the ticket is for all of them.
            parameters = {name: value for name, value in told.items() if value}
            ticket = stream_ticket.make_ticket(token, call_id, parameters, int(self._now_s()))
            return twiml.connect_stream(stream_url, {**parameters, stream_ticket.FIELD: ticket})
        except (CallRefusedError, ValueError) as error:
            raise NotTwilioError(400, str(error)) from None

    async def authorize(self, request: RequestInfo) -> bool:
        """Return whether the upgrade is signed; see ``endpoints.Authorize``.

        Raises: RefusedUpgradeError.
        """
        if self._token is None:
            raise RefusedUpgradeError(403, _OFF)
        signature = request.headers.get(HEADER)
        if signature is None:
            return False
        try:
            url = self._public.websocket(PATH, request.headers.get("host", ""))
        except UnknownAddressError as error:
            raise RefusedUpgradeError(400, str(error)) from None
        # Some gateways show a path with a slash at its end as Twilio's; Twilio signs what it calls.
        if not any(is_signed(self._token, each, (), signature) for each in (url, f"{url}/")):
            raise RefusedUpgradeError(403, _UNSIGNED)
        return True

    async def admit(self, call: Call, *, signed: bool) -> Destination:
        """Return where a stream that has started goes.

        Raises: CallRefusedError.
        """
        assert self._token is not None  # or it would not have been authorized
        parameters = call.parameters
        ticket = parameters.get(stream_ticket.FIELD, "")
        now_s = int(self._now_s())
        if not signed and not stream_ticket.is_valid(self._token, call.call_id, parameters, ticket, now_s):
            raise CallRefusedError(f"no valid ticket: streams must come by the answer of {PATH}, in time")
        return self._directory.find(
            calling=parameters.get(CALLING, ""), called=parameters.get(CALLED, ""), parameters=parameters
        )
