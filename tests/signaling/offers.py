"""Offers as a browser would write them, small: some sections, one identity."""

import hashlib
from dataclasses import dataclass

_CODECS = {
    "audio": ("111", ["a=rtpmap:111 opus/48000/2", "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"]),
    "video": ("96", ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli"]),
}


@dataclass(frozen=True)
class Section:
    mid: str
    kind: str = "audio"
    direction: str = "sendonly"


def make_offer(*sections: Section, identity: str = "one", fingerprint: str | None = None) -> str:
    """Write an offer of the ``RTCPeerConnection`` called ``identity``."""
    digest = hashlib.sha256(identity.encode()).digest()
    shown = fingerprint or ":".join(f"{octet:02X}" for octet in digest)
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(section.mid for section in sections)}",
    ]
    for number, section in enumerate(sections):
        payload_type, codec = _CODECS[section.kind]
        lines += [
            f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {payload_type}",
            "c=IN IP4 0.0.0.0",
            f"a=ice-ufrag:{digest.hex()[:8]}",
            f"a=ice-pwd:{digest.hex()[:32]}",
            f"a=fingerprint:sha-256 {shown}",
            "a=setup:actpass",
            f"a=mid:{section.mid}",
            f"a={section.direction}",
            "a=rtcp-mux",
            *codec,
        ]
        if section.direction in {"sendonly", "sendrecv"}:
            lines.append(f"a=ssrc:{int.from_bytes(digest[:3]) * 100 + number + 1} cname:{identity}")
    return "\r\n".join(lines) + "\r\n"
