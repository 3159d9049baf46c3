"""The WebSocket goes, the call stays."""

import time
from urllib.parse import urlsplit

import trio
from aiortc_remote import RemoteHost
from cuttable_path import open_cuttable_path
from participants import join_call
from relay_service import RelayService

import voicebot
from signaling.messages import ParticipantLeft, TrackPublished


async def test_media_goes_on_while_the_websocket_is_away_and_resumes(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    address = urlsplit(service.url)
    assert address.hostname is not None
    assert address.port is not None
    with trio.fail_after(60):
        async with (
            open_cuttable_path(address.hostname, address.port) as path,
            join_call(f"ws://127.0.0.1:{path.port}/ws", lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            await ada.publish_tone(440)
            await ada.negotiate()
            sound = await grace.wait_track("audio")
            await grace.receive(sound)
            await grace.negotiate()
            await grace.hear(sound, 440)
            me = ada.connection.participant_id

            path.refusing = True
            path.cut()
            lost_s = time.monotonic()
            assert (await ada.wait_event(voicebot.Disconnected)).will_reconnect
            await grace.hear(sound, 440)
            path.refusing = False
            back = await ada.wait_event(voicebot.Reconnected)
            back_s = time.monotonic()
            assert (back.resumed, back.media_state) == (True, "connected")
            assert ada.connection.participant_id == me

            # What Grace heard meanwhile, and what she was told: nothing.
            arrivals_s = await grace.peer.arrivals(
                section=grace.received[sound.track_id].section, since_s=lost_s, until_s=back_s
            )
            assert len(arrivals_s) > 0.9 * 50 * (back_s - lost_s) - 2

            # The session is whole: it renegotiates the same peer connection.
            second = await ada.publish_tone(880)
            await ada.negotiate()
            async for event in grace.connection.events():
                assert not isinstance(event, ParticipantLeft)
                if isinstance(event, TrackPublished) and event.track.track_id == ada.published[second]:
                    break
            more = await grace.wait_track("audio")
            await grace.receive(more)
            await grace.negotiate()
            await grace.hear(more, 880)
