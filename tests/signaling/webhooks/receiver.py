"""The receiver's side of a webhook, written from the Standard Webhooks specification and not from our code."""

import base64
import hashlib
import hmac
import json
from typing import Any

from http_peer import Heard


class BadSignatureError(Exception):
    pass


def verify(secret: str, heard: Heard, *, now: float, tolerance: float = 300) -> Any:
    """Return the payload of a delivery that is genuine and new."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    when = heard.headers["webhook-timestamp"]
    if abs(now - int(when)) > tolerance:
        raise BadSignatureError("too old")
    content = b".".join((heard.headers["webhook-id"].encode(), when.encode(), heard.body))
    expected = "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    if expected not in heard.headers["webhook-signature"].split(" "):
        raise BadSignatureError("not ours")
    return json.loads(heard.body)
