"""The relay as a whole: opening and closing, its workers, media without the interpreter, peers coming and going."""

import socket
import threading
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep

import pytest
import trio
from client_sdp import audio
from media_peer import (
    LOOPBACK,
    TWO_WORKERS,
    open_peer,
    open_publisher,
    open_subscriber,
)
from waiting import commands_applied

import relay
from media.state import Capacity
from media.verdicts import Verdict
from relay import (
    LocalProtocolError,
    PeerClosed,
    PeerState,
    RelayConfig,
    open_relay,
)

pytestmark = pytest.mark.usefixtures("kernels")


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_public_names_exist_and_are_sorted():
    assert [name for name in relay.__all__ if not hasattr(relay, name)] == []
    assert sorted(relay.__all__) == sorted(set(relay.__all__))


async def test_every_verdict_is_in_the_statistics():
    with trio.fail_after(8):
        async with open_relay(TWO_WORKERS) as router:
            statistics = router.statistics()
            names = {verdict.name.lower() for verdict in Verdict}
            assert set(statistics.verdicts) == names
            assert [set(worker.verdicts) for worker in statistics.workers] == [names, names]
            assert statistics.peers == statistics.tracks == statistics.outbound_streams == 0
            assert tuple(worker.udp_port for worker in statistics.workers) == router.udp_ports
            assert set(statistics.workers[0].rows.values()) == {0}


async def test_relay_opens_again_on_the_same_port_after_it_was_closed():
    with trio.fail_after(8):
        async with open_relay(LOOPBACK) as router:
            (port,) = router.udp_ports
        again = replace(LOOPBACK, udp_port=port)
        async with open_relay(again) as router:
            assert router.udp_ports == (port,)
            with pytest.raises(LocalProtocolError, match=f"port {port}"):
                async with open_relay(again):
                    pass
            async with open_relay(LOOPBACK) as other:
                assert other.udp_ports != router.udp_ports


async def test_ports_of_several_workers_follow_one_another_or_none_is_taken():
    with trio.fail_after(8):
        async with AsyncExitStack() as stack:
            while True:  # whatever ports are free on this machine
                first = _free_port()
                try:
                    config = replace(LOOPBACK, workers=3, udp_port=first)
                    router = await stack.enter_async_context(open_relay(config))
                except LocalProtocolError:
                    continue
                break
            assert router.udp_ports == (first, first + 1, first + 2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", first + 2))
            descriptors = count_descriptors()
            with pytest.raises(LocalProtocolError, match=f"port {first + 2}"):
                async with open_relay(config):
                    pass
            assert count_descriptors() == descriptors


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return min(probe.getsockname()[1], 65_000)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (RelayConfig(host="localhost"), "localhost"),
        (RelayConfig(host="192.0.2.1"), "192.0.2.1"),
        (RelayConfig(host="127.0.0.1", public_addresses=("example.org",)), "example.org"),
        (RelayConfig(host="127.0.0.1", workers=0), "0 workers"),
        (RelayConfig(host="127.0.0.1", workers=65), "65 workers"),
        (RelayConfig(host="127.0.0.1", workers=2, udp_port=65_535), "65535"),
    ],
)
async def test_config_that_cannot_work_is_refused_with_its_reason(config, what):
    descriptors = count_descriptors()
    with trio.fail_after(8), pytest.raises(LocalProtocolError, match=what):
        async with open_relay(config):
            pass
    assert count_descriptors() == descriptors


async def test_opening_that_is_cancelled_leaves_nothing_open():
    descriptors = count_descriptors()
    with trio.fail_after(8):
        for delay_ms in (0, 0, 0.5, 1, 2, 3, 4, 6, 8, 10, 20):
            with trio.move_on_after(delay_ms / 1000):
                async with open_relay(TWO_WORKERS):
                    await trio.sleep_forever()
    assert count_descriptors() == descriptors


async def test_leaving_the_scope_closes_peers_and_says_why():
    with trio.fail_after(8):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (track,)),
        ):
            router.close()
            assert await ada.relay_peer.events.receive() == PeerClosed("the relay is shutting down")
            with pytest.raises(trio.EndOfChannel):
                await ada.relay_peer.events.receive()
            assert track.closed
            await ada.wait_until(lambda: ada.dtls_end is not None)
            with pytest.raises(LocalProtocolError, match="closed"):
                router.add_peer("late")


@pytest.mark.parametrize("commands", [2, 8192])
async def test_leaving_the_scope_is_quick_though_many_commands_are_under_way(commands):
    capacity = Capacity(peers=64, tracks=64, inbound=64, outbound=64, commands=commands)
    with trio.fail_after(8):
        async with open_relay(replace(LOOPBACK, capacity=capacity)) as router:
            peers = [router.add_peer(str(number)) for number in range(64)]
            began_s = trio.current_time()
        assert trio.current_time() - began_s < 2
        assert all(peer.state is PeerState.CLOSED for peer in peers)


