"""Twenty participants in one lobby, all hearing each other."""

from contextlib import AsyncExitStack

import trio
from aiortc_remote import open_aiortc_host
from participants import Caller, join_call
from relay_service import RelayService

PEOPLE = 20
#: Everyone sends packets of 60 ms, encoded beforehand: 380 streams are 6,300 packets a second for the receivers.
SPACING_HZ = 110


def pitch_hz(number: int) -> int:
    return 400 + SPACING_HZ * number


async def test_twenty_participants_hear_each_other(service: RelayService, lobby: str) -> None:
    with trio.fail_after(90):
        async with AsyncExitStack() as stack:
            hosts = [await stack.enter_async_context(open_aiortc_host()) for _ in range(2)]
            callers: list[Caller] = []
            for number in range(PEOPLE):
                caller = await stack.enter_async_context(
                    join_call(service.url, lobby, hosts[number % len(hosts)], name=f"person {number}")
                )
                await caller.publish_tone(pitch_hz(number), packed=True)
                await caller.negotiate()
                callers.append(caller)
                # Half of the people are there before the others come: they learn of them by events.
                if number == PEOPLE // 2 - 1:
                    async with trio.open_nursery() as nursery:
                        for early in callers:
                            nursery.start_soon(early.follow, PEOPLE // 2 - 1)
            async with trio.open_nursery() as nursery:
                for caller in callers:
                    nursery.start_soon(caller.follow, PEOPLE - 1)

            pitches = {
                track_id: pitch_hz(number)
                for number, caller in enumerate(callers)
                for track_id in caller.published.values()
            }
            heard: list[float] = []

            async def hear(caller: Caller, track_id: str) -> None:
                track = caller.received[track_id].track
                heard.append(await caller.hear(track, pitches[track_id], tolerance_hz=3))

            async with trio.open_nursery() as nursery:
                for caller in callers:
                    assert len(caller.received) == PEOPLE - 1
                    for track_id in caller.received:
                        nursery.start_soon(hear, caller, track_id)
            # Every stream is its publisher's tone and nothing else.
            assert len(heard) == PEOPLE * (PEOPLE - 1)
            assert min(heard) > 0.9
