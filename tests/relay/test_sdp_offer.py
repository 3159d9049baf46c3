"""Recorded offers are read right, and each thing that can be wrong has its code and names its place."""

import time
from collections.abc import Callable

import pytest
from willing_answer import FINGERPRINT, SAMPLES

from media import codecs
from relay.errors import RemoteProtocolError
from relay.offer import MAX_SDP_CHARACTERS, MAX_SECTIONS, OFFER_ERRORS, parse_offer
from relay.offered import Offer

SESSION = (
    "v=0",
    "o=- 1 1 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0 1",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:0123456789012345678901",
    f"a=fingerprint:sha-256 {FINGERPRINT}",
    "a=setup:actpass",
)
AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    "a=mid:0",
    "a=sendonly",
    "a=rtcp-mux",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=rtpmap:111 opus/48000/2",
    "a=ssrc:1 cname:me",
)
VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
    "a=mid:1",
    "a=sendonly",
    "a=rtcp-mux",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:* nack pli",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
    "a=ssrc-group:FID 2 3",
    "a=ssrc:2 cname:me",
    "a=ssrc:3 cname:me",
)
OFFER = (*SESSION, *AUDIO, *VIDEO)


def read(*lines: str) -> Offer:
    return parse_offer("\r\n".join(lines) + "\r\n")


def read_with(old: str, *new: str) -> Offer:
    """Read OFFER with each line `old` replaced by the lines `new`."""
    return read(*(line for each in OFFER for line in (new if each == old else (each,))))


def error_of(call: Callable[[], Offer]) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        call()
    assert caught.value.code in OFFER_ERRORS
    return caught.value


@pytest.mark.parametrize("name", SAMPLES)
def test_a_recorded_offer_is_read(name: str) -> None:
    offer = parse_offer(SAMPLES[name])
    assert [section.index for section in offer.sections] == list(range(SAMPLES[name].count("m=")))
    assert (offer.transport is None) == (name == "chromium_all_stopped")
    for section in offer.sections:
        if section.bundled and section.is_rtp:
            assert any(codec.codec != codecs.NO_CODEC for codec in section.codecs)


def test_chromium_publishing_and_subscribing_is_understood() -> None:
    offer = parse_offer(SAMPLES["chromium_publish_subscribe"])
    assert offer.bundle == ("0", "1", "2", "3", "4", "5", "6")
    assert offer.extmap_allow_mixed
    assert offer.transport is not None
    assert (offer.transport.ice.ufrag, offer.transport.ice.password) == ("oiob", "/gDCVHr7U2Kw0lO0gIfCBmh9")
    assert [one.algorithm for one in offer.transport.fingerprints] == ["sha-256"]
    assert offer.transport.setup == "actpass"
    directions = [section.direction for section in offer.sections]
    assert directions == ["sendonly"] * 2 + ["recvonly"] * 5
    video = offer.sections[1]
    assert video.msid == "a0524386-e6cb-4f5f-88ba-1a66d5cfa004 bc4732ff-9a2e-442a-abf7-3b7fbaffcddf"
    assert video.ssrcs == (1735103113,)
    assert video.rtx_ssrcs == {2982766839: 1735103113}
    assert video.rtcp_rsize
    first = video.codecs[0]
    assert (first.payload_type, first.codec, first.rtx_payload_type, first.rtpmap) == (
        96,
        codecs.VP8,
        97,
        "VP8/90000",
    )
    assert first.nack
    assert first.pli
    assert first.fir
    assert video.extensions[codecs.MID] == 4
    assert video.extensions[codecs.VIDEO_ORIENTATION] == 13
    audio = offer.sections[0].codecs[0]
    assert (audio.rtpmap, audio.fmtp) == ("opus/48000/2", "minptime=10;useinbandfec=1")
    assert not audio.nack


def test_chromium_stopping_transceivers_leaves_rejected_sections() -> None:
    offer = parse_offer(SAMPLES["chromium_stopped"])
    assert [section.rejected for section in offer.sections] == [False, True, True, False, False]
    assert offer.bundle == ("0", "3", "4")


def test_chromium_recycling_a_section_gives_it_another_mid_and_place() -> None:
    offer = parse_offer(SAMPLES["chromium_recycled"])
    assert [section.mid for section in offer.sections] == ["0", "5", "2", "3", "4"]
    assert offer.bundle == ("0", "5", "3", "4")


