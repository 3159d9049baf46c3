"""What can go wrong for a bot, and nothing else: every failure of the library is a ``VoicebotError``."""


class VoicebotError(Exception):
    """Base of all errors this package raises on purpose."""


class ConnectError(VoicebotError):
    """No connection could be opened: the address, the network or the server refused.

    ``status`` is the HTTP status with which a server refused, None when none was received.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class ConnectionLostError(VoicebotError):
    """The connection ended before the answer came, or has ended for good.

    Whether a request that was under way took effect is unknown.
    """

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class RequestTimeoutError(VoicebotError):
    """No reply came within the time given; whether the request took effect is unknown."""


class ProtocolError(VoicebotError):
    """The server refused a request. ``code`` is stable (see signaling/PROTOCOL.md), ``message`` is for people."""

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.field = field
