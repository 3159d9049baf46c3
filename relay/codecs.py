"""What the relay can carry, in SDP's words: codec formats and header extensions with their canonical ids.

A format is matched by its rtpmap (RFC 8866, 6.6) and by the fmtp parameters that change what a decoder must be able to
do: packetization-mode and profile of H.264 (RFC 6184, 8.1), profile of VP9 (RFC 9628) and AV1. All other parameters
are the endpoints' own business and pass through. Levels are not compared: the relay neither encodes nor decodes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiortc.sdp import H264Profile, parse_h264_profile_level_id

from media import codecs

RTX_NAME: Final = "rtx"

_PROFILE_LEVEL_ID: Final = re.compile(r"[0-9a-f]{6}", re.IGNORECASE)
_DEFAULT_PROFILE_LEVEL_ID: Final = "42e01f"
"""What browsers take for granted when it is absent. RFC 6184 says 42000a, but those who leave it out cannot do more
than constrained baseline anyway."""
_ANY_KNOWN_LEVEL: Final = "1f"


@dataclass(frozen=True)
class Format:
    """A codec in one configuration, as SDP describes it."""

    codec: int
    kind: str
    name: str
    clock_rate: int
    channels: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    h264_profile: H264Profile | None = None


def _h264(codec: int, packetization_mode: str, profile: H264Profile) -> Format:
    parameters = {"packetization-mode": packetization_mode}
    return Format(codec, "video", "H264", 90_000, parameters=parameters, h264_profile=profile)


FORMATS: Final = (
    Format(codecs.OPUS, "audio", "opus", 48_000, channels=2),
    Format(codecs.VP8, "video", "VP8", 90_000),
    Format(codecs.VP9_PROFILE_0, "video", "VP9", 90_000, parameters={"profile-id": "0"}),
    Format(codecs.VP9_PROFILE_2, "video", "VP9", 90_000, parameters={"profile-id": "2"}),
    _h264(codecs.H264_CONSTRAINED_BASELINE, "1", H264Profile.PROFILE_CONSTRAINED_BASELINE),
    _h264(codecs.H264_BASELINE, "1", H264Profile.PROFILE_BASELINE),
    _h264(codecs.H264_MAIN, "1", H264Profile.PROFILE_MAIN),
    _h264(codecs.H264_CONSTRAINED_HIGH, "1", H264Profile.PROFILE_CONSTRAINED_HIGH),
    _h264(codecs.H264_HIGH, "1", H264Profile.PROFILE_HIGH),
    _h264(codecs.H264_SINGLE_NAL_CONSTRAINED_BASELINE, "0", H264Profile.PROFILE_CONSTRAINED_BASELINE),
    _h264(codecs.H264_SINGLE_NAL_BASELINE, "0", H264Profile.PROFILE_BASELINE),
    _h264(codecs.H264_SINGLE_NAL_MAIN, "0", H264Profile.PROFILE_MAIN),
    _h264(codecs.H264_SINGLE_NAL_HIGH, "0", H264Profile.PROFILE_HIGH),
    Format(codecs.AV1, "video", "AV1", 90_000, parameters={"profile": "0"}),
)
"""Every format the relay forwards."""

PARAMETER_DEFAULTS: Final = {"packetization-mode": "0", "profile-id": "0", "profile": "0"}
"""Value of an fmtp parameter that is compared but absent."""

EXTENSION_URIS: Final = {
    codecs.AUDIO_LEVEL: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    codecs.VIDEO_ORIENTATION: "urn:3gpp:video-orientation",
    codecs.MID: "urn:ietf:params:rtp-hdrext:sdes:mid",
    codecs.RID: "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    codecs.REPAIRED_RID: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    codecs.ABS_SEND_TIME: "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    codecs.TRANSPORT_WIDE: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    codecs.DEPENDENCY_DESCRIPTOR: (
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
    ),
    codecs.PLAYOUT_DELAY: "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    codecs.COLOR_SPACE: "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
    codecs.VIDEO_CONTENT_TYPE: "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
    codecs.ABS_CAPTURE_TIME: "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    codecs.VIDEO_TIMING: "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
}
"""Canonical header extension id to its URI."""

EXTENSION_IDS: Final = {uri: extension for extension, uri in EXTENSION_URIS.items()}
"""URI of a header extension to its canonical id."""

NEGOTIATED_EXTENSIONS: Final = codecs.FORWARDED_EXTENSIONS + codecs.CONSUMED_EXTENSIONS
"""What an answer accepts when it is offered."""


def canonical_codec(
    kind: str, name: str, clock_rate: int, channels: int | None, parameters: Mapping[str, str]
) -> int:
    """Return the canonical id of an offered format, NO_CODEC when the relay does not carry it."""
    for candidate in FORMATS:
        if (
            kind == candidate.kind
            and name.lower() == candidate.name.lower()
            and clock_rate == candidate.clock_rate
            and (candidate.channels is None or channels == candidate.channels)
            and all(
                parameters.get(key, PARAMETER_DEFAULTS[key]) == value
                for key, value in candidate.parameters.items()
            )
            and (candidate.h264_profile is None or candidate.h264_profile == _h264_profile(parameters))
        ):
            return candidate.codec
    return codecs.NO_CODEC


def parse_format_parameters(text: str) -> dict[str, str]:
    """Split the value of an fmtp line; a parameter without a value maps to the empty string."""
    parameters = {}
    for parameter in text.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip():
            parameters[key.strip().lower()] = value.strip()
    return parameters


def _h264_profile(parameters: Mapping[str, str]) -> H264Profile | None:
    profile_level_id = parameters.get("profile-level-id", _DEFAULT_PROFILE_LEVEL_ID)
    if _PROFILE_LEVEL_ID.fullmatch(profile_level_id) is None:
        return None
    try:
        profile, _level = parse_h264_profile_level_id(profile_level_id[:4] + _ANY_KNOWN_LEVEL)
    except ValueError:  # a profile nobody has named
        return None
    return H264Profile(profile)