@pytest.mark.parametrize("config", [LOOPBACK, TWO_WORKERS], ids=["one_worker", "two_workers"])
async def test_leaving_the_scope_under_traffic_is_quick_and_clean(config):
    with trio.fail_after(8):
        async with AsyncExitStack() as stack:
            router = await stack.enter_async_context(open_relay(config))
            ada, (track,) = await stack.enter_async_context(
                open_publisher(router, audio("0", "sendonly", ssrc=1))
            )
            listeners = [
                await stack.enter_async_context(open_subscriber(router, (audio("0", "recvonly"), track)))
                for _ in range(4)
            ]
            datagrams = [
                ada.protect_rtp(ada.media_packet("0", index, index, bytes(100))) for index in range(20_000)
            ]
            stop = threading.Event()

            def flood() -> None:
                for datagram in datagrams:
                    if stop.is_set():
                        return
                    ada.send_datagram(datagram)

            thread = threading.Thread(target=flood)
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
            await listeners[-1].take_rtp(10)
            began_s = trio.current_time()
            router.close()
            await trio.lowlevel.checkpoint()
        assert trio.current_time() - began_s < 2


async def test_media_flows_while_the_interpreter_is_busy_elsewhere():
    blocked_s, rate = 2.0, 100
    with trio.fail_after(8):
        async with (
            open_relay(TWO_WORKERS) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as near,
            open_subscriber(router, (audio("0", "recvonly"), track)) as far,
        ):
            assert router.statistics().verdicts["route_tapped"] == 0
            count = int(blocked_s * rate)
            datagrams = [
                ada.protect_rtp(ada.media_packet("0", index, 480 * index, b"x" * 80))
                for index in range(count)
            ]
            arrivals_s: dict[str, list[float]] = {"near": [], "far": []}
            threads = [
                threading.Thread(
                    target=_count_arrivals, args=(peer._socket._sock.dup(), count, arrivals_s[name])
                )
                for name, peer in (("near", near), ("far", far))
            ]
            threads.append(
                threading.Thread(target=_send_evenly, args=(ada._socket._sock, datagrams, 1 / rate))
            )
            began_s = monotonic()
            for thread in threads:
                thread.start()
            sleep(blocked_s + 0.2)  # noqa: ASYNC251 - the Trio thread is blocked on purpose
            ended_s = monotonic()
            for thread in threads:
                thread.join()
            for times_s in arrivals_s.values():
                assert len(times_s) == count
                assert began_s < times_s[0] < times_s[-1] < ended_s
                # Evenly, too: nothing waited for the interpreter of the relay.
                assert max(b - a for a, b in pairwise(times_s)) < 0.25
            assert router.statistics().verdicts["route_tapped"] == count


def _count_arrivals(reading: socket.socket, count: int, times_s: list[float]) -> None:
    with reading:
        reading.settimeout(5)
        while len(times_s) < count:
            data = reading.recv(2048)
            if data[0] >= 128 and not 192 <= data[1] <= 223:
                times_s.append(monotonic())


def _send_evenly(sending: socket.socket, datagrams: list[bytes], interval_s: float) -> None:
    due_s = monotonic()
    for datagram in datagrams:
        sending.send(datagram)
        due_s += interval_s
        sleep(max(0, due_s - monotonic()))


async def test_peers_are_spread_over_the_workers():
    with trio.fail_after(8):
        async with open_relay(TWO_WORKERS) as router:
            peers = [router.add_peer(str(number)) for number in range(6)]
            assert [worker.peers for worker in router.statistics().workers] == [3, 3]
            for peer in peers[::2]:
                peer.close("enough")
            for _ in range(3):
                router.add_peer("more")
            assert [worker.peers for worker in router.statistics().workers] == [3, 3]


async def test_close_is_idempotent_and_a_closed_peer_takes_nothing_more():
    with trio.fail_after(8):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada:
            (track,) = ada.publish(audio("0", "sendonly", ssrc=1))
            ada.relay_peer.close("first")
            ada.relay_peer.close("second")
            assert await ada.relay_peer.events.receive() == PeerClosed("first")
            assert ada.relay_peer.state is PeerState.CLOSED
            assert router.statistics().peers == 0
            assert track.closed
            assert track.level_dbov == 127
            assert track.statistics().subscribers == 0
            for action in (
                lambda: ada.offer(audio("0", "sendonly", ssrc=1)),
                lambda: track.set_muted(True),
                lambda: ada.relay_peer.attach("0", track),
                lambda: ada.relay_peer.detach("0"),
            ):
                with pytest.raises(LocalProtocolError, match=r"closed|no subscribing section"):
                    action()


async def test_peer_whose_events_nobody_reads_or_wants_can_connect_and_close():
    with trio.fail_after(8):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada:
            ada.relay_peer.events.close()
            ada.publish(audio("0", "sendonly", ssrc=1))
            ada.start_transport()
            await ada.wait_until(lambda: ada._keys is not None)
            ada.relay_peer.close("over")
            await commands_applied(router)
            assert router.statistics().peers == 0


async def test_client_that_says_goodbye_is_closed_with_that_reason():
    with trio.fail_after(8):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (track,)),
        ):
            ada.close_dtls()
            assert await ada.relay_peer.events.receive() == PeerClosed("the client closed the connection")
            assert track.closed
