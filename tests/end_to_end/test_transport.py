"""What calls may look like underneath."""

import re
from pathlib import Path

import trio
from aiortc_remote import RemoteHost
from lossy_path import open_lossy_path
from participants import join_call
from pictures import Picture
from relay_service import RelayService, run_relay_service

ADAS = Picture(left=(200, 40, 40), right=(40, 40, 200))
GRACES = Picture(left=(40, 160, 60), right=(210, 200, 60))


async def test_one_section_carries_both_directions(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(40):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            adas = await grace.wait_track("audio")
            section = await grace.exchange_tone(620, adas)
            await grace.negotiate()
            assert set(grace.published) == {section}
            graces = await ada.wait_track("audio")
            await ada.receive(graces)
            await ada.negotiate()
            await grace.hear(adas, 440)
            await ada.hear(graces, 620)


async def test_relay_can_be_the_dtls_client(service: RelayService, lobby: str, host: RemoteHost) -> None:
    def be_passive(offer: str) -> str:
        assert "a=setup:actpass" in offer
        return offer.replace("a=setup:actpass", "a=setup:passive")

    with trio.fail_after(40):
        async with (
            join_call(service.url, lobby, host, name="Ada", rewrite_offer=be_passive) as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            answer = await ada.negotiate()
            assert "a=setup:active" in answer.sdp
            adas = await grace.wait_track("audio")
            await grace.receive(adas)
            await grace.negotiate()
            assert await grace.hear(adas, 440) > 0.98


async def test_wrong_fingerprint_keeps_one_out_and_disturbs_nobody(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    def lie(offer: str) -> str:
        return re.sub(r"(a=fingerprint:\S+ )(..)", lambda m: m[1] + f"{int(m[2], 16) ^ 0xFF:02X}", offer)

    with trio.fail_after(40):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
            join_call(service.url, lobby, host, name="Mallory", rewrite_offer=lie) as mallory,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            adas = await grace.wait_track("audio")
            await grace.receive(adas)
            await grace.negotiate()
            await grace.hear(adas, 440)
            await mallory.publish_tone(620)
            await mallory.receive(await mallory.wait_track("audio"))
            await mallory.negotiate()
            (received,) = mallory.received.values()
            await mallory.peer.wait_silence(section=received.section, seconds=1)
            assert (await mallory.peer.received(section=received.section))["packets"] == 0
            assert await grace.hear(adas, 440) > 0.98


async def test_call_survives_a_new_address(service: RelayService, lobby: str, host: RemoteHost) -> None:
    with trio.fail_after(40):
        async with (
            open_lossy_path(service.udp_ports[0]) as path,
            join_call(service.url, lobby, host, name="Ada", rewrite_answer=path.rewrite) as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            await grace.publish_tone(620)
            adas = await grace.wait_track("audio")
            await grace.receive(adas)
            await grace.negotiate()
            graces = await ada.wait_track("audio")
            await ada.receive(graces)
            await ada.negotiate()
            await grace.hear(adas, 440)
            await ada.hear(graces, 620)
            await path.rebind()
            # aiortc checks its path every five seconds; that check is what the relay may follow.
            with trio.fail_after(9):
                await ada.hear(graces, 620)
                await grace.hear(adas, 440)


async def test_peers_of_different_workers_are_connected(tmp_path: Path, lobby: str, host: RemoteHost) -> None:
    with run_relay_service(tmp_path, "--workers", "2") as service, trio.fail_after(60):
        assert len(service.udp_ports) == 2
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            await ada.publish_picture(ADAS, codec="VP8")
            first = await ada.negotiate()
            await grace.publish_tone(620)
            await grace.publish_picture(GRACES, codec="H264")
            adas = {kind: await grace.wait_track(kind) for kind in ("audio", "video")}
            for track in adas.values():
                await grace.receive(track)
            second = await grace.negotiate()
            ports = [
                set(re.findall(r"a=candidate:.* (\d+) typ host", answer.sdp)) for answer in (first, second)
            ]
            assert [len(found) for found in ports] == [1, 1]
            assert ports[0] != ports[1]
            graces = {kind: await ada.wait_track(kind) for kind in ("audio", "video")}
            for track in graces.values():
                await ada.receive(track)
            await ada.negotiate()
            await grace.see(adas["video"], ADAS)
            await grace.hear(adas["audio"], 440)
            await ada.see(graces["video"], GRACES)
            await ada.hear(graces["audio"], 620)
