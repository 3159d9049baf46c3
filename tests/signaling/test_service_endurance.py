"""Coming and going a thousand times leaves tasks, descriptors, tables and memory where they were."""

import gc
from collections import Counter

import trio
import trio.testing
from offers import Section, make_offer
from running_server import running_server
from wire_client import in_lobby

from relay import Peer
from signaling.media_link import MediaLink
from signaling.messages import Answer, Offer, PublishRequest, SubscribeRequest
from signaling.process import ProcessStatistics, process_statistics
from signaling.server import RunningServer
from signaling.session import Session
from signaling.storage.memory import MemoryStore
from signaling.websocket import WebSocket

CYCLES = 1000
AT_ONCE = 10
#: The allocator's own ups and downs, and ten thousand events that are kept for those who come late. A leaked session
#: would be about 20 KB, a leaked peer more.
TOLERANCE_BYTES = 22_000_000


async def come_and_go(server: RunningServer, times: int, *, politely: bool) -> None:
    limit = trio.CapacityLimiter(AT_ONCE)

    async def once(number: int) -> None:
        async with limit, in_lobby(server.url, f"lobby {number % 3}", str(number)) as client:
            seen = [track for one in client.joined.participants for track in one.tracks]
            sections = [Section("0"), Section("1", "video"), Section("2", "audio", "recvonly")]
            offer = Offer(
                sdp=make_offer(*sections, identity=client.welcome.session_id),
                publish=(
                    PublishRequest(mid="0", source="microphone"),
                    PublishRequest(mid="1", source="camera"),
                ),
                subscribe=tuple(
                    SubscribeRequest(mid="2", track_id=one.track_id) for one in seen if one.kind == "audio"
                )[:1],
            )
            await client.expect(offer, Answer)
            if not politely:
                await client.drop()

    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(once, number)
    with trio.fail_after(30):
        while server.service.sessions or server.service.router.peers or server.service.counters.websockets:
            await trio.lowlevel.checkpoint()


def rows_in_use(server: RunningServer) -> dict[str, int]:
    (worker,) = server.service.router.statistics().workers
    return dict(worker.rows)


def tasks_living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def living(kinds: tuple[type, ...]) -> list[object]:
    # Types are compared, not tested by isinstance: that would follow another test's weak proxies.
    return [each for each in gc.get_objects() if type(each) in kinds]


async def settled(server: RunningServer, tasks: int) -> ProcessStatistics:
    """Wait until nothing is in use any more; return what the process still holds."""
    with trio.fail_after(10):
        while any(rows_in_use(server).values()) or tasks_living() > tasks:
            await trio.lowlevel.checkpoint()
    gc.collect()
    return process_statistics()


async def test_a_thousand_joins_and_leaves_leave_nothing_behind() -> None:
    async with running_server(resume_seconds=0.05, store=MemoryStore(max_events=100)) as server:
        await trio.testing.wait_all_tasks_blocked(0.02)
        tasks = tasks_living()
        # The first ones fill caches and pools.
        await come_and_go(server, 100, politely=True)
        await come_and_go(server, 100, politely=False)
        before = await settled(server, tasks)
        await come_and_go(server, CYCLES // 2, politely=True)
        await come_and_go(server, CYCLES // 2, politely=False)
        after = await settled(server, tasks)
        assert after.descriptors == before.descriptors
        assert after.threads <= before.threads
        assert after.resident_bytes < before.resident_bytes + TOLERANCE_BYTES
        assert not server.service.lobbies.open
        assert not server.service.counters.failures


async def test_what_has_gone_does_not_wait_for_the_garbage_collector() -> None:
    """A session holds OpenSSL's and libsrtp's memory: as part of a cycle it would be kept for thousands of visits."""
    kinds = (Session, MediaLink, Peer, WebSocket)
    async with running_server(resume_seconds=0.05) as server:
        await trio.testing.wait_all_tasks_blocked(0.02)
        tasks = tasks_living()
        await settled(server, tasks)
        # Whatever tests before this one have left somewhere; kept, so that no identity is used again.
        earlier = living(kinds)
        gc.disable()
        try:
            await come_and_go(server, 20, politely=True)
            await come_and_go(server, 20, politely=False)
            with trio.fail_after(10):
                while any(rows_in_use(server).values()) or tasks_living() > tasks:
                    await trio.lowlevel.checkpoint()
            left = [each for each in living(kinds) if not any(each is one for one in earlier)]
            # A task that waits may hold the last of a kind in a variable of its loop.
            assert all(count <= 1 for count in Counter(map(type, left)).values()), left
        finally:
            gc.enable()
