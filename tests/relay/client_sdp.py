"""What a client under test says and understands in SDP: offers with numbers of its own choice, and answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from media.codecs import AUDIO_LEVEL, MID
from relay.certificate import Fingerprint
from relay.codecs import EXTENSION_URIS
from relay.ice import IceCredentials

AUDIO_FORMATS = {"opus": "opus/48000/2"}
VIDEO_FORMATS = {"VP8": "VP8/90000", "H264": "H264/90000"}
_FMTP = {"H264": "packetization-mode=1;profile-level-id=42e01f"}


@dataclass(frozen=True)
class Section:
    """One m= section of an offer. `payload_types`: by name; `rtx`: of the codec's payload type; `extensions`: ids."""

    mid: str
    kind: str
    direction: str
    payload_types: Mapping[str, int]
    rtx: Mapping[int, int] = field(default_factory=dict)
    extensions: Mapping[int, int] = field(default_factory=dict)
    ssrc: int | None = None
    rtx_ssrc: int | None = None
    nack: bool = True
    port: int = 9

    @property
    def payload_type(self) -> int:
        return next(iter(self.payload_types.values()))

    @property
    def clock_rate(self) -> int:
        return 48_000 if self.kind == "audio" else 90_000

    def lines(self) -> list[str]:
        formats = AUDIO_FORMATS if self.kind == "audio" else VIDEO_FORMATS
        numbers = [*self.payload_types.values(), *self.rtx.values()]
        lines = [
            f"m={self.kind} {self.port} UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{self.mid}",
            f"a={self.direction}",
            "a=rtcp-mux",
        ]
        lines += [f"a=extmap:{number} {EXTENSION_URIS[one]}" for one, number in self.extensions.items()]
        for name, number in self.payload_types.items():
            lines.append(f"a=rtpmap:{number} {formats[name]}")
            if name in _FMTP:
                lines.append(f"a=fmtp:{number} {_FMTP[name]}")
            if self.kind == "video":
                feedback = ["nack", "nack pli", "ccm fir"] if self.nack else ["nack pli", "ccm fir"]
                lines += [f"a=rtcp-fb:{number} {one}" for one in feedback]
        for repaired, number in self.rtx.items():
            lines += [f"a=rtpmap:{number} rtx/90000", f"a=fmtp:{number} apt={repaired}"]
        if self.ssrc is not None and self.rtx_ssrc is not None:
            lines.append(f"a=ssrc-group:FID {self.ssrc} {self.rtx_ssrc}")
        lines += [f"a=ssrc:{ssrc} cname:client" for ssrc in (self.ssrc, self.rtx_ssrc) if ssrc is not None]
        return lines


def audio(
    mid: str,
    direction: str,
    *,
    payload_type: int = 111,
    level_id: int = 1,
    mid_id: int = 4,
    ssrc: int | None = None,
) -> Section:
    """A section for Opus."""
    return Section(
        mid,
        "audio",
        direction,
        {"opus": payload_type},
        extensions={AUDIO_LEVEL: level_id, MID: mid_id},
        ssrc=ssrc,
    )


def video(
    mid: str,
    direction: str,
    *,
    payload_type: int = 96,
    rtx_payload_type: int | None = None,
    mid_id: int = 4,
    ssrc: int | None = None,
    rtx_ssrc: int | None = None,
    nack: bool = True,
) -> Section:
    """A section for VP8, repaired by RTX if it has a payload type for it."""
    return Section(
        mid,
        "video",
        direction,
        {"VP8": payload_type},
        rtx={} if rtx_payload_type is None else {payload_type: rtx_payload_type},
        extensions={MID: mid_id},
        ssrc=ssrc,
        rtx_ssrc=rtx_ssrc,
        nack=nack,
    )


def write_offer(sections: Sequence[Section], *, ice: IceCredentials, fingerprint: str, setup: str) -> str:
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {' '.join(section.mid for section in sections if section.port)}",
        f"a=ice-ufrag:{ice.ufrag}",
        f"a=ice-pwd:{ice.password}",
        f"a=fingerprint:sha-256 {fingerprint}",
        f"a=setup:{setup}",
        "a=extmap-allow-mixed",
    ]
    for section in sections:
        lines += section.lines()
    return "\r\n".join(lines) + "\r\n"


@dataclass(frozen=True)
class AnsweredSection:
    """What the relay answered to one section; `ssrc` is what it will send there."""

    port: int
    direction: str
    ssrc: int | None
    rtx_ssrc: int | None
    cname: str | None


@dataclass(frozen=True)
class Answer:
    ice: IceCredentials
    fingerprints: tuple[Fingerprint, ...]
    setup: str
    candidate: tuple[str, int]
    sections: Mapping[str, AnsweredSection]


def read_answer(sdp: str) -> Answer:
    """Read an answer with at least one section that was not refused."""
    head, *bodies = sdp.replace("\r\n", "\n").split("\nm=")
    sections = {}
    shared: dict[str, list[str]] = _attributes(head)
    for body in bodies:
        attributes = _attributes(body)
        port = int(body.split()[1])
        ssrcs = [value.split(" ", 1) for value in attributes.get("ssrc", [])]
        group = next((value.split()[1:] for value in attributes.get("ssrc-group", [])), None)
        ssrc = int(ssrcs[0][0]) if ssrcs else None
        sections[attributes["mid"][0]] = AnsweredSection(
            port=port,
            direction=next(
                one for one in ("sendrecv", "sendonly", "recvonly", "inactive") if one in attributes
            ),
            ssrc=ssrc,
            rtx_ssrc=int(group[1]) if group else None,
            cname=next((text.removeprefix("cname:") for _, text in ssrcs if text.startswith("cname:")), None),
        )
        if port and "candidate" in attributes:
            shared = {**shared, **attributes}
    _, _, _, _, host, udp_port, *_ = shared["candidate"][0].split()
    return Answer(
        ice=IceCredentials(shared["ice-ufrag"][0], shared["ice-pwd"][0]),
        fingerprints=tuple(Fingerprint(*value.split(" ", 1)) for value in shared["fingerprint"]),
        setup=shared["setup"][0],
        candidate=(host, int(udp_port)),
        sections=sections,
    )


def _attributes(body: str) -> dict[str, list[str]]:
    attributes: dict[str, list[str]] = {}
    for line in body.splitlines():
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            attributes.setdefault(name, []).append(value)
    return attributes
