"""What a kernel says of each packet: one enum, one counter per member, one metric per counter.

A datagram from the network gets exactly one *received* verdict. Each copy of a packet that a route considers gets
exactly one *outbound* verdict. RTCP the relay makes itself is counted by the last group.
"""

from enum import IntEnum
from typing import Final


class Verdict(IntEnum):
    """Index into a worker's `counters`."""

    # A datagram as it arrived.
    EMPTY = 0
    TRUNCATED = 1  # larger than a receive slot: no sane sender, RFC 8834 keeps packets below the path MTU
    UNCLASSIFIED = 2  # first byte outside the ranges of RFC 7983
    UNKNOWN_SOURCE = 3  # not STUN, and no peer has proved that it owns this address
    STUN_PUNTED = 4
    STUN_MALFORMED = 5
    DTLS_PUNTED = 6
    PUNT_OVERFLOW = 7  # the event ring was full: the control plane is behind
    NO_KEYS = 8  # SRTP before the DTLS handshake was done
    RTP_MALFORMED = 9
    RTP_AUTHENTICATION_FAILED = 10
    RTP_REPLAYED = 11
    RTP_UNKNOWN_PAYLOAD_TYPE = 12
    RTP_UNKNOWN_STREAM = 13  # an SSRC nobody announced; punted so that the MID can name it
    RTP_MUTED = 14
    RTP_ACCEPTED = 15
    RTP_RETRANSMISSION_ACCEPTED = 16
    RTCP_ACCEPTED = 17
    RTCP_MALFORMED = 18
    RTCP_AUTHENTICATION_FAILED = 19
    # A copy of a packet towards one subscriber.
    ROUTE_SENT = 20
    ROUTE_TAPPED = 21
    ROUTE_TAP_OVERFLOW = 22
    ROUTE_NOT_CONNECTED = 23  # the subscriber has no keys or no address yet
    ROUTE_CODEC_UNSUPPORTED = 24
    ROUTE_AWAITING_KEYFRAME = 25
    ROUTE_TOO_OLD = 26  # older than the point where this source was switched in
    ROUTE_PROTECT_FAILED = 27
    ROUTE_TOO_LONG = 28
    # The socket.
    DATAGRAM_SENT = 29
    SEND_BUFFER_FULL = 30
    SEND_FAILED = 31
    # Repair and feedback.
    NACK_ANSWERED = 32
    NACK_MISSED = 33  # no longer in the history
    NACK_THROTTLED = 34
    KEYFRAME_REQUESTED = 35  # by a subscriber, or by a route that begins
    KEYFRAME_FORWARDED = 36  # asked of the publisher
    REPORT_SENT = 37
    RTCP_PROTECT_FAILED = 38
    RETRANSMISSION_REQUESTED = 39  # sequence numbers the relay itself asked a publisher for
    UNKNOWN_FEEDBACK_TARGET = 40
    COMMAND_REJECTED = 41  # a command that names a row out of range: a bug of ours, never the network's
    # More of a datagram as it arrived.
    PUNT_THROTTLED = (
        42  # more STUN or DTLS, from a peer or from unproven addresses, than the control plane is to see
    )
    RTCP_TOO_MANY_SENDERS = 43  # from an SSRC no offer named, beyond those one client may have
    # Audio slots.
    ROUTE_BACK_TO_SPEAKER = 44  # nobody hears himself; an outbound verdict
    SLOT_TAKEN = 45  # a speaker began in a slot
    SLOT_WITHHELD = 46  # a packet of somebody who is silent, or not among the loudest
    # Once more of a datagram as it arrived.
    STUN_ANSWERED = 47  # a consent check, by the worker itself
    # More of a copy: shed by an overloaded worker. One for each grade, in this order (media.overload).
    ROUTE_SHED_VIDEO = 48  # of somebody who does not speak
    ROUTE_SHED_SPEAKER_VIDEO = 49
    ROUTE_SHED_QUIET_AUDIO = 50


VERDICT_COUNT: Final = len(Verdict)
