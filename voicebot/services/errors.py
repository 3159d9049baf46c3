"""What can go wrong with a service outside: refused, unavailable, or unreadable. All are ``VoicebotError``."""

from voicebot.errors import VoicebotError


class ServiceError(VoicebotError):
    """Base: ``service`` says whose fault it is. No text contains a key."""

    def __init__(self, service: str, text: str) -> None:
        super().__init__(f"{service} {text}")
        self.service = service


class ServiceRefusedError(ServiceError):
    """It does not want us: a wrong key, or parameters it does not take. Trying again is no use.

    ``status`` is the HTTP status, None when it said so in words of its own.
    """

    def __init__(self, service: str, text: str, *, status: int | None = None) -> None:
        super().__init__(service, text)
        self.status = status


class ServiceUnavailableError(ServiceError):
    """It cannot be reached, broke off, or is overloaded; later may be better.

    ``retry_after_s`` is what it asked for, or None; ``code`` the close code of a WebSocket, or the HTTP status.
    """

    def __init__(
        self, service: str, text: str, *, retry_after_s: float | None = None, code: int | None = None
    ) -> None:
        super().__init__(service, text)
        self.retry_after_s = retry_after_s
        self.code = code


class CircuitOpenError(ServiceUnavailableError):
    """It was not even tried, for the last attempts failed."""


class ServiceFormatError(ServiceError):
    """What it said is not what its protocol has."""


class MissingKeyError(VoicebotError):
    """No key is in the environment; the text says which variable was looked for."""
