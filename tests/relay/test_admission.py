"""Who is let in, and where to."""

from dataclasses import replace

import pytest
import trio
from client_sdp import audio
from media_peer import LOOPBACK, TWO_WORKERS, open_publisher, open_subscriber
from stepped_relay import SteppedRelay
from waiting import commands_applied

from media.state import Capacity
from media.verdicts import Verdict
from relay import CapacityError, RelayConfig, Router, open_relay
from relay.admission import BUSY_LOOKS

pytestmark = pytest.mark.usefixtures("kernels")

CAPACITY = Capacity(peers=64, tracks=8, inbound=8, outbound=8, history=1, commands=512, events=2, taps=2)
SECOND_NS = 1_000_000_000


@pytest.fixture
def router():
    """Of two workers, whose kernels do not run: their load is what the test says."""
    relay = SteppedRelay(RelayConfig(host="127.0.0.1", workers=2, capacity=CAPACITY))
    yield relay.router
    relay.close()


class Clock:
    """Passes seconds in which each worker is busy for a share, and sends and receives so many packets."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._now_ns = 0
        self.second([0, 0])

    def second(self, busy, *, sent=1000, received=100) -> None:
        self._now_ns += SECOND_NS
        for worker, share in zip(self._router.workers, busy, strict=True):
            worker.memory.context["busy_ns"] += int(share * SECOND_NS)
            worker.memory.context["received"] += received
            worker.memory.counters[Verdict.DATAGRAM_SENT] += sent
        self._router._admission.look(self._now_ns)


def loads(router: Router) -> list[int]:
    return [worker.load for worker in router.workers]


async def test_peers_beyond_the_budget_are_refused_until_one_leaves():
    with trio.fail_after(8):
        async with open_relay(replace(TWO_WORKERS, max_peers=3)) as router:
            peers = [router.add_peer(str(number)) for number in range(3)]
            with pytest.raises(CapacityError, match="3 of 3 peers"):
                router.add_peer("one too many")
            statistics = router.statistics()
            assert (statistics.peers, statistics.max_peers) == (3, 3)
            assert "3 of 3 peers" in statistics.refusal
            heir = router.add_peer("takes a place", replacing=peers[0])
            peers[0].close("replaced")
            with pytest.raises(CapacityError):
                router.add_peer("still one too many", replacing=peers[0])
            heir.close("over")
            await commands_applied(router)
            assert router.statistics().refusal is None
            router.add_peer("fits")


async def test_newcomers_are_refused_when_the_outbound_streams_are_used_and_others_go_on():
    with trio.fail_after(8):
        async with (
            open_relay(replace(LOOPBACK, max_outbound_streams=1)) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (_, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            with pytest.raises(CapacityError, match="1 of 1 outbound streams"):
                router.add_peer("late")
            bob.subscribe((audio("0", "recvonly"), track), (audio("1", "recvonly"), track))
            assert router.statistics().outbound_streams == 2


def test_budget_is_never_above_what_the_tables_hold():
    relay = SteppedRelay(RelayConfig(host="127.0.0.1", workers=1, capacity=CAPACITY, max_peers=1_000_000))
    statistics = relay.router.statistics()
    relay.close()
    assert (statistics.max_peers, statistics.max_outbound_streams) == (CAPACITY.peers, CAPACITY.outbound)


def test_worker_that_sheds_gets_nobody(router):
    router.workers[0].memory.context["shedding"] = 1
    for _ in range(3):
        router.add_peer()
    assert loads(router) == [0, 3]


def test_newcomers_are_refused_while_all_workers_shed_and_welcome_afterwards(router):
    first = router.add_peer()
    for level, worker in zip((1, 2), router.workers, strict=True):
        worker.memory.context["shedding"] = level
    with pytest.raises(CapacityError, match=r"overloaded.*level 2"):
        router.add_peer()
    router.add_peer(replacing=first)
    router.workers[1].memory.context["shedding"] = 0
    assert router.add_peer().worker is router.workers[1]


def test_workers_that_stay_busy_get_nobody(router):
    clock = Clock(router)
    for _ in range(BUSY_LOOKS - 1):
        clock.second([1, 1])
        router.add_peer()
    clock.second([1, 1])
    with pytest.raises(CapacityError, match=r"busy 100% of the time"):
        router.add_peer()
    clock.second([1, 0.9])
    assert router.add_peer().worker is router.workers[1]


def test_worker_that_is_busy_with_a_flood_keeps_nobody_out(router):
    clock = Clock(router)
    for _ in range(2 * BUSY_LOOKS):
        clock.second([1, 1], sent=100, received=500_000)
    router.add_peer()


def test_looks_that_follow_at_once_change_nothing(router):
    clock = Clock(router)
    clock.second([0.5, 0.5])
    router._admission.look(clock._now_ns + 1)
    assert [worker.busy_share for worker in router.statistics().workers] == [0.5, 0.5]


def test_idle_workers_are_filled_evenly(router):
    clock = Clock(router)
    clock.second([0.01, 0.03])
    for _ in range(10):
        router.add_peer()
    assert loads(router) == [5, 5]


def test_newcomers_go_where_there_is_time_to_spare_until_it_is_used(router):
    clock = Clock(router)
    for _ in range(20):
        router.add_peer()
    clock.second([0.8, 0.4])
    for _ in range(8):
        router.add_peer()
    assert loads(router) == [10, 18]
    # Eighteen of these peers keep a worker as busy as ten of the others, as far as is known.
    for _ in range(4):
        router.add_peer()
    assert loads(router)[0] > 10


def test_full_worker_gets_nobody_though_it_is_idle(router):
    clock = Clock(router)
    peers = [router.add_peer() for _ in range(2 * CAPACITY.peers - 1)]
    clock.second([0, 0.9])
    assert router.add_peer().worker.load == CAPACITY.peers
    assert len(peers) + 1 == sum(loads(router))
