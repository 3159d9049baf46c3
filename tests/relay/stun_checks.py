"""Connectivity checks as browsers send them, and as they do not."""

from relay.ice import IceCredentials
from relay.stun import Attribute, MessageType, encode_stun

LOCAL = IceCredentials("LOCALufr", "local+password/0123456789")
REMOTE = IceCredentials("remoteUF", "remote+password/012345678")
TRANSACTION_ID = bytes(range(12))


def check(
    *,
    local=LOCAL,
    remote=REMOTE,
    nominated=False,
    username=None,
    password=None,
    extra=(),
    role=Attribute.ICE_CONTROLLING,
    transaction_id=TRANSACTION_ID,
):
    """Return a browser's check towards the agent `local`."""
    attributes = [(Attribute.USERNAME, (username or f"{local.ufrag}:{remote.ufrag}").encode())]
    attributes += [(Attribute.PRIORITY, bytes(4)), *extra]
    if role is not None:
        attributes.append((role, bytes(8)))
    if nominated:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    key = (password or local.password).encode()
    return encode_stun(MessageType.BINDING_REQUEST, transaction_id, attributes, key)
