"""Sender reports of the relay let a receiver put sound and picture together."""

import pytest
import trio
from aiortc_remote import RemoteHost
from participants import join_call
from pictures import Picture
from relay_service import RelayService

BEFORE = Picture(left=(20, 20, 20), right=(20, 20, 20))
AFTER = Picture(left=(220, 220, 220), right=(220, 220, 220))
#: After both have connected and the decoders have settled; a whole number of frames of both kinds.
MOMENT_S = 2.0


async def test_sound_and_picture_of_one_moment_have_one_time(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    """At one moment a clap is heard and the picture turns white. Times come from the relay's sender reports alone."""
    with trio.fail_after(40):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440, silent_s=MOMENT_S)
            await ada.publish_picture(AFTER, first=BEFORE, first_s=MOMENT_S)
            await ada.negotiate()
            sound, film = await grace.wait_track("audio"), await grace.wait_track("video")
            await grace.receive(sound)
            await grace.receive(film)
            await grace.negotiate()
            white = await grace.see(film, AFTER, count=1)
            await grace.hear(sound, 440)
            audio, video = (grace.received[track.track_id].section for track in (sound, film))
            await grace.peer.wait_sender_report(section=audio)
            await grace.peer.wait_sender_report(section=video)
            heard_at = await grace.peer.loud_at(section=audio)
            seen_at = await grace.peer.picture_at(section=video, timestamp=white)
            # ITU-R BT.1359: people notice sound 45 ms early or 125 ms late.
            assert heard_at - seen_at == pytest.approx(0, abs=0.045)
            statistics = await grace.peer.statistics()
            reported = {entry["kind"] for entry in statistics if entry["type"] == "remote-outbound-rtp"}
            assert reported == {"audio", "video"}


async def test_publisher_gets_reception_reports(service: RelayService, lobby: str, host: RemoteHost) -> None:
    with trio.fail_after(40):
        async with join_call(service.url, lobby, host, name="Ada") as ada:
            await ada.publish_tone(440)
            await ada.publish_picture(AFTER)
            await ada.negotiate()
            await ada.wait_connected()
            reported: set[str] = set()
            while reported != {"audio", "video"}:
                statistics = await ada.peer.statistics()
                reported = {entry["kind"] for entry in statistics if entry["type"] == "remote-inbound-rtp"}
                await trio.sleep(0.1)
