"""aiortc must take our answers. Nothing listens at the candidates: only the descriptions are tried."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from willing_answer import answer_willingly

from relay.answer import find_refusal
from relay.offer import parse_offer
from relay.offered import Offer


async def negotiate(peer: RTCPeerConnection, *, refuse: tuple[str, ...] = (), version: int = 1) -> Offer:
    await peer.setLocalDescription(await peer.createOffer())
    offer = parse_offer(peer.localDescription.sdp)
    answer = answer_willingly(offer, refuse=refuse, version=version)
    await peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    assert peer.signalingState == "stable"
    return offer


def run_with_peer(
    scenario: Callable[[RTCPeerConnection], Awaitable[None]],
    policy: RTCBundlePolicy = RTCBundlePolicy.MAX_COMPAT,
) -> None:
    async def main() -> None:
        peer = RTCPeerConnection(RTCConfiguration(bundlePolicy=policy))
        try:
            await asyncio.wait_for(scenario(peer), 20)
        finally:
            await peer.close()

    asyncio.run(main())


def test_aiortc_takes_an_answer_when_it_publishes_and_subscribes() -> None:
    async def scenario(peer: RTCPeerConnection) -> None:
        tracks = []
        peer.on("track", tracks.append)
        peer.addTransceiver(AudioStreamTrack(), direction="sendonly")
        peer.addTransceiver(VideoStreamTrack(), direction="sendonly")
        peer.addTransceiver("audio", direction="recvonly")
        peer.addTransceiver("video", direction="recvonly")
        await negotiate(peer)
        directions = [each.currentDirection for each in peer.getTransceivers()]
        assert directions == ["sendonly", "sendonly", "recvonly", "recvonly"]
        assert [(track.kind, track.id) for track in tracks] == [("audio", "track-2"), ("video", "track-3")]
        assert "a=setup:passive" in peer.remoteDescription.sdp

    run_with_peer(scenario)


def test_aiortc_publishes_and_subscribes_in_one_section() -> None:
    async def scenario(peer: RTCPeerConnection) -> None:
        peer.addTrack(AudioStreamTrack())
        peer.addTrack(VideoStreamTrack())
        await negotiate(peer)
        assert [each.currentDirection for each in peer.getTransceivers()] == ["sendrecv", "sendrecv"]

    run_with_peer(scenario)


@pytest.mark.parametrize("refused", ["0", "1", "2"])
def test_aiortc_goes_on_when_a_section_is_refused(refused: str) -> None:
    async def scenario(peer: RTCPeerConnection) -> None:
        for kind in ("audio", "video", "audio"):
            peer.addTransceiver(kind, direction="recvonly")
        await negotiate(peer, refuse=(refused,))
        directions = {each.mid: each.currentDirection for each in peer.getTransceivers()}
        assert directions == {mid: "inactive" if mid == refused else "recvonly" for mid in "012"}

    run_with_peer(scenario)


@pytest.mark.parametrize("policy", [RTCBundlePolicy.MAX_COMPAT, RTCBundlePolicy.MAX_BUNDLE])
def test_aiortc_knows_where_to_send_when_sections_share_a_transport(policy: RTCBundlePolicy) -> None:
    async def scenario(peer: RTCPeerConnection) -> None:
        for kind in ("audio", "video", "video"):
            peer.addTransceiver(kind, direction="recvonly")
        await negotiate(peer)
        for transceiver in peer.getTransceivers():
            candidates = transceiver.receiver.transport.transport.getRemoteCandidates()
            assert [(one.ip, one.port) for one in candidates] == [("127.0.0.1", 40_000), ("::1", 40_000)]

    run_with_peer(scenario, policy)


def test_aiortc_goes_on_when_no_codec_is_common() -> None:
    async def scenario(peer: RTCPeerConnection) -> None:
        transceiver = peer.addTransceiver("audio", direction="sendrecv")
        codecs = RTCRtpReceiver.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "audio/PCMU"])
        peer.addTransceiver("video", direction="recvonly")
        offer = await negotiate(peer)
        refusal = find_refusal(offer.sections[0])
        assert refusal is not None
        assert refusal.code == "unsupported_codec"
        assert [each.currentDirection for each in peer.getTransceivers()] == ["inactive", "recvonly"]

    run_with_peer(scenario)


def test_aiortc_goes_on_when_its_data_channel_is_refused() -> None:
    async def scenario(peer: RTCPeerConnection) -> None:
        peer.addTransceiver("audio", direction="recvonly")
        peer.createDataChannel("none")
        await negotiate(peer)
        assert peer.getTransceivers()[0].currentDirection == "recvonly"

    run_with_peer(scenario)


def test_aiortc_adds_and_mutes_sections_with_further_offers() -> None:
    async def scenario(peer: RTCPeerConnection) -> None:
        first = peer.addTransceiver("audio", direction="recvonly")
        await negotiate(peer)
        peer.addTransceiver("video", direction="recvonly")
        assert (await negotiate(peer, version=2)).bundle == ("0", "1")
        first.direction = "inactive"
        await negotiate(peer, version=3)
        assert [each.currentDirection for each in peer.getTransceivers()] == ["inactive", "recvonly"]

    run_with_peer(scenario)
