"""Reads an offer (RFC 9429, 5.8; RFC 9143): from the client's SDP to an `Offer`, or a coded error.

The client always offers and the relay always answers. Everything alive must share one transport: one BUNDLE group,
RTP and RTCP multiplexed, ICE and DTLS attributes equal where they are repeated. Sections outside the group are not an
error; the answer refuses them. Total: any text gives an Offer or RemoteProtocolError, in time linear in its length.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from relay.certificate import Fingerprint, FingerprintVerifier
from relay.errors import RemoteProtocolError
from relay.ice import IceCredentials
from relay.offered import Offer, OfferedSection, OfferedTransport
from relay.section import SESSION_ATTRIBUTES, Line, parse_section_untrusted, read_lines_untrusted

MAX_SDP_CHARACTERS: Final = 256 * 1024  # Chromium's offer of 40 video sections is 220 KiB
MAX_SECTIONS: Final = 512
MAX_SESSION_ATTRIBUTES: Final = 64  # of those that every section inherits: they cost time once per section

OFFER_ERRORS: Final = {
    "invalid_sdp": "the offer is not SDP, or contradicts itself",
    "sdp_too_large": f"the offer has more than {MAX_SDP_CHARACTERS} characters",
    "too_many_sections": f"the offer has more than {MAX_SECTIONS} m= sections",
    "bundle_required": "the offer has media outside of a BUNDLE group only",
    "rtcp_mux_required": "a bundled section lacks a=rtcp-mux",
    "ice_required": "no bundled section has a=ice-ufrag and a=ice-pwd",
    "ice_lite_unsupported": "the client is ICE-lite as the relay is: neither would send checks",
    "invalid_ice_credentials": "a=ice-ufrag or a=ice-pwd is ill-formed",
    "fingerprint_required": "no bundled section has a=fingerprint",
    "invalid_fingerprint": "a=fingerprint is ill-formed or of a hash function that is not accepted",
    "setup_required": "no bundled section has a=setup",
}
"""Every code that `parse_offer` raises."""

Value = TypeVar("Value")


def parse_offer(sdp: str) -> Offer:
    """Read an offer.

    Raises: RemoteProtocolError with a code of OFFER_ERRORS.
    """
    if len(sdp) > MAX_SDP_CHARACTERS:
        raise RemoteProtocolError(
            "sdp_too_large", f"the offer has {len(sdp)} characters; at most {MAX_SDP_CHARACTERS} are accepted"
        )
    session, groups = _group_lines(read_lines_untrusted(sdp))
    if not session or session[0].text != "v=0":
        raise RemoteProtocolError("invalid_sdp", "the offer does not begin with the line v=0")
    if not groups:
        raise RemoteProtocolError("invalid_sdp", "the offer has no m= section: add a transceiver first")
    if len(groups) > MAX_SECTIONS:
        raise RemoteProtocolError(
            "too_many_sections",
            f"the offer has {len(groups)} m= sections; at most {MAX_SECTIONS} are accepted",
        )
    inherited = [line for line in session if line.name in SESSION_ATTRIBUTES]
    if len(inherited) > MAX_SESSION_ATTRIBUTES:
        raise RemoteProtocolError(
            "invalid_sdp",
            f"the offer has {len(inherited)} attributes above its sections that hold for all of them",
        )
    group = _parse_bundle_group(session)
    sections = tuple(
        parse_section_untrusted(index, inherited, lines, group) for index, lines in enumerate(groups)
    )
    bundled = _bundled_sections(sections, group)
    _check_bundled(bundled)
    if bundled and any(line.name == "ice-lite" for line in session):
        raise RemoteProtocolError(
            "ice_lite_unsupported", "the relay is ICE-lite: the client must be a full agent"
        )
    return Offer(
        sections=sections,
        bundle=tuple(section.mid for section in bundled),
        transport=_shared_transport(bundled) if bundled else None,
        extmap_allow_mixed=any(line.name == "extmap-allow-mixed" for line in session),
    )


def _group_lines(lines: Iterable[Line]) -> tuple[list[Line], list[list[Line]]]:
    """Return the lines of the session level, and those of each section."""
    session: list[Line] = []
    groups: list[list[Line]] = []
    for line in lines:
        if line.text.startswith("m="):
            groups.append([line])
        else:
            (groups[-1] if groups else session).append(line)
    return session, groups


def _parse_bundle_group(session: Sequence[Line]) -> Mapping[str, int]:
    """Return the mids of the first BUNDLE group with their places in it; empty when there is no such group."""
    for line in session:
        semantics, *mids = line.value.split() or [""]
        if line.name == "group" and semantics == "BUNDLE":
            return {mid: place for place, mid in enumerate(dict.fromkeys(mids))}
    return {}


def _bundled_sections(sections: Sequence[OfferedSection], group: Mapping[str, int]) -> list[OfferedSection]:
    """Return the live members of the group in its order: the first is the tagged one of RFC 9143.

    FFmpeg's WHIP names mids in the group that it does not have: those are passed over.
    """
    seen: dict[str, OfferedSection] = {}
    for section in sections:
        if section.mid and seen.setdefault(section.mid, section) is not section:
            raise RemoteProtocolError(
                "invalid_sdp", f"{section.name} has the mid of {seen[section.mid].name}"
            )
    bundled = sorted((section for section in sections if section.bundled), key=lambda each: group[each.mid])
    if not bundled and not all(section.rejected for section in sections):
        raise RemoteProtocolError(
            "bundle_required",
            "the offer needs a=group:BUNDLE with the mids of its sections (bundlePolicy max-bundle)",
        )
    return bundled


def _check_bundled(bundled: Sequence[OfferedSection]) -> None:
    """Check that sections can share one transport (RFC 9143, 9.1 and 9.2)."""
    payload_formats: dict[int, str] = {}
    extension_uris: dict[int, str] = {}
    owners: dict[int, OfferedSection] = {}
    for section in bundled:
        if section.is_rtp and not section.rtcp_mux:
            raise RemoteProtocolError("rtcp_mux_required", f"{section.name} lacks a=rtcp-mux")
        for meanings, offered, what in (
            (payload_formats, section.payload_formats, "payload type"),
            (extension_uris, section.extension_uris, "extension id"),
        ):
            for number, meaning in offered.items():
                if meanings.setdefault(number, meaning) != meaning:
                    raise RemoteProtocolError(
                        "invalid_sdp",
                        f"{what} {number} is {meaning[:80]} in {section.name}, "
                        f"but {meanings[number][:80]} in another bundled section",
                    )
        for ssrc in (*section.ssrcs, *section.rtx_ssrcs):
            if owners.setdefault(ssrc, section) is not section:
                raise RemoteProtocolError(
                    "invalid_sdp", f"ssrc {ssrc} is in {section.name} and in {owners[ssrc].name}"
                )


def _shared_transport(bundled: Sequence[OfferedSection]) -> OfferedTransport:
    """Return what the bundled sections agree on. All but the tagged one may leave it out."""
    credentials = _agreed(
        bundled,
        lambda section: (section.transport.ice_ufrag or "", section.transport.ice_pwd or ""),
        ("", ""),
        "a=ice-ufrag and a=ice-pwd",
    )
    if credentials is None or "" in credentials:
        raise RemoteProtocolError(
            "ice_required", "the offer has no a=ice-ufrag and a=ice-pwd for its BUNDLE group"
        )
    none_given: tuple[Fingerprint, ...] = ()
    fingerprints = _agreed(
        bundled, lambda section: section.transport.fingerprints, none_given, "a=fingerprint"
    )
    if fingerprints is None:
        raise RemoteProtocolError(
            "fingerprint_required", "the offer has no a=fingerprint for its BUNDLE group"
        )
    setup = next((section.transport.setup for section in bundled if section.transport.setup), None)
    if setup is None:
        raise RemoteProtocolError("setup_required", "the offer has no a=setup for its BUNDLE group")
    FingerprintVerifier(fingerprints)  # raises now what it would raise when DTLS begins
    return OfferedTransport(ice=IceCredentials(*credentials), fingerprints=fingerprints, setup=setup)


def _agreed(
    bundled: Sequence[OfferedSection], read: Callable[[OfferedSection], Value], absent: Value, what: str
) -> Value | None:
    """Return the one value that sections give, None when none does."""
    given = [section for section in bundled if read(section) != absent]
    for section in given:
        if read(section) != read(given[0]):
            raise RemoteProtocolError(
                "invalid_sdp",
                f"{what} of {section.name} differs from that of {given[0].name}, though they are bundled",
            )
    return read(given[0]) if given else None
