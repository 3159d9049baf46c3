"""The session descriptions of the load generator: offers written, answers read (RFC 9429, RFC 8839, RFC 8842).

A bench peer publishes one track, or subscribes to any number of them, over one bundled transport. Every attribute a
browser repeats in each section stands once at session level; there are no header extensions, because the packets have none.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.errors import BenchError
from bench.payload import PayloadKind
from relay.certificate import Fingerprint
from relay.dtls import DtlsRole
from relay.ice import IceCredentials

PAYLOAD_TYPES: Final = {PayloadKind.AUDIO: 111, PayloadKind.VIDEO: 96}
_FORMATS: Final = {PayloadKind.AUDIO: "opus/48000/2", PayloadKind.VIDEO: "VP8/90000"}
_ROLE_BESIDE: Final = {
    "active": DtlsRole.SERVER,
    "passive": DtlsRole.CLIENT,
}  # the answer's a=setup -> our role


@dataclass(frozen=True)
class LocalTransport:
    """What an offer says of our side."""

    ice: IceCredentials
    fingerprint: str  # of sha-256


@dataclass(frozen=True)
class RemoteTransport:
    """What an answer says of the relay's side; `role` is ours in DTLS."""

    ice: IceCredentials
    fingerprints: tuple[Fingerprint, ...]
    role: DtlsRole
    candidates: tuple[tuple[str, int], ...]


def write_publishing_offer(transport: LocalTransport, kind: PayloadKind, ssrc: int) -> str:
    """Offer one track with this SSRC, in section "0"."""
    section = _section(kind, "0", "sendonly", (f"a=ssrc:{ssrc} cname:bench",))
    return _description(transport, ["0"], section)


def write_subscribing_offer(transport: LocalTransport, kind: PayloadKind, count: int) -> str:
    """Offer to receive `count` tracks, in sections "0", "1", ..."""
    mids = [str(index) for index in range(count)]
    lines = [line for mid in mids for line in _section(kind, mid, "recvonly")]
    return _description(transport, mids, lines)


def write_speaking_offer(transport: LocalTransport, kind: PayloadKind, ssrc: int, count: int) -> str:
    """Offer one track with this SSRC in section "0", and to receive `count` in sections "1", "2", ..."""
    mids = [str(index) for index in range(count + 1)]
    lines = _section(kind, "0", "sendonly", (f"a=ssrc:{ssrc} cname:bench",))
    lines += [line for mid in mids[1:] for line in _section(kind, mid, "recvonly")]
    return _description(transport, mids, lines)


def write_mixed_offer(transport: LocalTransport, ssrc: int) -> str:
    """Offer a voice whose packets say how loud they are (RFC 6464, extension 1), and to receive one: the mix."""
    level = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    lines = _section(PayloadKind.AUDIO, "0", "sendonly", (level, f"a=ssrc:{ssrc} cname:bench"))
    lines += _section(PayloadKind.AUDIO, "1", "recvonly")
    return _description(transport, ["0", "1"], lines)


def read_answer(sdp: str) -> RemoteTransport:
    """Read what is needed to connect. The answer is our own server's: what is missing is an error, not a guess.

    Raises: BenchError naming what is missing or refused.
    """
    attributes: dict[str, list[str]] = {}
    refused = []
    for line in sdp.splitlines():
        if line.startswith("m=") and line.split()[1] == "0":
            refused.append(line)
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            attributes.setdefault(name, []).append(value)
    if refused:
        raise BenchError(f"the relay refused {len(refused)} of the sections offered, the first: {refused[0]}")
    for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup", "candidate"):
        if name not in attributes:
            raise BenchError(f"the relay's answer has no a={name}")
    setup = attributes["setup"][0]
    if setup not in _ROLE_BESIDE:
        raise BenchError(f"the relay answered a=setup:{setup}; expected active or passive")
    return RemoteTransport(
        ice=IceCredentials(attributes["ice-ufrag"][0], attributes["ice-pwd"][0]),
        fingerprints=tuple(
            Fingerprint(*value.split(" ", 1)) for value in dict.fromkeys(attributes["fingerprint"])
        ),
        role=_ROLE_BESIDE[setup],
        candidates=tuple(_udp_candidates(attributes["candidate"])),
    )


def _udp_candidates(values: Sequence[str]) -> list[tuple[str, int]]:
    candidates = []
    for value in values:
        fields = value.split()
        if len(fields) > 5 and fields[2].lower() == "udp":
            ipaddress.ip_address(fields[4])
            candidates.append((fields[4], int(fields[5])))
    return candidates


def _description(transport: LocalTransport, mids: Sequence[str], sections: Sequence[str]) -> str:
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(mids)}",
        f"a=ice-ufrag:{transport.ice.ufrag}",
        f"a=ice-pwd:{transport.ice.password}",
        f"a=fingerprint:sha-256 {transport.fingerprint}",
        "a=setup:actpass",
        *sections,
    ]
    return "\r\n".join(lines) + "\r\n"


def _section(kind: PayloadKind, mid: str, direction: str, extra: Sequence[str] = ()) -> list[str]:
    payload_type = PAYLOAD_TYPES[kind]
    return [
        f"m={kind.media} 9 UDP/TLS/RTP/SAVPF {payload_type}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=rtcp-mux",
        f"a=rtpmap:{payload_type} {_FORMATS[kind]}",
        *extra,
    ]
