"""What the control plane can tell a worker: the operations of its commands, and what each carries.

Commands are the only way the tables change. Each names its row and, when it opens one, the generation of this use of
the row (`media.tables.COMMAND`). `media.commands` applies them.
"""

from enum import IntEnum
from typing import Final

from media.tables import MAX_CODECS, MAX_EXTENSIONS

MAP_PAYLOAD_TYPE_IN: Final = 0  # offsets of the maps in the blob of SET_MAPS
MAP_RTX_ASSOCIATED: Final = 128
MAP_PAYLOAD_TYPE_OUT: Final = 256
MAP_RTX_PAYLOAD_TYPE_OUT: Final = MAP_PAYLOAD_TYPE_OUT + MAX_CODECS
MAP_EXTENSION_IN: Final = MAP_RTX_PAYLOAD_TYPE_OUT + MAX_CODECS
MAP_EXTENSION_OUT: Final = MAP_EXTENSION_IN + MAX_EXTENSIONS
MAP_BYTES: Final = MAP_EXTENSION_OUT + MAX_EXTENSIONS


class Operation(IntEnum):
    """What a command does. The comment names its `values`, in order, and its blob.

    Operations of one table stand together, its CLOSE last: dispatch and row allocation go by that.
    """

    STOP = 0
    OPEN_PEER = 1  # rtcp_ssrc
    SET_MAPS = 2  # blob: the six maps
    SET_KEYS = (
        3  # srtp_receive, srtp_send (srtp_t), aead_send (EVP_CIPHER_CTX or 0); blob: the salt of aead_send
    )
    BIND_ADDRESS = 4  # select (1: send there from now on), length; blob: sockaddr
    UNBIND_ADDRESS = 5  # blob: sockaddr
    SET_CONSENT = 6  # length of the user name, 0 for no consent; blob: HMAC key (64 bytes), user name
    CLOSE_PEER = 7
    OPEN_TRACK = 8  # kind
    SET_MUTED = 9  # muted
    SET_GROUPS = 10  # group, tap group; NONE for out of it
    CLOSE_TRACK = 11
    # Values: peer, track, ssrc, clock rate, repairs, repairable, origin worker, origin inbound, origin generation.
    OPEN_INBOUND = 12
    SET_ORIGIN = 13  # of a mirror's stream: inbound, generation, at its publisher's worker
    CLOSE_INBOUND = 14
    # Values: peer, ssrc, rtx ssrc, first sequence, clock rate, link worker, inbound, generation. Blob: cname.
    OPEN_OUTBOUND = 15
    SET_SOURCE = 16  # track, or NONE to park
    CLOSE_OUTBOUND = 17
    OPEN_GROUP = 18  # the tracks that are its slots
    CLOSE_GROUP = 19  # no track may be in it any more