def test_firefox_bundle_only_sections_are_alive_and_extension_directions_kept() -> None:
    offer = parse_offer(SAMPLES["firefox"])
    assert offer.bundle == ("0", "1", "2", "3")
    assert [(section.port, section.bundle_only, section.rejected) for section in offer.sections] == [
        (9, False, False), (0, True, False), (0, True, False), (0, True, False),
    ]  # fmt: skip
    assert offer.transport is not None
    video = offer.sections[1]
    assert video.extension_directions == {codecs.PLAYOUT_DELAY: "recvonly"}
    assert [codec.codec for codec in video.codecs[:4]] == [
        codecs.VP8,
        codecs.VP9_PROFILE_0,
        codecs.H264_CONSTRAINED_BASELINE,
        codecs.H264_SINGLE_NAL_CONSTRAINED_BASELINE,
    ]


def test_ffmpeg_naming_a_mid_it_lacks_is_tolerated() -> None:
    offer = parse_offer(SAMPLES["ffmpeg_whip"])
    assert offer.bundle == ("1",)
    assert offer.transport is not None
    assert offer.transport.setup == "passive"
    assert offer.sections[0].codecs[0].codec == codecs.H264_HIGH


def test_obs_attributes_of_the_session_level_hold_for_all_sections() -> None:
    offer = parse_offer(SAMPLES["obs_whip"])
    assert offer.transport is not None
    assert offer.transport.ice.ufrag == "4Xj9"
    assert {section.transport.setup for section in offer.sections} == {"actpass"}


