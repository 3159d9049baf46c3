"""The relay's own numbers for codecs and RTP header extensions.

Every peer chooses its own payload types and extension ids. A packet is translated to the numbers below once, at
ingress, and back to the subscriber's numbers at egress, so that forwarding never looks at SDP. Constants only: what
SDP calls these things is told in `relay.codecs`.
"""

from typing import Final

# Codecs. 0..31, so that a table indexed by codec has MAX_CODECS (media.tables) rows. Two formats share a number only
# where a decoder negotiated for one may be sent the other.
NO_CODEC: Final = 0
OPUS: Final = 1
VP8: Final = 2
VP9_PROFILE_0: Final = 3  # 8 bit 4:2:0
VP9_PROFILE_2: Final = 4  # 10 and 12 bit 4:2:0
H264_CONSTRAINED_BASELINE: Final = 5  # RFC 6184 packetization-mode=1 here and in the four below
H264_BASELINE: Final = 6
H264_MAIN: Final = 7
H264_CONSTRAINED_HIGH: Final = 8
H264_HIGH: Final = 9
H264_SINGLE_NAL_CONSTRAINED_BASELINE: Final = 10  # packetization-mode=0 here and in the three below
H264_SINGLE_NAL_BASELINE: Final = 11
H264_SINGLE_NAL_MAIN: Final = 12
H264_SINGLE_NAL_HIGH: Final = 13
AV1: Final = 14  # profile 0 (Main)
RTX: Final = 31  # RFC 4588: not a codec but a retransmission of one; its `apt` names it

CLOCK_RATE_HZ: Final = {
    OPUS: 48_000,
    VP8: 90_000,
    VP9_PROFILE_0: 90_000,
    VP9_PROFILE_2: 90_000,
    H264_CONSTRAINED_BASELINE: 90_000,
    H264_BASELINE: 90_000,
    H264_MAIN: 90_000,
    H264_CONSTRAINED_HIGH: 90_000,
    H264_HIGH: 90_000,
    H264_SINGLE_NAL_CONSTRAINED_BASELINE: 90_000,
    H264_SINGLE_NAL_BASELINE: 90_000,
    H264_SINGLE_NAL_MAIN: 90_000,
    H264_SINGLE_NAL_HIGH: 90_000,
    AV1: 90_000,
}
"""RTP timestamp clock by codec; every codec that carries media is a key."""

AUDIO_CODECS: Final = frozenset({OPUS})
H264_CODECS: Final = frozenset(range(H264_CONSTRAINED_BASELINE, H264_SINGLE_NAL_HIGH + 1))
VIDEO_CODECS: Final = frozenset(CLOCK_RATE_HZ) - AUDIO_CODECS

# Header extensions. 1..14, the ids of RFC 8285's one-byte form: a canonical packet can use either form.
NO_EXTENSION: Final = 0
AUDIO_LEVEL: Final = 1  # RFC 6464, client to mixer
VIDEO_ORIENTATION: Final = 2  # 3GPP TS 26.114, 7.4.5
MID: Final = 3  # RFC 9143, 15
RID: Final = 4  # RFC 8852
REPAIRED_RID: Final = 5  # RFC 8852
ABS_SEND_TIME: Final = 6
TRANSPORT_WIDE: Final = 7  # draft-holmer-rmcat-transport-wide-cc-extensions
DEPENDENCY_DESCRIPTOR: Final = 8  # AV1 RTP payload specification, appendix A
PLAYOUT_DELAY: Final = 9
COLOR_SPACE: Final = 10
VIDEO_CONTENT_TYPE: Final = 11
ABS_CAPTURE_TIME: Final = 12
VIDEO_TIMING: Final = 13

FORWARDED_EXTENSIONS: Final = (
    AUDIO_LEVEL,
    VIDEO_ORIENTATION,
    DEPENDENCY_DESCRIPTOR,
    PLAYOUT_DELAY,
    COLOR_SPACE,
    VIDEO_CONTENT_TYPE,
    ABS_CAPTURE_TIME,
)
"""Describe the media itself: copied from publisher to subscriber."""

CONSUMED_EXTENSIONS: Final = (MID, RID, REPAIRED_RID)
"""Describe one transport's streams: read at ingress, never copied.

ABS_SEND_TIME, TRANSPORT_WIDE and VIDEO_TIMING are in neither list: they are not negotiated yet.
"""
