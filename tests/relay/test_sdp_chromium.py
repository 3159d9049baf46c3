"""Real Chromium must take our answers: the state is stable and every transceiver is what we said."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from willing_answer import FIRST_SSRC, answer_sections, answer_willingly

from relay.answer import Carried
from relay.offer import parse_offer
from relay.payloads import PayloadMaps

PAGE = "http://localhost/"  # a secure context; the page itself is served by the route below

OFFER = "async () => { await pc.setLocalDescription(); return pc.localDescription.sdp; }"
ACCEPT = """async (sdp) => {
    await pc.setRemoteDescription({type: 'answer', sdp});
    return {
        state: pc.signalingState,
        directions: Object.fromEntries(pc.getTransceivers().map((t) => [t.mid, t.currentDirection])),
        senders: Object.fromEntries(pc.getTransceivers().map((t) => [t.mid, t.sender.getParameters()])),
        receivers: Object.fromEntries(pc.getTransceivers().map((t) => [t.mid, t.receiver.getParameters()])),
        tracks,
    };
}"""
NEW_PEER = """async () => {
    globalThis.pc = new RTCPeerConnection();
    globalThis.tracks = [];
    pc.ontrack = (event) => tracks.push([event.transceiver.mid, event.streams.map((stream) => stream.id)]);
    globalThis.media ??= await navigator.mediaDevices.getUserMedia({audio: true, video: true});
}"""
PUBLISH = (
    "(direction) => media.getTracks().forEach((t) => pc.addTransceiver(t, {direction, streams: [media]}))"
)
SUBSCRIBE = "(kinds) => kinds.forEach((kind) => pc.addTransceiver(kind, {direction: 'recvonly'}))"
STOP = "(mids) => pc.getTransceivers().filter((t) => mids.includes(t.mid)).forEach((t) => t.stop())"


@pytest.fixture(scope="module")
def chromium_page() -> Iterator[Page]:
    arguments = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page()
        page.route(PAGE, lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto(PAGE)
        yield page
        browser.close()


@pytest.fixture
def page(chromium_page: Page) -> Iterator[Page]:
    chromium_page.evaluate(NEW_PEER)
    yield chromium_page
    chromium_page.evaluate("() => pc.close()")


def negotiate(page: Page, *, refuse: tuple[str, ...] = (), version: int = 1) -> Any:
    answer = answer_willingly(parse_offer(page.evaluate(OFFER)), refuse=refuse, version=version)
    result = page.evaluate(ACCEPT, answer)
    assert result["state"] == "stable"
    return result


def test_chromium_takes_an_answer_when_it_publishes_and_subscribes(page: Page) -> None:
    page.evaluate(PUBLISH, "sendonly")
    page.evaluate(SUBSCRIBE, ["audio", "audio", "video"])
    result = negotiate(page)
    assert result["directions"] == {
        "0": "sendonly", "1": "sendonly", "2": "recvonly", "3": "recvonly", "4": "recvonly",
    }  # fmt: skip
    assert result["tracks"] == [["2", ["stream"]], ["3", ["stream"]], ["4", ["stream"]]]
    video = result["senders"]["1"]
    assert video["codecs"][0]["mimeType"] == "video/VP8"
    assert {"video/rtx", "video/H264", "video/VP9", "video/AV1"} <= {
        codec["mimeType"] for codec in video["codecs"]
    }
    assert "urn:ietf:params:rtp-hdrext:sdes:mid" in {each["uri"] for each in video["headerExtensions"]}
    assert [codec["sdpFmtpLine"] for codec in result["senders"]["0"]["codecs"]] == [
        "minptime=10;useinbandfec=1"
    ]


def test_chromium_sends_what_the_payload_maps_say(page: Page) -> None:
    page.evaluate(PUBLISH, "sendonly")
    offer = parse_offer(page.evaluate(OFFER))
    maps = PayloadMaps.of(section for section in answer_sections(offer) if isinstance(section, Carried))
    result = page.evaluate(ACCEPT, answer_willingly(offer))
    for sender in result["senders"].values():
        for codec in sender["codecs"]:
            assert maps.payload_type_in[codec["payloadType"]] != 0
        for extension in sender["headerExtensions"]:
            assert maps.extension_in[extension["id"]] != 0


def test_chromium_publishes_and_subscribes_in_one_section(page: Page) -> None:
    page.evaluate(PUBLISH, "sendrecv")
    result = negotiate(page)
    assert result["directions"] == {"0": "sendrecv", "1": "sendrecv"}
    assert [mid for mid, _ in result["tracks"]] == ["0", "1"]


def test_chromium_goes_on_when_sections_are_refused(page: Page) -> None:
    page.evaluate(PUBLISH, "sendonly")
    page.evaluate(SUBSCRIBE, ["video", "audio"])
    page.evaluate("() => { pc.createDataChannel('none'); }")
    result = negotiate(page, refuse=("0", "2"))  # the tagged section among them
    assert result["directions"] == {"1": "sendonly", "3": "recvonly"}


def test_chromium_goes_on_when_no_codec_is_common(page: Page) -> None:
    page.evaluate(PUBLISH, "sendonly")
    page.evaluate(
        """() => {
            const only = (kind, name) =>
                RTCRtpReceiver.getCapabilities(kind).codecs.filter((codec) => codec.mimeType === name);
            pc.getTransceivers()[0].setCodecPreferences(only('audio', 'audio/PCMU'));
            pc.getTransceivers()[1].setCodecPreferences(only('video', 'video/H264'));
        }"""
    )
    result = negotiate(page)
    assert result["directions"] == {"1": "sendonly"}
    assert {codec["mimeType"] for codec in result["senders"]["1"]["codecs"]} == {"video/H264"}


def test_chromium_adds_stops_and_recycles_sections(page: Page) -> None:
    page.evaluate(PUBLISH, "sendonly")
    page.evaluate(SUBSCRIBE, ["audio"])
    negotiate(page)
    page.evaluate(SUBSCRIBE, ["video", "video"])
    assert negotiate(page, version=2)["directions"] == {
        "0": "sendonly", "1": "sendonly", "2": "recvonly", "3": "recvonly", "4": "recvonly",
    }  # fmt: skip
    page.evaluate(STOP, ["1", "3"])
    assert negotiate(page, version=3)["directions"] == {"0": "sendonly", "2": "recvonly", "4": "recvonly"}
    page.evaluate(SUBSCRIBE, ["audio", "video"])  # take the places of the stopped ones
    assert len(parse_offer(page.evaluate(OFFER)).sections) == 5
    assert sorted(negotiate(page, version=4)["directions"].values()) == ["recvonly"] * 4 + ["sendonly"]


def test_chromium_stops_everything_and_begins_again(page: Page) -> None:
    page.evaluate(PUBLISH, "sendonly")
    negotiate(page)
    page.evaluate(STOP, ["0", "1"])
    offer = parse_offer(page.evaluate(OFFER))
    assert offer.transport is None
    assert negotiate(page, version=2)["directions"] == {}
    page.evaluate(SUBSCRIBE, ["audio"])
    assert list(negotiate(page, version=3)["directions"].values()) == ["recvonly"]


def test_chromium_gives_simulcast_up_when_the_answer_does_not_mention_it(page: Page) -> None:
    page.evaluate(
        """() => { pc.addTransceiver(media.getVideoTracks()[0], {
            direction: 'sendonly', sendEncodings: [{rid: 'low', scaleResolutionDownBy: 2}, {rid: 'high'}]}); }"""
    )
    assert len(negotiate(page)["senders"]["0"]["encodings"]) == 1


def test_chromium_expects_the_ssrcs_of_the_answer(page: Page) -> None:
    page.evaluate(SUBSCRIBE, ["audio", "video"])
    negotiate(page)
    remote = page.evaluate("() => pc.remoteDescription.sdp")
    assert f"a=ssrc-group:FID {FIRST_SSRC + 2} {FIRST_SSRC + 3}" in remote
