"""Signatures of webhook deliveries, as the Standard Webhooks specification has them (symmetric, ``v1``).

Signed is ``id.timestamp.body`` with HMAC-SHA256; the header lists one signature for each secret, so that a secret can be
replaced without a gap. The receiver's side is in ``docs/webhooks.md``.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

#: A secret that begins so is the base64 of the key; any other is the key itself.
SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
#: 128 bits, if they are random.
MIN_KEY_BYTES = 16


def signing_key(secret: str) -> bytes:
    """Return the key that a secret stands for.

    Raises: ValueError when it is no base64, or too short to protect anything.
    """
    key = secret.encode()
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {SECRET_PREFIX} must be base64") from None
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the secret must have at least {MIN_KEY_BYTES} bytes")
    return key


def signature_headers(
    secrets: Iterable[str], delivery_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the three headers of one attempt; ``timestamp`` is in seconds since 1970."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    signatures = (
        base64.b64encode(hmac.new(signing_key(secret), signed, hashlib.sha256).digest()).decode()
        for secret in secrets
    )
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
