"""What a client offers, as values: the whole offer, its sections, their codecs.

`relay.offer` makes these from SDP; nothing here reads text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relay.certificate import Fingerprint
from relay.ice import IceCredentials

FEEDBACK: Final = ("nack", "nack pli", "ccm fir")
"""RTCP feedback the relay takes part in; all else that is offered (goog-remb, transport-cc) is declined."""


@dataclass(frozen=True)
class OfferedCodec:
    """One payload type of a section, with the RTX payload type that repairs it folded in."""

    payload_type: int
    codec: int  # canonical, media.codecs; NO_CODEC when the relay cannot carry it
    name: str
    clock_rate: int
    channels: int | None
    fmtp: str | None  # as offered
    rtx_payload_type: int | None
    feedback: frozenset[str]  # of FEEDBACK

    @property
    def rtpmap(self) -> str:
        """The value of its rtpmap line, without the payload type."""
        channels = f"/{self.channels}" if self.channels is not None and self.channels > 1 else ""
        return f"{self.name}/{self.clock_rate}{channels}"

    @property
    def nack(self) -> bool:
        """The client asks for, or answers, generic NACKs (RFC 4585)."""
        return "nack" in self.feedback

    @property
    def pli(self) -> bool:
        """Likewise picture loss indications (RFC 4585)."""
        return "nack pli" in self.feedback

    @property
    def fir(self) -> bool:
        """Likewise full intra requests (RFC 5104)."""
        return "ccm fir" in self.feedback


@dataclass(frozen=True)
class SectionTransport:
    """The transport attributes that hold for one section, as they stand there or at the session level."""

    ice_ufrag: str | None
    ice_pwd: str | None
    fingerprints: tuple[Fingerprint, ...]
    setup: str | None


@dataclass(frozen=True)
class OfferedSection:
    """One m= section."""

    index: int
    mid: str  # empty when absent
    kind: str  # "audio", "video", "application" or whatever else was offered
    port: int
    protocol: str
    formats: tuple[str, ...]
    direction: str
    is_rtp: bool  # audio or video over a protocol of RFC 9429, 5.1.2
    bundled: bool  # alive, and a member of the BUNDLE group
    rejected: bool  # port 0 without bundle-only: a stopped transceiver
    bundle_only: bool
    rtcp_mux: bool
    rtcp_rsize: bool
    extmap_allow_mixed: bool
    codecs: tuple[OfferedCodec, ...]  # in the client's order, without rtx
    payload_formats: Mapping[int, str]  # what each payload type means, to compare sections with
    extensions: Mapping[int, int]  # canonical id -> the client's id, 1..14
    extension_directions: Mapping[int, str]  # of those restricted to sendonly or recvonly
    extension_uris: Mapping[int, str]  # the client's id -> URI, supported or not, to compare sections with
    ssrcs: tuple[int, ...]  # of media, in order of appearance
    rtx_ssrcs: Mapping[int, int]  # RTX SSRC -> the SSRC it repairs
    msid: str | None
    transport: SectionTransport

    @property
    def name(self) -> str:
        """How errors call it."""
        return f"section {self.index} (mid {self.mid!r}, {self.kind})"


@dataclass(frozen=True)
class OfferedTransport:
    """The one transport that all bundled sections share."""

    ice: IceCredentials
    fingerprints: tuple[Fingerprint, ...]
    setup: str  # "actpass", "active" or "passive"


@dataclass(frozen=True)
class Offer:
    """A whole offer. `transport` is None when nothing in it is alive: every transceiver has been stopped."""

    sections: tuple[OfferedSection, ...]
    bundle: tuple[str, ...]  # mids of the bundled sections, in the order of the BUNDLE group
    transport: OfferedTransport | None
    extmap_allow_mixed: bool  # at the session level