def test_aiortc_feedback_and_strong_fingerprints_are_read() -> None:
    offer = parse_offer(SAMPLES["aiortc"])
    assert offer.transport is not None
    assert [one.algorithm for one in offer.transport.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    vp8 = offer.sections[1].codecs[0]
    assert (vp8.nack, vp8.pli, vp8.fir) == (True, True, False)


def test_the_plain_offer_of_this_file_is_read() -> None:
    offer = read(*OFFER)
    assert offer.sections[1].codecs[0].rtx_payload_type == 97
    assert offer.sections[1].codecs[0].pli  # by the wildcard


def test_candidates_simulcast_and_unknown_lines_are_passed_over() -> None:
    video = read(
        *OFFER,
        "c=IN IP4 example.invalid",
        "a=candidate:nonsense",
        "a=rid:q send",
        "a=simulcast:send q;h",
        "a=rtcp:nine",
        "a=ssrc:2",
        "a=ssrc:2 previous-ssrc",
        "a=ssrc-group:SIM 2",
        "a=",
        "a",
        "",
        "k=clear:x",
        "a=fmtp:35 apt=here",
        "a=rtcp-fb:35",
    ).sections[1]
    assert video.ssrcs == (2,)


def test_a_section_below_the_tagged_one_may_leave_out_the_transport() -> None:
    transport = (
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        f"a=fingerprint:sha-256 {FINGERPRINT}",
    )
    lines = [line for line in OFFER if line not in (*transport, "a=setup:actpass")]
    audio = lines.index("a=mid:0")
    offer = read(*lines[:audio], *transport, "a=setup:active", *lines[audio:])
    assert offer.transport is not None
    assert offer.transport.setup == "active"
    assert offer.sections[1].transport.ice_ufrag is None


def test_what_a_refused_section_says_of_payload_types_does_not_count() -> None:
    assert read_with(VIDEO[0], "m=video 0 UDP/TLS/RTP/SAVPF 111").bundle == ("0",)


def test_sections_outside_the_group_are_read_but_not_bundled() -> None:
    offer = read_with("a=group:BUNDLE 0 1", "a=group:LS 0 1", "a=group:BUNDLE 0")
    assert [section.bundled for section in offer.sections] == [True, False]


def test_a_protocol_and_a_medium_nobody_knows_are_read() -> None:
    offer = read(*OFFER, "m=image 5000/2 udptl t38", "m=message 1 TCP/MSRP *", "m=audio 9 udp/weird x y")
    assert [(one.kind, one.is_rtp, one.formats) for one in offer.sections[2:]] == [
        ("image", False, ("t38",)), ("message", False, ("*",)), ("audio", False, ("x", "y")),
    ]  # fmt: skip


def test_rtx_before_what_it_repairs_and_fec_groups_are_understood() -> None:
    offer = read_with("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video 9 UDP/TLS/RTP/SAVPF 97 96")
    assert offer.sections[1].codecs[0].rtx_payload_type == 97
    assert read_with("a=ssrc-group:FID 2 3", "a=ssrc-group:FEC-FR 2 3").sections[1].ssrcs == (2,)


def test_rtx_that_repairs_nothing_is_passed_over() -> None:
    assert read_with("a=fmtp:97 apt=96").sections[1].codecs[0].rtx_payload_type is None


def test_extension_ids_beyond_the_one_byte_form_are_left_out() -> None:
    extension = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    assert codecs.AUDIO_LEVEL not in read_with(AUDIO[4], f"a=extmap:15 {extension}").sections[0].extensions
    assert (
        codecs.AUDIO_LEVEL
        not in read_with(AUDIO[4], f"a=extmap:2/inactive {extension}").sections[0].extensions
    )
    both = read_with(AUDIO[4], f"a=extmap:200 {extension}", f"a=extmap:14/sendrecv {extension} vad=on")
    assert both.sections[0].extensions == {codecs.AUDIO_LEVEL: 14}


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("v=0", (), "invalid_sdp"),
        ("a=group:BUNDLE 0 1", (), "bundle_required"),
        ("a=group:BUNDLE 0 1", ("a=group:BUNDLE 7 8",), "bundle_required"),
        ("a=group:BUNDLE 0 1", ("a=group",), "bundle_required"),
        ("a=mid:1", ("a=mid:0",), "invalid_sdp"),
        ("a=ice-ufrag:abcd", (), "ice_required"),
        ("a=ice-pwd:0123456789012345678901", (), "ice_required"),
        ("a=ice-ufrag:abcd", ("a=ice-ufrag:a b",), "invalid_ice_credentials"),
        ("a=ice-ufrag:abcd", ("a=ice-ufrag:abcd", "a=ice-lite"), "ice_lite_unsupported"),
        (SESSION[7], (), "fingerprint_required"),
        (SESSION[7], ("a=fingerprint:md5 00",), "invalid_fingerprint"),
        (SESSION[7], ("a=fingerprint:sha-256 00",), "invalid_fingerprint"),
        ("a=setup:actpass", (), "setup_required"),
        ("a=rtcp-mux", (), "rtcp_mux_required"),
    ],
)
def test_an_offer_that_lacks_something_has_a_code_for_it(old: str, new: tuple[str, ...], code: str) -> None:
    assert error_of(lambda: read_with(old, *new)).code == code


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=mid:1", "a=mid:not a token"),
        ("a=setup:actpass", "a=setup:holdconn"),
        (SESSION[7], "a=fingerprint:sha-256"),
        ("a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8"),
        ("a=rtpmap:96 VP8/90000", "a=rtpmap:x VP8/90000"),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus/48000/two"),
        ("a=fmtp:97 apt=96", "a=fmtp:300 apt=96"),
        ("a=ssrc:2 cname:me", "a=ssrc:4294967296 cname:me"),
        ("a=ssrc:2 cname:me", "a=ssrc:two cname:me"),
        ("a=ssrc-group:FID 2 3", "a=ssrc-group:FID 2"),
        ("a=ssrc-group:FID 2 3", "a=ssrc-group:FID 2 x"),
        ("a=ssrc-group:FID 2 3", "a=ssrc-group:FID 2 2"),
        ("a=ssrc-group:FID 2 3", "a=ssrc-group:FID 2 -3"),
        ("a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid", "a=extmap:one urn:x"),
        ("a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid", "a=extmap:1/up urn:x"),
        (VIDEO[0], "m=video nine UDP/TLS/RTP/SAVPF 96 97"),
        (VIDEO[0], "m=video 65536 UDP/TLS/RTP/SAVPF 96 97"),
        (VIDEO[0], "m=video 9 UDP/TLS/RTP/SAVPF"),
        (VIDEO[0], "m=video 9 UDP/TLS/RTP/SAVPF 96 vp8"),
        (VIDEO[0], "m=video 9 UDP/TLS/RTP/SAVPF 96 128"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(old: str, new: str) -> None:
    error = error_of(lambda: read_with(old, new))
    assert error.code == "invalid_sdp"
    assert f"line {OFFER.index(old) + 1} of the offer reads {new!r}" in str(error)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("a=rtpmap:97 rtx/90000", ("a=rtpmap:97 rtx/90000", "a=rtpmap:97 rtx/90000"), "payload type 97"),
        ("a=fmtp:97 apt=96", ("a=fmtp:97 apt=vp8",), "not 'vp8'"),
        (VIDEO[4], (VIDEO[4], "a=extmap:1 urn:other"), "extension id 1"),
    ],
)
def test_a_section_that_contradicts_itself_is_invalid(old: str, new: tuple[str, ...], part: str) -> None:
    error = error_of(lambda: read_with(old, *new))
    assert error.code == "invalid_sdp"
    assert part in str(error)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("a=rtpmap:111 opus/48000/2", ("a=rtpmap:111 opus/48000/2", "a=ice-ufrag:efgh"), "a=ice-ufrag"),
        ("a=rtpmap:111 opus/48000/2", ("a=rtpmap:111 opus/48000/2", SESSION[7].replace("00:", "FF:")), "a=fingerprint"),
        ("a=ssrc:1 cname:me", ("a=ssrc:3 cname:me",), "ssrc 3"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", ("m=audio 9 UDP/TLS/RTP/SAVPF 111 96", "a=rtpmap:96 G722/8000"), "payload type 96"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", ("m=audio 9 UDP/TLS/RTP/SAVPF 111 97", "a=rtpmap:97 rtx/48000", "a=fmtp:97 apt=111"), "payload type 97"),
        (AUDIO[4], ("a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",), "extension id 1"),
    ],
)  # fmt: skip
def test_bundled_sections_that_contradict_each_other_are_invalid(
    old: str, new: tuple[str, ...], part: str
) -> None:
    lines = list(OFFER)
    lines[lines.index(old) : lines.index(old) + 1] = new
    error = error_of(lambda: read(*lines))
    assert error.code == "invalid_sdp"
    assert part in str(error)
    assert "section 1 (mid '1', video)" in str(error)


