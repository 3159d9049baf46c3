"""Identifiers and secrets. Identifiers may be logged and told; secrets may not."""

import secrets

#: 64 bits: two of a billion identifiers are equal with a probability of 3 %; of a million, never.
_ID_BYTES = 8
#: 192 bits, more than can be guessed.
_SECRET_BYTES = 24


def new_id(kind: str) -> str:
    """Return a new identifier such as ``s-4fzTqTQ0c3k``; ``kind`` tells people what it names."""
    return f"{kind}-{secrets.token_urlsafe(_ID_BYTES)}"


def new_secret() -> str:
    """Return a new token that only its holder can know."""
    return secrets.token_urlsafe(_SECRET_BYTES)
