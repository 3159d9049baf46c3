"""The text of answers: the client's own numbers, nothing it did not offer, and refusals that cannot be misread."""

import dataclasses
import itertools
from typing import Any

import pytest
from aiortc.sdp import SessionDescription
from willing_answer import SAMPLES, TRANSPORT, answer_sections, answer_willingly, carry

from media import codecs
from relay.answer import (
    ANSWERABLE,
    DIRECTIONS,
    REFUSALS,
    Carried,
    HostCandidate,
    Inactive,
    Receive,
    Refuse,
    Send,
    build_answer,
    choose_setup,
    find_refusal,
)
from relay.errors import LocalProtocolError, RemoteProtocolError
from relay.offer import parse_offer
from relay.offered import Offer
from relay.payloads import negotiate_codecs, negotiate_extensions


def sections_of(answer: str) -> list[list[str]]:
    """Return the lines of each section, m= line first."""
    head, *rest = answer.replace("\r\n", "\n").split("\nm=")
    assert head.startswith("v=0\n")
    return [["m=" + each.split("\n")[0], *each.split("\n")[1:]] for each in rest]


def sample(name: str) -> Offer:
    return parse_offer(SAMPLES[name])


def replaced(offer: Offer, index: int, **changes: Any) -> Offer:
    sections = list(offer.sections)
    sections[index] = dataclasses.replace(sections[index], **changes)
    return dataclasses.replace(offer, sections=tuple(sections))


@pytest.mark.parametrize("name", SAMPLES)
def test_an_answer_mirrors_its_offer(name: str) -> None:
    offer = sample(name)
    answer = answer_willingly(offer)
    description = SessionDescription.parse(answer)
    assert len(description.media) == len(offer.sections)
    for offered, media in zip(offer.sections, description.media, strict=True):
        assert (media.kind, media.profile, media.rtp.muxId) == (offered.kind, offered.protocol, offered.mid)
        assert media.direction in ANSWERABLE[offered.direction]
        offered_types = {codec.payload_type for codec in offered.codecs}
        offered_types |= {
            codec.rtx_payload_type for codec in offered.codecs if codec.rtx_payload_type is not None
        }
        if media.port:
            assert set(media.fmt) <= offered_types
            assert {one.id for one in media.rtp.headerExtensions} <= set(offered.extensions.values())
    groups = [group.items for group in description.group if group.semantic == "BUNDLE"]
    alive = [media.rtp.muxId for media in description.media if media.port]
    assert [sorted(items) for items in groups] == ([sorted(alive)] if alive else [])
    assert "goog-remb" not in answer
    assert "transport-cc" not in answer
    assert "transport-wide-cc" not in answer
    assert answer.endswith("\r\n")
    assert "\n" not in answer.replace("\r\n", "")


def test_a_publishing_section_is_answered_in_full() -> None:
    lines = sections_of(answer_willingly(sample("chromium_publish_subscribe")))[0]
    assert lines == [
        "m=audio 40000 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 127.0.0.1",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host",
        "a=candidate:2 1 udp 2130706175 ::1 40000 typ host",
        "a=end-of-candidates",
        "a=ice-ufrag:relayufrag",
        "a=ice-pwd:relaypasswordofenoughlength",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {TRANSPORT.fingerprint}",
        "a=setup:passive",
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
    ]


def test_the_session_level_says_what_holds_for_all() -> None:
    head = answer_willingly(sample("chromium_publish_subscribe"), version=7).split("\r\nm=")[0]
    assert head.split("\r\n") == [
        "v=0",
        "o=- 4611686018427387904 7 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1 2 3 4 5 6",
        "a=ice-lite",
        "a=extmap-allow-mixed",
        "a=msid-semantic:WMS *",
    ]


def test_mixed_extensions_are_allowed_where_they_were_offered() -> None:
    offer = dataclasses.replace(sample("chromium_simulcast"), extmap_allow_mixed=False)
    head, section = answer_willingly(offer).split("\r\nm=")
    assert "extmap-allow-mixed" not in head
    assert section.endswith("\r\na=extmap-allow-mixed\r\n")
    assert "extmap-allow-mixed" not in answer_willingly(replaced(offer, 0, extmap_allow_mixed=False))