def test_limits_have_codes() -> None:
    assert error_of(lambda: parse_offer("v" * (MAX_SDP_CHARACTERS + 1))).code == "sdp_too_large"
    assert (
        error_of(lambda: read(*SESSION, *["m=audio 0 RTP/AVP 0"] * (MAX_SECTIONS + 1))).code
        == "too_many_sections"
    )
    assert error_of(lambda: read(*SESSION, *["a=extmap:1 urn:x"] * 100, *AUDIO)).code == "invalid_sdp"
    assert error_of(lambda: read(*SESSION)).code == "invalid_sdp"
    assert error_of(lambda: parse_offer("")).code == "invalid_sdp"


def fill(*head: str, line: Callable[[int], str]) -> str:
    """Build the largest offer that is let in, out of the lines that `line` makes."""
    lines = [*head]
    room = MAX_SDP_CHARACTERS - sum(len(each) + 1 for each in lines)
    for number in range(MAX_SDP_CHARACTERS):
        room -= len(line(number)) + 1
        if room < 0:
            break
        lines.append(line(number))
    return "\n".join(lines)


ALL_PAYLOAD_TYPES = (
    "m=video 9 RTP/SAVPF " + " ".join(map(str, range(128))),
    *(f"a=rtpmap:{payload_type} H264/90000" for payload_type in range(128)),
)
HOSTILE = {
    "feedback": fill(*SESSION, *ALL_PAYLOAD_TYPES, line=lambda _: "a=rtcp-fb:* nack"),
    "ssrcs": fill(*OFFER, line=lambda number: f"a=ssrc:{number} cname:x"),
    "groups": fill(*OFFER, line=lambda number: f"a=ssrc-group:FID {2 * number + 4} {2 * number + 5}"),
    "rtpmaps": fill(*OFFER, line=lambda number: f"a=rtpmap:{number} x/1"),
    "unreadable last": fill(*OFFER, line=lambda _: "a=msid:x")[:-20] + "\na=rtpmap:x",
    "formats": fill(*SESSION, line=lambda number: "m=video 0 RTP/AVP" + " 0" * 300 if number < 400 else ""),
    "codecs": fill(*SESSION, *ALL_PAYLOAD_TYPES * 60, line=lambda _: ""),
    "sections": fill(
        *SESSION, *["a=extmap:2 urn:x"] * 50, *["m=x 0 x x"] * MAX_SECTIONS, line=lambda _: "a=x"
    ),
    "group": fill(*SESSION[:4], "a=group:BUNDLE" + " 0 1 2" * 40_000, *OFFER[5:], line=lambda _: ""),
    "session": "\n".join([*SESSION, *["a=fingerprint:x y"] * 10_000, *["m=x 0 x x"] * 500]),
    "empty lines": "\n" * MAX_SDP_CHARACTERS,
    "digits": "\n".join([*OFFER, "a=rtpmap:" + "9" * 200_000 + " x/1"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_largest_hostile_offers_are_read_quickly(name: str) -> None:
    """All take below 0.2 s on the reference machine; quadratic handling takes 5 s and more."""
    started = time.process_time()
    message = ""
    try:
        parse_offer(HOSTILE[name])
    except RemoteProtocolError as error:
        message = str(error)
    assert time.process_time() - started < 2
    assert len(message) < 1_000
