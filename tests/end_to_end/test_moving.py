"""People who leave, come back and go elsewhere."""

from uuid import uuid4

import pytest
import trio
from aiortc_remote import RemoteHost
from participants import Caller, join_call
from relay_service import RelayService

import voicebot
from signaling.messages import ParticipantLeft, Track


async def start_call(speaker: Caller, listener: Caller, hz: int) -> Track:
    """Let one hear the other's new track."""
    await speaker.publish_tone(hz)
    await speaker.negotiate()
    sound = await listener.wait_track("audio")
    await listener.receive(sound)
    await listener.negotiate()
    await listener.hear(sound, hz)
    return sound


async def test_one_who_left_comes_back_with_a_new_connection(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(40):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
        ):
            sound = await start_call(ada, grace, 440)
            await ada.connection.leave()
            assert (await grace.wait_event(ParticipantLeft)).reason == "left"
            await grace.peer.wait_silence(section=grace.received[sound.track_id].section, seconds=0.3)
            with pytest.raises(voicebot.ProtocolError, match="not_in_lobby"):
                await ada.connection.offer("v=0")

            await ada.peer.close()
            ada.peer = await host.create_peer()
            await ada.connection.join(lobby, "Ada")
            await start_call(ada, grace, 550)


async def test_one_who_moves_is_heard_in_the_new_lobby_only(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    elsewhere = f"test-{uuid4().hex[:12]}"
    with trio.fail_after(40):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
            join_call(service.url, elsewhere, host, name="Edsger") as edsger,
        ):
            sound = await start_call(ada, grace, 440)
            await ada.connection.join(elsewhere, "Ada")
            assert (await grace.wait_event(ParticipantLeft)).reason == "moved"
            await grace.peer.wait_silence(section=grace.received[sound.track_id].section, seconds=0.3)
            await ada.peer.close()
            ada.peer = await host.create_peer()
            heard_elsewhere = await start_call(ada, edsger, 550)

            # Walls between lobbies: a track id that leaks is of no use.
            slot = grace.received[sound.track_id]
            with pytest.raises(voicebot.ProtocolError, match="unknown_track"):
                await grace.connection.subscribe(heard_elsewhere.track_id, slot.mid)
            await grace.receive(heard_elsewhere)
            answer = await grace.negotiate()
            assert [refused.code for refused in answer.refused] == ["unknown_track"]


async def test_goodbye_counts_although_events_cross_it(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    """Who hangs up closes the media and the WebSocket at once; the server is just then telling of the former."""
    with trio.fail_after(40):
        async with join_call(service.url, lobby, host, name="Grace") as grace:
            async with join_call(service.url, lobby, host, name="Ada") as ada:
                await start_call(ada, grace, 440)
            with trio.fail_after(2):
                assert (await grace.wait_event(ParticipantLeft)).reason == "left"
