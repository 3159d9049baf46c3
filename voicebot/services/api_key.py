"""The key of a service: from the environment, and never to be seen again.

``NAME`` holds the key itself, ``NAME_FILE`` the path of a file with it, as container platforms hand out secrets. There is
no option for it on the command line, which everybody on the machine can read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from voicebot.services.errors import MissingKeyError

REDACTED = "[key]"


class ApiKey:
    """See the module. Neither ``repr`` nor ``str`` tell it, and it cannot be pickled."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        """Raise ValueError for what cannot be in an HTTP header; the message does not quote it."""
        secret = secret.strip()
        if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
            raise ValueError("expected a key of printable ASCII characters without spaces")
        self._secret = secret

    @classmethod
    def from_environment(cls, name: str, environment: Mapping[str, str]) -> Self:
        """Return the key in the variable ``name``, or in the file that ``name_FILE`` names.

        Raises: MissingKeyError, also for a file that cannot be read or holds no key.
        """
        value = environment.get(name, "").strip()
        path = environment.get(f"{name}_FILE", "")
        if not value and path:
            try:
                value = Path(path).read_text(encoding="ascii")
            except (OSError, UnicodeError) as error:
                raise MissingKeyError(f"{name}_FILE: {path} cannot be read: {type(error).__name__}") from None
        if not value:
            raise MissingKeyError(f"no key: set {name}, or {name}_FILE to the path of a file that holds it")
        try:
            return cls(value)
        except ValueError as error:
            raise MissingKeyError(f"{name}: {error}") from None

    def reveal(self) -> str:
        """Return the key, for the one header it belongs into."""
        return self._secret

    def redact(self, text: str) -> str:
        """Return a text from outside without the key, should it be quoted in there."""
        return text.replace(self._secret, REDACTED)

    def __repr__(self) -> str:
        return f"ApiKey({REDACTED})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not to be pickled")
