"""Reads one m= section of an offer (RFC 8866, 5.14).

aiortc's parser reads what it reads well: mid, msid, rtpmap, ssrc-group, ICE and DTLS attributes. It is given those
lines alone, one section at a time, because it raises seven kinds of exception without saying where and loses what else
an answer needs: the direction of an extmap, fmtp with spaces, `a=ssrc` without a value, feedback (quadratic in the
number of lines), bundle-only and protocols it has not heard of. Those are read here. Attributes that neither reads
(candidates: the relay is ICE-lite; rid and simulcast) are passed over.

Raises nothing but RemoteProtocolError("invalid_sdp"), with the number of the line.
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from aiortc.sdp import SessionDescription

from relay.certificate import Fingerprint
from relay.codecs import EXTENSION_IDS, RTX_NAME, canonical_codec, parse_format_parameters
from relay.errors import RemoteProtocolError
from relay.offered import FEEDBACK, OfferedCodec, OfferedSection, SectionTransport

DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
SETUPS: Final = ("actpass", "active", "passive")

MAX_PAYLOAD_TYPE: Final = 127
MAX_EXTENSION_ID: Final = 14  # the one-byte form of RFC 8285; no browser goes beyond
MAX_SSRC: Final = 0xFFFF_FFFF

SESSION_ATTRIBUTES: Final = frozenset(
    {"ice-ufrag", "ice-pwd", "fingerprint", "setup", "extmap", "extmap-allow-mixed", *DIRECTIONS}
)
"""Attributes of the session level that hold for every section."""

_AIORTC_SESSION: Final = frozenset({"ice-ufrag", "ice-pwd", "fingerprint"})
_AIORTC_MEDIA: Final = _AIORTC_SESSION | {"mid", "msid", "rtcp-mux", "rtpmap", "ssrc-group"}
_AIORTC_SETUP: Final = "a=setup:actpass"
"""aiortc forgets the fingerprints of a section that has no setup. The real value is read here."""

_MEDIA_LINE: Final = re.compile(r"m=([^\s/]+) (\d{1,5})(?:/\d+)? (\S+) (\S.*)", re.ASCII)
_RTP_PROTOCOL: Final = re.compile(r"(?:(?:UDP|TCP)/(?:D?TLS)/)?RTP/S?AVPF?")  # RFC 9429, 5.1.2 has the list
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,64}")
_EXTENSION_MAP: Final = re.compile(r"(\d{1,5})(?:/(\w+))? (\S+)(?: .*)?", re.ASCII)
_PAYLOAD_TYPE: Final = re.compile(r"\d{1,3}", re.ASCII)
_SSRC: Final = re.compile(r"(\d{1,10})(?: .*)?", re.ASCII)


class Line(NamedTuple):
    """A line of an SDP body. `name` and `value` are those of an `a=` line, otherwise empty."""

    number: int
    text: str
    name: str
    value: str


def read_lines_untrusted(sdp: str) -> Iterator[Line]:
    """Split an SDP body into numbered lines, and its attributes into name and value."""
    for number, raw in enumerate(sdp.splitlines(), start=1):
        text = raw.rstrip()
        name, _, value = text[2:].partition(":") if text.startswith("a=") else ("", "", "")
        yield Line(number, text, name, value)


def invalid(line: Line, expected: str) -> RemoteProtocolError:
    """Make the error for a line that cannot be read."""
    return RemoteProtocolError(
        "invalid_sdp", f"line {line.number} of the offer reads {line.text[:80]!r}; expected {expected}"
    )


def parse_section_untrusted(
    index: int, session: Sequence[Line], lines: Sequence[Line], bundle: Container[str]
) -> OfferedSection:
    """Read the section whose m= line comes first in `lines`; `session` holds SESSION_ATTRIBUTES alone.

    Raises: RemoteProtocolError.
    """
    kind, port, protocol, formats = _parse_media_line(lines[0])
    is_rtp = kind in ("audio", "video") and _RTP_PROTOCOL.fullmatch(protocol) is not None
    description = _parse_with_aiortc(session, lines, kind if is_rtp else "video")
    flags = {line.name for line in lines}
    mid = description.rtp.muxId or ""
    if mid and _TOKEN.fullmatch(mid) is None:
        raise invalid(_last(lines, "mid"), "a mid of 1 to 64 token characters")
    rejected = port == 0 and not ("bundle-only" in flags and mid in bundle)
    codecs, payload_formats = (
        _parse_codecs(kind, formats, lines, description.rtp.codecs) if is_rtp else ((), {})
    )
    extension_uris, extensions, extension_directions = _parse_extensions([*session, *lines])
    ssrcs, rtx_ssrcs = _parse_ssrcs(lines, description.ssrc_group)
    return OfferedSection(
        index=index,
        mid=mid,
        kind=kind,
        port=port,
        protocol=protocol,
        formats=formats,
        direction=next((line.name for line in [*lines, *session] if line.name in DIRECTIONS), "sendrecv"),
        is_rtp=is_rtp,
        bundled=not rejected and mid in bundle,
        rejected=rejected,
        bundle_only="bundle-only" in flags,
        rtcp_mux=description.rtcp_mux,
        rtcp_rsize="rtcp-rsize" in flags,
        extmap_allow_mixed=any(line.name == "extmap-allow-mixed" for line in [*lines, *session]),
        codecs=codecs,
        payload_formats=payload_formats,
        extensions=extensions,
        extension_directions=extension_directions,
        extension_uris=extension_uris,
        ssrcs=ssrcs,
        rtx_ssrcs=rtx_ssrcs,
        msid=description.msid,
        transport=SectionTransport(
            ice_ufrag=description.ice.usernameFragment,
            ice_pwd=description.ice.password,
            fingerprints=tuple(
                dict.fromkeys(
                    Fingerprint(each.algorithm, each.value) for each in description.dtls.fingerprints
                )
            ),
            setup=_parse_setup([*session, *lines]),
        ),
    )


def _parse_media_line(line: Line) -> tuple[str, int, str, tuple[str, ...]]:
    match = _MEDIA_LINE.fullmatch(line.text)
    if match is None or int(match[2]) > 0xFFFF:
        raise invalid(line, "m=<media> <port> <protocol> <format> ...")
    return match[1], int(match[2]), match[3], tuple(match[4].split())


def _parse_with_aiortc(session: Sequence[Line], lines: Sequence[Line], kind: str) -> Any:
    """Return aiortc's MediaDescription of a section, under a m= line that it is sure to read."""
    shared = [line for line in session if line.name in _AIORTC_SESSION]
    own = [line for line in lines if line.name in _AIORTC_MEDIA]
    description = _aiortc_media(kind, shared, own)
    if description is None:
        culprits = (line for line in (*shared, *own) if _aiortc_media(kind, [], [line]) is None)
        culprit = next(culprits, lines[0])
        raise invalid(culprit, f"a well-formed {culprit.name or 'section'}")
    return description