def test_a_subscribing_section_announces_its_streams() -> None:
    lines = sections_of(answer_willingly(sample("chromium_publish_subscribe")))[5]
    assert lines[0].startswith("m=video 40000 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 102 103 ")
    assert "a=sendonly" in lines
    assert "a=msid:stream track-5" in lines
    assert lines[-5:] == [
        "a=ssrc-group:FID 4106 4107",
        "a=ssrc:4106 cname:relay",
        "a=ssrc:4106 msid:stream track-5",
        "a=ssrc:4107 cname:relay",
        "a=ssrc:4107 msid:stream track-5",
    ]
    vp8 = lines.index("a=rtpmap:96 VP8/90000")
    assert lines[vp8 : vp8 + 6] == [
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 ccm fir",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
    ]


def test_no_rtx_stream_is_announced_when_the_client_takes_none() -> None:
    offer = sample("obs_whip")
    section = replaced(offer, 1, direction="recvonly")
    lines = sections_of(answer_willingly(section))[1]
    assert not any("FID" in line for line in lines)
    assert sum(line.startswith("a=ssrc:") for line in lines) == 2


@pytest.mark.parametrize(
    "name", [name for name in SAMPLES if name not in ("ffmpeg_whip", "chromium_all_stopped")]
)
def test_a_client_that_leaves_the_role_open_does_the_dtls_handshake(name: str) -> None:
    assert "a=setup:passive" in answer_willingly(sample(name))


def test_ffmpeg_gets_a_short_answer_in_which_the_relay_does_the_dtls_handshake() -> None:
    answer = answer_willingly(sample("ffmpeg_whip"))
    assert "a=setup:active" in answer
    assert len(answer) < 8_192
    assert "a=group:BUNDLE 1\r\n" in answer


def test_parameters_are_echoed_and_forward_error_correction_is_asked_for() -> None:
    obs = answer_willingly(sample("obs_whip"))
    assert "a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n" in obs
    assert "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n" in obs
    assert "a=fmtp:96 useinbandfec=1\r\n" in answer_willingly(sample("aiortc"))
    offer = sample("obs_whip")
    codec = dataclasses.replace(offer.sections[0].codecs[0], fmtp="stereo=1")
    assert "a=fmtp:111 stereo=1;useinbandfec=1\r\n" in answer_willingly(replaced(offer, 0, codecs=(codec,)))


def test_the_direction_of_an_extension_is_mirrored() -> None:
    lines = sections_of(answer_willingly(sample("firefox")))[3]
    assert "a=extmap:6/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay" in lines


def test_refused_sections_are_dead_and_out_of_the_group() -> None:
    offer = sample("chromium_data_channel")
    answer = answer_willingly(offer, refuse=("0",))
    assert "a=group:BUNDLE 1 2\r\n" in answer
    audio, video, _, channel = sections_of(answer)
    assert audio[0] == "m=audio 0 UDP/TLS/RTP/SAVPF 111"
    assert channel[0] == "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"
    for refused, mid in ((audio, "0"), (channel, "3")):
        assert "a=inactive" in refused
        assert f"a=mid:{mid}" in refused
        assert not any(line.startswith(("a=candidate", "a=ssrc", "a=msid", "a=extmap")) for line in refused)
    assert video[0].startswith("m=video 40000 ")


def test_an_answer_without_a_living_section_has_no_group() -> None:
    answer = answer_willingly(sample("chromium_all_stopped"))
    assert "BUNDLE" not in answer
    assert all(lines[0].split()[1] == "0" for lines in sections_of(answer))


def test_each_refusal_has_its_code() -> None:
    offer = sample("chromium_data_channel")
    audio = offer.sections[0]
    assert find_refusal(audio) is None
    unsupported = tuple(codec for codec in audio.codecs if codec.codec == codecs.NO_CODEC)
    found = [
        find_refusal(dataclasses.replace(audio, rejected=True, bundled=False)),
        find_refusal(dataclasses.replace(audio, bundled=False)),
        find_refusal(offer.sections[3]),
        find_refusal(dataclasses.replace(audio, codecs=unsupported)),
    ]
    assert found == [Refuse(code, reason) for code, reason in REFUSALS.items()]


