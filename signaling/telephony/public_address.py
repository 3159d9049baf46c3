"""What this server is called from outside: providers sign the URLs that they call, and are sent to others of ours.

Behind a proxy that ends TLS a request does not say by which URL it was made. The operator does, with
``telephony_public_url``; without it, it is ``https`` at the host that the request names.
"""

import re

from signaling.settings import Settings

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")


class UnknownAddressError(Exception):
    """The request names no host, or nonsense; the text says what to do."""


class PublicAddress:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.telephony_public_url

    def web(self, path: str, query: bytes, host_untrusted: str) -> str:
        """Return the URL of a request to a path of ours, as whoever made it wrote it.

        Raises: UnknownAddressError.
        """
        more = f"?{query.decode('latin-1')}" if query else ""
        return f"{self._base(host_untrusted)}{path}{more}"

    def websocket(self, path: str, host_untrusted: str) -> str:
        """Return the URL of a WebSocket at a path of ours.

        Raises: UnknownAddressError.
        """
        return f"ws{self._base(host_untrusted).removeprefix('http')}{path}"

    def _base(self, host_untrusted: str) -> str:
        if self._url is not None:
            return self._url
        found = _HOST.fullmatch(host_untrusted)
        if found is None or int(found["port"] or 1) not in range(1, 65_536):
            raise UnknownAddressError("the request names no host: set telephony_public_url")
        return f"https://{host_untrusted}"
