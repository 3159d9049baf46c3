"""Two people see and hear each other through the relay."""

import pytest
import trio
from aiortc_remote import open_aiortc_host
from participants import join_call
from pictures import Picture
from relay_service import RelayService

ADAS = Picture(left=(200, 40, 40), right=(40, 40, 200))
GRACES = Picture(left=(40, 160, 60), right=(210, 200, 60))
NEGOTIATED = {"gcm": "SRTP_AEAD_AES_128_GCM", "cm_sha1_80": "SRTP_AES128_CM_SHA1_80"}


@pytest.mark.parametrize(
    ("profile", "codec", "address"),
    [
        ("gcm", "VP8", "127.0.0.1"),
        ("cm_sha1_80", "H264", "127.0.0.1"),
        ("gcm", "H264", "::1"),
        ("cm_sha1_80", "VP8", "::1"),
    ],
)
async def test_two_hear_and_see_each_other(
    service: RelayService, lobby: str, profile: str, codec: str, address: str
) -> None:
    with trio.fail_after(40):
        async with (
            open_aiortc_host(address) as host,
            join_call(service.url, lobby, host, name="Ada", profile=profile) as ada,
            join_call(service.url, lobby, host, name="Grace", profile=profile) as grace,
        ):
            await ada.publish_tone(440)
            await ada.publish_picture(ADAS, codec=codec)
            await ada.negotiate()
            # Grace gets all in one offer; Ada learns of Grace's tracks and offers again.
            await grace.publish_tone(620)
            await grace.publish_picture(GRACES, codec=codec)
            adas = {kind: await grace.wait_track(kind) for kind in ("audio", "video")}
            for track in adas.values():
                await grace.receive(track)
            await grace.negotiate()
            graces = {kind: await ada.wait_track(kind) for kind in ("audio", "video")}
            for track in graces.values():
                await ada.receive(track)
            answer = await ada.negotiate()
            assert answer.refused == ()
            assert await ada.wait_connected() == NEGOTIATED[profile]
            assert await grace.wait_connected() == NEGOTIATED[profile]

            assert await grace.hear(adas["audio"], 440) > 0.98
            assert await ada.hear(graces["audio"], 620) > 0.98
            await grace.see(adas["video"], ADAS)
            await ada.see(graces["video"], GRACES)


async def test_participants_with_different_profiles_hear_each_other(
    service: RelayService, lobby: str
) -> None:
    with trio.fail_after(40):
        async with (
            open_aiortc_host() as host,
            join_call(service.url, lobby, host, name="Ada", profile="gcm") as ada,
            join_call(service.url, lobby, host, name="Grace", profile="cm_sha1_80") as grace,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            await grace.publish_tone(620)
            await grace.receive(await grace.wait_track("audio"))
            await grace.negotiate()
            await ada.receive(await ada.wait_track("audio"))
            await ada.negotiate()
            (adas,) = grace.received.values()
            (graces,) = ada.received.values()
            assert await grace.hear(adas.track, 440) > 0.98
            assert await ada.hear(graces.track, 620) > 0.98


async def test_late_joiner_sees_the_picture_within_two_seconds(service: RelayService, lobby: str) -> None:
    with trio.fail_after(40):
        async with (
            open_aiortc_host() as host,
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_picture(ADAS)
            await ada.negotiate()
            video = await grace.wait_track("video")
            await grace.receive(video)
            await grace.negotiate()
            # Ten frames later the publisher's first keyframe is long gone, and its encoder makes none unasked.
            await grace.see(video, ADAS, count=10)
            async with join_call(service.url, lobby, host, name="Edsger") as edsger:
                await edsger.receive(video)
                began = trio.current_time()
                await edsger.negotiate()
                await edsger.see(video, ADAS, count=1)
                assert trio.current_time() - began < 2
