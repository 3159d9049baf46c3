"""Voices through audio slots, heard by a peer that decodes them."""

from contextlib import AsyncExitStack

import trio
from aiortc_remote import RemoteHost
from participants import Caller, join_call
from relay_service import RelayService

TONES_HZ = {"Ada": 440, "Edsger": 700, "Barbara": 1000, "Alan": 1500}


async def test_speakers_take_turns_and_the_listener_never_offers_again(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(90):
        async with AsyncExitStack() as stack:
            listener = await stack.enter_async_context(join_call(service.url, lobby, host, name="Grace"))
            await listener.listen()
            await listener.negotiate()
            speakers: dict[str, Caller] = {}
            for name, hz in TONES_HZ.items():
                speaker = await stack.enter_async_context(join_call(service.url, lobby, host, name=name))
                await speaker.publish_tone(hz)
                await speaker.negotiate()
                speakers[name] = speaker
                if name != "Alan":
                    await listener.hear_voice(hz)
            # aiortc says nothing of levels: who has a slot keeps it until it falls silent.
            sections = {await listener.hear_voice(TONES_HZ[name]) for name in ("Ada", "Edsger", "Barbara")}
            assert sections == set(listener.slots)
            for leaving, coming in (("Ada", "Alan"), ("Barbara", "Ada"), ("Edsger", "Barbara")):
                await mute(speakers[leaving], muted=True)
                await listener.hear_voice(TONES_HZ[coming])
                await mute(speakers[leaving], muted=False)
            for section in listener.slots:
                received = await listener.peer.received(section=section)
                assert (received["ssrcs"], received["lost"]) == (1, 0)


async def mute(speaker: Caller, *, muted: bool) -> None:
    ((_, track_id),) = speaker.published.items()
    await speaker.connection.mute(track_id, muted=muted)