def test_candidates_are_announced_best_first() -> None:
    offer = sample("obs_whip")
    candidates = (HostCandidate("2001:db8::1", 5000), HostCandidate("192.0.2.1", 5001))
    transport = dataclasses.replace(TRANSPORT, candidates=candidates)
    lines = sections_of(build_answer(offer, answer_sections(offer), transport))[0]
    assert lines[:2] == ["m=audio 5000 UDP/TLS/RTP/SAVPF 111", "c=IN IP6 2001:db8::1"]
    priorities = [int(line.split()[3]) for line in lines if line.startswith("a=candidate:")]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == 2


def test_an_answer_without_candidates_uses_the_discard_address() -> None:
    offer = sample("obs_whip")
    lines = sections_of(
        build_answer(offer, answer_sections(offer), dataclasses.replace(TRANSPORT, candidates=()))
    )[0]
    assert lines[:3] == ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=end-of-candidates"]


def test_only_addresses_can_be_announced() -> None:
    with pytest.raises(LocalProtocolError, match=r"relay\.example"):
        HostCandidate("relay.example", 5000)


def test_a_direction_that_does_not_answer_the_offer_is_our_error() -> None:
    offer = sample("chromium_simulcast")
    codecs_, extensions = negotiate_codecs(offer.sections[0]), negotiate_extensions(offer.sections[0])
    for offered, kind in itertools.product(ANSWERABLE, DIRECTIONS):
        section: Carried = kind(codecs_, extensions) if not issubclass(kind, Send) else kind(
            codecs_, extensions, ssrc=1, rtx_ssrc=2, cname="c", stream_id="s", track_id="t"
        )  # fmt: skip
        changed = replaced(offer, 0, direction=offered)
        if DIRECTIONS[kind] in ANSWERABLE[offered]:
            assert f"\r\na={DIRECTIONS[kind]}\r\n" in build_answer(changed, [section], TRANSPORT)
        else:
            with pytest.raises(LocalProtocolError, match=offered):
                build_answer(changed, [section], TRANSPORT)


def test_answer_sections_that_do_not_fit_are_our_error() -> None:
    offer = sample("chromium_data_channel")
    sections = answer_sections(offer)
    with pytest.raises(LocalProtocolError, match="4 sections are offered, 3 answered"):
        build_answer(offer, sections[:3], TRANSPORT)
    with pytest.raises(LocalProtocolError, match="can only be refused"):
        build_answer(offer, [*sections[:3], Inactive(negotiate_codecs(offer.sections[0]), {})], TRANSPORT)
    for codecs_ in ((), offer.sections[0].codecs, negotiate_codecs(offer.sections[1])):
        with pytest.raises(LocalProtocolError, match="negotiate_codecs"):
            build_answer(offer, [Receive(codecs_, {}), *sections[1:]], TRANSPORT)


def test_the_dtls_role_is_passive_where_it_can_be_and_never_changes() -> None:
    transport = sample("aiortc").transport
    assert transport is not None
    offered = {
        setup: dataclasses.replace(transport, setup=setup) for setup in ("actpass", "active", "passive")
    }
    assert [choose_setup(offered[setup]) for setup in offered] == ["passive", "passive", "active"]
    for ours in ("active", "passive"):
        assert choose_setup(offered["actpass"], ours) == ours
        with pytest.raises(RemoteProtocolError, match="running DTLS association") as caught:
            choose_setup(offered[ours], ours)
        assert caught.value.code == "setup_conflict"
    assert choose_setup(offered["passive"], "active") == "active"


def test_carrying_asks_for_each_codec_once() -> None:
    offer = sample("chromium_publish_subscribe")
    section = offer.sections[1]
    doubled = dataclasses.replace(section, codecs=section.codecs + section.codecs)
    assert negotiate_codecs(doubled) == negotiate_codecs(section)
    assert [codec.payload_type for codec in carry(section).codecs] == [
        96,
        102,
        104,
        108,
        114,
        116,
        39,
        45,
        98,
        100,
    ]
