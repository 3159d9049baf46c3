"""Calls that change while they last."""

import pytest
import trio
from aiortc_remote import RemoteHost
from participants import join_call
from pictures import Picture
from relay_service import RelayService

import voicebot
from signaling.messages import TrackPublished, TrackUnpublished, TrackUpdated

RED_BLUE = Picture(left=(200, 40, 40), right=(40, 40, 200))
#: A publisher sends 50 packets a second; a tenth of a second without any is no jitter.
SILENCE_S = 0.3


async def test_tracks_come_and_go_by_new_offers(service: RelayService, lobby: str, host: RemoteHost) -> None:
    with trio.fail_after(60):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            microphone = await ada.publish_tone(440)
            await ada.negotiate()
            sound = await grace.wait_track("audio")
            await grace.receive(sound)
            await grace.negotiate()
            await grace.hear(sound, 440)

            camera = await ada.publish_picture(RED_BLUE)
            await ada.negotiate()
            assert set(ada.published) == {microphone, camera}
            film = await grace.wait_track("video")
            await grace.receive(film)
            await grace.negotiate()
            await grace.see(film, RED_BLUE)
            await grace.hear(sound, 440)

            await ada.peer.stop(section=camera)
            await ada.negotiate()
            assert set(ada.published) == {microphone}
            await grace.wait_event(TrackUnpublished, track_id=film.track_id)
            await grace.peer.wait_silence(section=grace.received[film.track_id].section, seconds=SILENCE_S)
            await grace.hear(sound, 440)

            second = await ada.publish_tone(880)
            await ada.negotiate()
            assert set(ada.published) == {microphone, second}
            more_sound = await grace.wait_track("audio")
            await grace.receive(more_sound)
            await grace.negotiate()
            await grace.hear(more_sound, 880)
            await grace.hear(sound, 440)


async def test_section_switches_between_tracks_without_an_offer(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(60):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Edsger") as edsger,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            first = await grace.wait_track("audio")
            await grace.receive(first)
            await grace.negotiate()
            await grace.hear(first, 440)
            await edsger.publish_tone(700)
            await edsger.negotiate()
            second = await grace.wait_track("audio")
            slot = grace.received[first.track_id]

            await grace.connection.subscribe(second.track_id, slot.mid)
            await grace.hear(first, 700)
            await grace.connection.unsubscribe(slot.mid)
            await grace.peer.wait_silence(section=slot.section, seconds=SILENCE_S)
            await grace.connection.subscribe(first.track_id, slot.mid)
            await grace.hear(first, 440)
            # One outbound stream all along: the receiver never noticed.
            assert (await grace.peer.received(section=slot.section))["ssrcs"] == 1


async def test_muted_track_falls_silent_and_returns(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(60):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            microphone = await ada.publish_tone(440)
            await ada.negotiate()
            sound = await grace.wait_track("audio")
            await grace.receive(sound)
            await grace.negotiate()
            await grace.hear(sound, 440)

            await ada.connection.mute(ada.published[microphone])
            assert (await grace.wait_event(TrackUpdated)).track.muted
            await grace.peer.wait_silence(section=grace.received[sound.track_id].section, seconds=SILENCE_S)
            await ada.connection.mute(ada.published[microphone], muted=False)
            assert not (await grace.wait_event(TrackUpdated)).track.muted
            await grace.hear(sound, 440)


async def test_new_peer_connection_replaces_the_old_one(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(60):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            former = await grace.wait_track("audio")
            await grace.receive(former)
            await grace.negotiate()
            await grace.hear(former, 440)

            await ada.peer.close()
            ada.peer = await host.create_peer()
            await ada.publish_tone(550)
            await ada.negotiate()
            await grace.wait_event(TrackUnpublished, track_id=former.track_id)
            published = await grace.wait_event(TrackPublished)
            await grace.connection.subscribe(published.track.track_id, grace.received[former.track_id].mid)
            await grace.hear(former, 550)


async def test_refused_requests_change_nothing(service: RelayService, lobby: str, host: RemoteHost) -> None:
    with trio.fail_after(60):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            sound = await grace.wait_track("audio")
            await grace.receive(sound)
            await grace.negotiate()
            with pytest.raises(voicebot.ProtocolError, match="unknown_track"):
                await grace.connection.subscribe("t-nobodys", "0")
            with pytest.raises(voicebot.ProtocolError, match="unknown_mid"):
                await grace.connection.subscribe(sound.track_id, "99")
            with pytest.raises(voicebot.ProtocolError, match="unknown_track"):
                await grace.connection.mute(sound.track_id)
            with pytest.raises(voicebot.ProtocolError, match="invalid_sdp"):
                await grace.connection.offer("v=0\r\nnonsense")
            await grace.hear(sound, 440)
