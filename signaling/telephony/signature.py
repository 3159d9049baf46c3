"""``X-Twilio-Signature``: whether a request was made by Twilio (https://www.twilio.com/docs/usage/security).

Signed with HMAC-SHA1 is the URL that Twilio called, followed by the fields of the form, names and values, in the order of the
names. Twilio is not consistent about a port that is the scheme's own, so it may be there or not; the upgrade to a WebSocket
is signed with its ``wss`` URL.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, urlsplit

Form = Sequence[tuple[str, str]]

HEADER = "x-twilio-signature"
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


def signature_of(auth_token: str, url: str, form: Form = ()) -> str:
    """Return the signature; a value that a name has twice is signed once, as Twilio's own libraries do."""
    signed = url + "".join(name + value for name, value in sorted(set(form)))
    digest = hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_signed(auth_token: str, url: str, form: Form, signature_untrusted: str) -> bool:
    """Tell whether the signature is the one for this URL, with or without its port. Takes the same time for any."""
    given = signature_untrusted.encode()
    fits = False
    for each in _spellings(url):
        fits |= hmac.compare_digest(signature_of(auth_token, each, form).encode(), given)
    return fits


def _spellings(url: str) -> Iterable[str]:
    parts = urlsplit(url)
    usual = _PORTS.get(parts.scheme)
    if usual is None:
        return (url,)
    if parts.port is None:
        return url, _at(parts, f"{parts.netloc}:{usual}")
    return url, _at(parts, parts.netloc.rpartition(":")[0])


def _at(parts: SplitResult, netloc: str) -> str:
    # Not `geturl`: an empty query, or a path that is missing, would be written otherwise.
    return parts._replace(netloc=netloc).geturl()