def _aiortc_media(kind: str, session: Iterable[Line], own: Iterable[Line]) -> Any:
    """Return None where aiortc raises whatever it raises."""
    texts = [_AIORTC_SETUP, *(line.text for line in session), f"m={kind} 9 UDP/TLS/RTP/SAVPF 0"]
    try:
        return SessionDescription.parse("\n".join([*texts, *(line.text for line in own)])).media[0]
    except (AssertionError, AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
        return None


def _parse_codecs(
    kind: str, formats: Sequence[str], lines: Sequence[Line], rtpmaps: Sequence[Any]
) -> tuple[tuple[OfferedCodec, ...], dict[int, str]]:
    """Return the codecs, and what every payload type with an rtpmap means."""
    described = {}
    for rtpmap in rtpmaps:
        if not 0 <= rtpmap.payloadType <= MAX_PAYLOAD_TYPE or rtpmap.payloadType in described:
            raise invalid(lines[0], f"one rtpmap for payload type {rtpmap.payloadType}, and 0 to 127")
        described[rtpmap.payloadType] = rtpmap
    fmtp = _parse_fmtp(lines)
    feedback = _parse_feedback(lines)
    rtx: dict[int, int] = {}
    meanings: dict[int, str] = {}
    found: list[OfferedCodec] = []
    # RTX may come before what it repairs, so it is folded in afterwards.
    for payload_type in dict.fromkeys(_parse_payload_type(text, lines[0]) for text in formats):
        rtpmap = described.get(payload_type)
        if rtpmap is None:
            continue  # a static payload type of RFC 3551, none of which the relay carries
        parameters = parse_format_parameters(fmtp.get(payload_type, ""))
        if rtpmap.name.lower() == RTX_NAME:
            if "apt" in parameters:  # without it, it repairs nothing
                associated = _parse_payload_type(parameters["apt"], lines[0])
                rtx.setdefault(associated, payload_type)
                meanings[payload_type] = f"rtx of {associated}"
            continue
        codec = canonical_codec(kind, rtpmap.name, rtpmap.clockRate, rtpmap.channels, parameters)
        offered = OfferedCodec(
            payload_type=payload_type,
            codec=codec,
            name=rtpmap.name,
            clock_rate=rtpmap.clockRate,
            channels=rtpmap.channels,
            fmtp=fmtp.get(payload_type),
            rtx_payload_type=None,
            feedback=frozenset(feedback.get(str(payload_type), set()) | feedback.get("*", set())),
        )
        meanings[payload_type] = f"{offered.rtpmap.lower()} (codec {codec})"
        found.append(offered)
    return tuple(replace(codec, rtx_payload_type=rtx.get(codec.payload_type)) for codec in found), meanings


def _parse_payload_type(text: str, line: Line) -> int:
    if _PAYLOAD_TYPE.fullmatch(text) is None or int(text) > MAX_PAYLOAD_TYPE:
        raise invalid(line, f"payload types of 0 to 127, not {text[:20]!r}")
    return int(text)


def _parse_fmtp(lines: Sequence[Line]) -> dict[int, str]:
    fmtp = {}
    for line in lines:
        if line.name == "fmtp":
            payload_type, _, text = line.value.partition(" ")
            fmtp[_parse_payload_type(payload_type, line)] = text.strip()
    return fmtp


def _parse_feedback(lines: Sequence[Line]) -> dict[str, set[str]]:
    feedback: dict[str, set[str]] = {}
    for line in lines:
        if line.name == "rtcp-fb":
            payload_type, *words = line.value.split() or [""]
            if " ".join(words) in FEEDBACK:
                feedback.setdefault(payload_type, set()).add(" ".join(words))
    return feedback


def _parse_extensions(lines: Sequence[Line]) -> tuple[dict[int, str], dict[int, int], dict[int, str]]:
    """Return id -> URI, canonical -> id, canonical -> direction where that is restricted."""
    uris: dict[int, str] = {}
    extensions: dict[int, int] = {}
    directions: dict[int, str] = {}
    for line in lines:
        if line.name != "extmap":
            continue
        match = _EXTENSION_MAP.fullmatch(line.value)
        if match is None or match[2] not in (None, *DIRECTIONS):
            raise invalid(line, "a=extmap:<id>[/<direction>] <URI>")
        wire_id, direction, uri = int(match[1]), match[2], match[3]
        if not 1 <= wire_id <= MAX_EXTENSION_ID:
            continue
        if uris.setdefault(wire_id, uri) != uri:
            raise invalid(
                line, f"one meaning of extension id {wire_id}, which is {uris[wire_id][:80]} already"
            )
        extension = EXTENSION_IDS.get(uri)
        if extension is None or extension in extensions or direction == "inactive":
            continue
        extensions[extension] = wire_id
        if direction in ("sendonly", "recvonly"):
            directions[extension] = direction
    return uris, extensions, directions


def _parse_ssrcs(lines: Sequence[Line], groups: Sequence[Any]) -> tuple[tuple[int, ...], dict[int, int]]:
    """Return the SSRCs of media, and RTX SSRC -> media SSRC."""
    ssrcs: dict[int, None] = {}
    for line in lines:
        if line.name == "ssrc":
            match = _SSRC.fullmatch(line.value)
            if match is None or int(match[1]) > MAX_SSRC:
                raise invalid(line, "a=ssrc:<ssrc> [<attribute>[:<value>]]")
            ssrcs[int(match[1])] = None
    rtx_ssrcs: dict[int, int] = {}
    for group in groups:
        if group.semantic in ("FID", "FEC-FR"):  # RFC 5576, RFC 5956: media, then what repairs it
            if len(group.items) != 2 or not all(0 <= ssrc <= MAX_SSRC for ssrc in group.items):
                raise invalid(_last(lines, "ssrc-group"), f"two SSRCs in each {group.semantic} group")
            media, repair = group.items
            ssrcs.setdefault(media)
            ssrcs.pop(repair, None)
            if group.semantic == "FID":
                rtx_ssrcs[repair] = media
    if not ssrcs.keys() >= set(rtx_ssrcs.values()):
        raise invalid(_last(lines, "ssrc-group"), "FID groups that repair media, not each other")
    return tuple(ssrcs), rtx_ssrcs


def _parse_setup(lines: Sequence[Line]) -> str | None:
    setup = None
    for line in lines:
        if line.name == "setup":
            if line.value not in SETUPS:
                raise invalid(line, f"a setup of {', '.join(SETUPS)}")
            setup = line.value
    return setup


def _last(lines: Sequence[Line], name: str) -> Line:
    return [line for line in lines if line.name == name][-1]
