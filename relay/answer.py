"""Writes the answer to an offer (RFC 9429, 5.3): same sections, same order, the client's own numbers.

The relay is ICE-lite: all its candidates are host candidates and stand in the answer. RFC 9429 wants transport
attributes in the tagged section of the BUNDLE group only, yet they are repeated in all of them, as browsers do: aiortc
takes the candidates of whichever section comes last, and no answer at all where a section, even a refused one, has no
ICE credentials.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relay.codecs import EXTENSION_URIS, parse_format_parameters
from relay.errors import LocalProtocolError, RemoteProtocolError
from relay.ice import IceCredentials
from relay.offered import FEEDBACK, Offer, OfferedCodec, OfferedSection, OfferedTransport
from relay.payloads import negotiate_codecs

DISCARD_PORT: Final = 9

REFUSALS: Final = {
    "stopped": "the client itself stopped the transceiver",
    "not_bundled": "the section is not in the BUNDLE group; only one transport is offered to each client",
    "unsupported_media": "only audio and video over RTP are carried, no data channels",
    "unsupported_codec": "none of the codecs offered is carried",
}
"""Codes with which `find_refusal` refuses, and what they mean. Callers add reasons of their own."""

ANSWERABLE: Final = {
    "sendrecv": ("sendrecv", "sendonly", "recvonly", "inactive"),
    "sendonly": ("recvonly", "inactive"),
    "recvonly": ("sendonly", "inactive"),
    "inactive": ("inactive",),
}
"""Offered direction -> directions an answer may have (RFC 3264, 6.1)."""

_ROLE_BESIDE: Final = {"actpass": "passive", "active": "passive", "passive": "active"}
_MIRRORED: Final = {"sendonly": "recvonly", "recvonly": "sendonly"}


@dataclass(frozen=True)
class Refuse:
    """Port 0, outside of BUNDLE. The code is for programs, the reason for people; neither is in the SDP."""

    code: str
    reason: str


@dataclass(frozen=True)
class Carried:
    """What the sections that are not refused have in common: of `negotiate_codecs`, `negotiate_extensions`."""

    codecs: tuple[OfferedCodec, ...]
    extensions: Mapping[int, int]  # canonical -> the client's id


@dataclass(frozen=True)
class Inactive(Carried):
    """The section is kept, and nothing flows."""


@dataclass(frozen=True)
class Receive(Carried):
    """The client publishes."""


@dataclass(frozen=True, kw_only=True)
class Send(Carried):
    """The client subscribes: these are the streams it will get."""

    ssrc: int
    rtx_ssrc: int | None
    cname: str
    stream_id: str
    track_id: str


@dataclass(frozen=True, kw_only=True)
class SendReceive(Send):
    """The client publishes and subscribes in one section."""


AnswerSection = Refuse | Carried

DIRECTIONS: Final[Mapping[type[Carried], str]] = {
    Inactive: "inactive",
    Receive: "recvonly",
    Send: "sendonly",
    SendReceive: "sendrecv",
}
"""How each kind of carried section is answered."""


@dataclass(frozen=True)
class HostCandidate:
    """An address of ours that clients can reach."""

    address: str
    port: int

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.address)
        except ValueError as error:
            raise LocalProtocolError(
                f"{self.address!r} is not an IPv4 or IPv6 address to announce"
            ) from error

    @property
    def connection(self) -> str:
        """The value of a c= line."""
        return f"IN IP{ipaddress.ip_address(self.address).version} {self.address}"


@dataclass(frozen=True)
class AnswerTransport:
    """Our side of the one transport. Candidates: the best first, some clients (FFmpeg) read no other."""

    ice: IceCredentials
    fingerprint: str  # of sha-256, hexadecimal octets with colons
    setup: str  # "active" or "passive", from `choose_setup`
    candidates: tuple[HostCandidate, ...]
    session_id: int
    session_version: int  # one more with each answer


def choose_setup(transport: OfferedTransport, established: str | None = None) -> str:
    """Return our DTLS role (RFC 8842, 5.3): `established` on a running association, else passive where we may choose.

    Raises: RemoteProtocolError("setup_conflict") when the client claims the role that we have.
    """
    chosen = established or _ROLE_BESIDE[transport.setup]
    if chosen == transport.setup:
        raise RemoteProtocolError(
            "setup_conflict",
            f"the offer has a=setup:{transport.setup}, but that is the relay's role in the running DTLS association",
        )
    return chosen


def find_refusal(section: OfferedSection) -> Refuse | None:
    """Return why the relay cannot carry a section, whatever the caller wants with it; None when it can."""
    if section.rejected:
        code = "stopped"
    elif not section.is_rtp:
        code = "unsupported_media"
    elif not section.bundled:
        code = "not_bundled"
    elif not negotiate_codecs(section):
        code = "unsupported_codec"
    else:
        return None
    return Refuse(code, REFUSALS[code])


def build_answer(offer: Offer, sections: Sequence[AnswerSection], transport: AnswerTransport) -> str:
    """Write the answer; `sections` go with those of the offer one by one.

    Raises: LocalProtocolError when an answer section does not fit the offered one.
    """
    if len(sections) != len(offer.sections):
        raise LocalProtocolError(f"{len(offer.sections)} sections are offered, {len(sections)} answered")
    pairs = list(zip(offer.sections, sections, strict=True))
    for offered, section in pairs:
        _check_fits(offered, section)
    carried = {offered.mid for offered, section in pairs if not isinstance(section, Refuse)}
    bundle = [mid for mid in offer.bundle if mid in carried]
    lines = list(_session_lines(offer, bundle, transport))
    for offered, section in pairs:
        if isinstance(section, Refuse):
            lines += _refused_lines(offered, transport)
        else:
            lines += _carried_lines(offered, section, transport)
            if not offer.extmap_allow_mixed and offered.extmap_allow_mixed:
                lines.append("a=extmap-allow-mixed")
    return "\r\n".join(lines) + "\r\n"


def _check_fits(offered: OfferedSection, section: AnswerSection) -> None:
    if isinstance(section, Refuse):
        return
    direction = DIRECTIONS[type(section)]
    if direction not in ANSWERABLE[offered.direction]:
        raise LocalProtocolError(
            f"{offered.name} is offered {offered.direction}; {direction} does not answer that"
        )
    refusal = find_refusal(offered)
    if refusal is not None:
        raise LocalProtocolError(f"{offered.name} can only be refused: {refusal.reason}")
    if not section.codecs or not set(section.codecs) <= set(negotiate_codecs(offered)):
        raise LocalProtocolError(f"{offered.name} must be answered with codecs from negotiate_codecs")


def _session_lines(offer: Offer, bundle: Sequence[str], transport: AnswerTransport) -> Iterator[str]:
    yield "v=0"
    yield f"o=- {transport.session_id} {transport.session_version} IN IP4 127.0.0.1"  # RFC 9429, 5.2.1
    yield "s=-"
    yield "t=0 0"
    if bundle:
        yield f"a=group:BUNDLE {' '.join(bundle)}"
    yield "a=ice-lite"
    if offer.extmap_allow_mixed:
        yield "a=extmap-allow-mixed"
    yield "a=msid-semantic:WMS *"


def _transport_lines(transport: AnswerTransport) -> Iterator[str]:
    yield f"a=ice-ufrag:{transport.ice.ufrag}"
    yield f"a=ice-pwd:{transport.ice.password}"
    yield "a=ice-options:trickle"
    yield f"a=fingerprint:sha-256 {transport.fingerprint}"
    yield f"a=setup:{transport.setup}"


def _candidate_lines(candidates: Sequence[HostCandidate]) -> Iterator[str]:
    """Host candidates of component 1 with falling local preference (RFC 8445, 5.1.2.1)."""
    for place, candidate in enumerate(candidates):
        priority = (126 << 24) | (0xFFFF - place) << 8 | (256 - 1)
        yield f"a=candidate:{place + 1} 1 udp {priority} {candidate.address} {candidate.port} typ host"
    yield "a=end-of-candidates"


def _refused_lines(offered: OfferedSection, transport: AnswerTransport) -> Iterator[str]:
    """One format is enough (RFC 3264, 6). aiortc wants a codec it knows, and would wait for candidates."""
    known = negotiate_codecs(offered) or offered.codecs
    format_ = str(known[0].payload_type) if known else offered.formats[0]
    yield f"m={offered.kind} 0 {offered.protocol} {format_}"
    yield "c=IN IP4 0.0.0.0"
    yield from _transport_lines(transport)
    yield "a=end-of-candidates"
    if offered.mid:
        yield f"a=mid:{offered.mid}"
    yield "a=inactive"
    if offered.is_rtp:
        yield "a=rtcp-mux"
    if known:
        yield f"a=rtpmap:{known[0].payload_type} {known[0].rtpmap}"


def _carried_lines(offered: OfferedSection, section: Carried, transport: AnswerTransport) -> Iterator[str]:
    payload_types = []
    for codec in section.codecs:
        payload_types += [
            codec.payload_type,
            *([codec.rtx_payload_type] if codec.rtx_payload_type is not None else []),
        ]
    default = transport.candidates[0] if transport.candidates else HostCandidate("0.0.0.0", DISCARD_PORT)  # noqa: S104
    yield f"m={offered.kind} {default.port} {offered.protocol} {' '.join(map(str, payload_types))}"
    yield f"c={default.connection}"
    yield from _candidate_lines(transport.candidates)
    yield from _transport_lines(transport)
    yield f"a=mid:{offered.mid}"
    for extension, wire_id in section.extensions.items():
        direction = offered.extension_directions.get(extension)
        suffix = f"/{_MIRRORED[direction]}" if direction is not None else ""
        yield f"a=extmap:{wire_id}{suffix} {EXTENSION_URIS[extension]}"
    yield f"a={DIRECTIONS[type(section)]}"
    if isinstance(section, Send):
        yield f"a=msid:{section.stream_id} {section.track_id}"
    yield "a=rtcp-mux"
    if offered.rtcp_rsize:
        yield "a=rtcp-rsize"
    for codec in section.codecs:
        yield from _codec_lines(codec)
    if isinstance(section, Send):
        yield from _ssrc_lines(section)


def _codec_lines(codec: OfferedCodec) -> Iterator[str]:
    yield f"a=rtpmap:{codec.payload_type} {codec.rtpmap}"
    for feedback in FEEDBACK:
        if feedback in codec.feedback:
            yield f"a=rtcp-fb:{codec.payload_type} {feedback}"
    fmtp = _answer_fmtp(codec)
    if fmtp:
        yield f"a=fmtp:{codec.payload_type} {fmtp}"
    if codec.rtx_payload_type is not None:
        yield f"a=rtpmap:{codec.rtx_payload_type} rtx/{codec.clock_rate}"
        yield f"a=fmtp:{codec.rtx_payload_type} apt={codec.payload_type}"


def _answer_fmtp(codec: OfferedCodec) -> str:
    """Echo the client's parameters: what it can do is what it will be sent, and the relay takes anything.

    Opus senders add in-band FEC only when the answer asks for it (RFC 7587, 6.1).
    """
    fmtp = codec.fmtp or ""
    if codec.name.lower() == "opus" and "useinbandfec" not in parse_format_parameters(fmtp):
        return f"{fmtp};useinbandfec=1" if fmtp else "useinbandfec=1"
    return fmtp


def _ssrc_lines(section: Send) -> Iterator[str]:
    repaired = section.rtx_ssrc is not None and any(
        codec.rtx_payload_type is not None for codec in section.codecs
    )
    if repaired:
        yield f"a=ssrc-group:FID {section.ssrc} {section.rtx_ssrc}"
    for ssrc in (section.ssrc, section.rtx_ssrc) if repaired else (section.ssrc,):
        yield f"a=ssrc:{ssrc} cname:{section.cname}"
        yield f"a=ssrc:{ssrc} msid:{section.stream_id} {section.track_id}"
