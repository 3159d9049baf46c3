"""Tickets that tie a media stream to the webhook before it: what the webhook decided comes back unchanged, soon, for one call.

A provider opens a stream by itself, from anywhere; not every one signs that request. So the webhook, which has been proven
to be the provider's, hands out a ticket: an HMAC-SHA256 of the call, the parameters and the time, under a key made of the
secret that is shared with the provider.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

#: The parameter, or the field of a query, that holds it.
FIELD = "ticket"
#: From the webhook's answer to the stream's start: seconds, were it not for a provider that asks again.
VALID_SECONDS = 120

_PURPOSE = b"trio-relay telephony stream ticket"


def make_ticket(secret: str, call_id: str, parameters: Mapping[str, str], now_s: int) -> str:
    """Return the ticket for a call and all its other parameters."""
    expires = now_s + VALID_SECONDS
    return f"{expires}.{_seal(secret, call_id, parameters, expires)}"


def is_valid(
    secret: str, call_id: str, parameters: Mapping[str, str], ticket_untrusted: str, now_s: int
) -> bool:
    """Tell whether this is the ticket for this call and these parameters, the ticket itself not among them."""
    given, _, seal = ticket_untrusted.partition(".")
    if not (given.isascii() and given.isdecimal() and len(given) <= 12):
        return False
    expected = _seal(secret, call_id, parameters, int(given))
    fits = hmac.compare_digest(expected.encode(), seal.encode())
    return fits and now_s <= int(given) <= now_s + VALID_SECONDS


def _seal(secret: str, call_id: str, parameters: Mapping[str, str], expires: int) -> str:
    key = hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).digest()
    others = sorted((name, value) for name, value in parameters.items() if name != FIELD)
    signed = json.dumps([call_id, expires, others]).encode()
    return base64.urlsafe_b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode().rstrip("=")
