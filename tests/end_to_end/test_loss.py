"""Lost packets of video are repaired by retransmission."""

import trio
from aiortc_remote import RemoteHost
from lossy_path import open_lossy_path
from participants import join_call
from pictures import Picture
from relay_service import RelayService

PICTURE = Picture(left=(200, 40, 40), right=(40, 40, 200))
LOSS = 0.08
FRAMES = 60


async def test_losses_towards_the_subscriber_are_retransmitted_by_the_relay(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(60):
        async with (
            open_lossy_path(service.udp_ports[0], to_client=LOSS) as path,
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace", rewrite_answer=path.rewrite) as grace,
        ):
            await ada.publish_picture(PICTURE)
            await ada.negotiate()
            film = await grace.wait_track("video")
            await grace.receive(film)
            await grace.negotiate()
            began = trio.current_time()
            await grace.see(film, PICTURE, count=FRAMES)
            # 15 frames a second: a stream with a hole every dozen packets would wait for a keyframe each time.
            assert trio.current_time() - began < 2 * FRAMES / 15
            received = await grace.peer.received(section=grace.received[film.track_id].section)
            assert path.to_client.lost >= 5
            assert received["ssrcs"] == 2  # the stream and its retransmissions
            assert received["missing"] <= 2  # the latest may still be on their way


async def test_losses_from_the_publisher_are_asked_for_by_the_relay(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(60):
        async with (
            open_lossy_path(service.udp_ports[0], to_relay=LOSS) as path,
            join_call(service.url, lobby, host, name="Ada", rewrite_answer=path.rewrite) as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_picture(PICTURE)
            await ada.negotiate()
            film = await grace.wait_track("video")
            await grace.receive(film)
            await grace.negotiate()
            began = trio.current_time()
            await grace.see(film, PICTURE, count=FRAMES)
            assert trio.current_time() - began < 2 * FRAMES / 15
            received = await grace.peer.received(section=grace.received[film.track_id].section)
            assert path.to_relay.lost >= 5
            assert received["missing"] <= 2
