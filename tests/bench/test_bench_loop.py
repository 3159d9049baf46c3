"""The compiled loop: over a direct socket pair, and through a reflector that makes every kind of mistake."""

import socket
from contextlib import ExitStack

import numpy as np
import pytest
import trio
from bench_reflector import Reflector, unchanged

from bench.direct import run_direct
from bench.generator import Generator, Receiver, Traffic
from bench.histogram import percentiles_ns
from bench.loop import deadline_ns
from bench.payload import PayloadKind
from bench.sockets import open_media_socket, receive_runs
from bench.tables import SCHEDULE, Counter, Series
from media.jit import python_function
from media.native import SOL_UDP, UDP_SEGMENT
from media.srtp import SrtpProfile

TIMEOUT_S = 60  # of these, most is compiling when the cache is cold


@pytest.mark.parametrize("profile", SrtpProfile)
@pytest.mark.parametrize(
    ("kind", "size"), [(PayloadKind.AUDIO, 36), (PayloadKind.AUDIO, 120), (PayloadKind.VIDEO, 1200)]
)
async def test_direct_run_delivers_and_times_every_packet(profile, kind, size):
    with trio.fail_after(TIMEOUT_S):
        result = await run_direct(Traffic(2000, size, ramp_s=0.1, duration_s=0.2, kind=kind), profile)
    assert result.sent == result.expected == result.delivered == 400
    assert result.counters[Counter.SENT] == result.counters[Counter.DELIVERED] == 500
    assert result.lost == result.counters[Counter.CORRUPT] == result.counters[Counter.UNPROTECT_FAILED] == 0
    assert result.latencies.sum() == 400
    assert result.series[:, Series.SENT].sum() == result.series[:, Series.DELIVERED].sum() == 500
    assert 0 < percentiles_ns(result.latencies, (50,))[0] <= result.counters[Counter.LATENCY_MAX_NS] * 1.01


async def test_direct_run_delivers_when_the_idle_loop_sleeps():
    with trio.fail_after(TIMEOUT_S):
        traffic = Traffic(200, 120, ramp_s=0, duration_s=0.2)
        result = await run_direct(traffic, SrtpProfile.AEAD_AES_128_GCM, spin_ns=0)
    assert result.sent == result.delivered == 40
    assert result.counters[Counter.POLLS] < 1000


async def _reflected(fault, *, subscribers=3, packets=200, size=120, profile=SrtpProfile.AEAD_AES_128_GCM):
    with ExitStack() as owned:
        reflector = Reflector(owned, subscribers, profile, fault)
        with trio.fail_after(TIMEOUT_S), Generator([reflector.sender], reflector.receivers) as generator:
            async with generator.run(Traffic(400, size, 0, packets / 400), spin_ns=0) as run:
                return await run.result()


@pytest.mark.parametrize("profile", SrtpProfile)
async def test_reflected_run_is_clean_when_the_relay_is(profile):
    result = await _reflected(unchanged, profile=profile)
    assert (result.expected, result.delivered) == (600, 600)
    odd = (Counter.DUPLICATED, Counter.REORDERED, Counter.CORRUPT, Counter.UNPROTECT_FAILED, Counter.STALE)
    assert [result.counters[counter] for counter in odd] == [0] * 5


async def test_a_burst_is_one_video_frame():
    seen = []

    def remember(_sequence, packet):
        seen.append(packet)
        return [packet]

    with ExitStack() as owned:
        reflector = Reflector(owned, 1, SrtpProfile.AEAD_AES_128_GCM, remember)
        with trio.fail_after(TIMEOUT_S), Generator([reflector.sender], reflector.receivers) as generator:
            for _ in range(2):
                traffic = Traffic(200, 1000, ramp_s=0.1, duration_s=0.1, kind=PayloadKind.VIDEO, burst=5)
                async with generator.run(traffic, spin_ns=0) as run:
                    result = await run.result()
                assert (result.sent, result.delivered) == (20, 20)
                assert result.counters[Counter.SENT] == 30
                assert result.counters[Counter.CORRUPT] == 0
    assert [int.from_bytes(packet[2:4], "big") for packet in seen] == list(range(60))
    assert [packet[1] >> 7 for packet in seen] == [0, 0, 0, 0, 1] * 12  # the marker: the last of its frame
    assert [packet[12] for packet in seen] == [0x10, 0, 0, 0, 0] * 12  # S: the first
    timestamps = [int.from_bytes(packet[4:8], "big") for packet in seen]
    assert timestamps == [frame * 90_000 // 40 for frame in range(12) for _ in range(5)]


async def test_loss_is_counted_for_each_subscriber():
    result = await _reflected(lambda sequence, packet: [] if sequence % 10 == 3 else [packet])
    assert result.lost == 60
    assert result.delivered == 540


async def test_duplicates_are_counted_and_not_taken_for_deliveries():
    def repeated(sequence, packet):
        # Numbered anew, as a relay would: SRTP's replay check drops a plain repetition before we see it.
        packets = [packet[:2] + (2 * sequence + i).to_bytes(2, "big") + packet[4:] for i in range(2)]
        return packets if sequence == 100 else packets[:1]

    result = await _reflected(repeated)
    assert result.counters[Counter.DUPLICATED] == 3
    assert result.delivered == 600


async def test_reordering_is_counted_and_loses_nothing():
    held = []

    def swapped(sequence, packet):
        if sequence % 20 == 4:
            held.append(packet)
            return []
        return [packet, held.pop()] if held else [packet]

    result = await _reflected(swapped)
    assert result.counters[Counter.REORDERED] == 30
    assert result.lost == 0


@pytest.mark.parametrize("offset", [12, 16, 40, 119])
async def test_changed_bytes_are_corrupt(offset):
    def flipped(sequence, packet):
        if sequence != 5:
            return [packet]
        return [packet[:offset] + bytes([packet[offset] ^ 0xFF]) + packet[offset + 1 :]]

    result = await _reflected(flipped)
    assert result.counters[Counter.CORRUPT] == 3
    assert result.lost == 3


async def test_truncated_and_lengthened_packets_are_corrupt():
    changes = {5: lambda packet: packet[:-1], 6: lambda packet: packet + b"x", 7: lambda packet: packet[:20]}
    result = await _reflected(lambda sequence, packet: [changes.get(sequence, bytes)(packet)])
    assert result.counters[Counter.CORRUPT] == 9


async def test_header_changes_a_relay_may_make_are_not_corruption():
    def extended(_sequence, packet):
        extension = b"\xbe\xde\x00\x01\x10\x41\x00\x00"
        padding = b"\x00\x00\x00\x04"
        return [bytes([packet[0] | 0x30]) + packet[1:12] + extension + packet[12:] + padding]

    result = await _reflected(extended)
    assert result.delivered == 600
    assert result.counters[Counter.CORRUPT] == 0


async def test_a_second_run_goes_on_where_the_first_ended():
    with ExitStack() as owned:
        reflector = Reflector(owned, 2, SrtpProfile.AEAD_AES_128_GCM)
        with trio.fail_after(TIMEOUT_S), Generator([reflector.sender], reflector.receivers) as generator:
            for _ in range(3):
                async with generator.run(Traffic(500, 120, 0.1, 0.1), spin_ns=0) as run:
                    result = await run.result()
                assert (result.expected, result.delivered) == (100, 100)
                assert result.counters[Counter.UNPROTECT_FAILED] == result.counters[Counter.STALE] == 0


async def test_leaving_the_scope_stops_the_loop_and_joins_its_thread():
    with ExitStack() as owned:
        reflector = Reflector(owned, 1, SrtpProfile.AEAD_AES_128_GCM)
        with trio.fail_after(TIMEOUT_S), Generator([reflector.sender], reflector.receivers) as generator:
            async with generator.run(Traffic(100, 120, 0, 3600)) as run:
                while run.count(Counter.SENT) == 0:
                    await trio.lowlevel.checkpoint()
            result = await run.result()
    assert 0 < result.counters[Counter.SENT] < 360_000


async def test_other_datagrams_are_sorted_and_counted_and_consent_is_sent():
    with ExitStack() as owned:
        reflector = Reflector(owned, 1, SrtpProfile.AEAD_AES_128_GCM)
        near, far = (owned.enter_context(open_media_socket(socket.AF_INET, "127.0.0.1")) for _ in range(2))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        odd = {
            Counter.OTHER: [b"", b"x", b"\x40" * 20, b"\xff" * 20, b"\x0a" * 20],
            Counter.STUN: [b"\x01\x01" + bytes(18)],
            Counter.DTLS: [b"\x16\xfe\xfd" + bytes(20), b"\x3f" * 20],
            Counter.RTCP: [b"\x80\xc8" + bytes(26), b"\x81\xcd" + bytes(26)],
            Counter.UNPROTECT_FAILED: [b"\x80\x6f" + bytes(40), b"\x80\x6f" + bytes(10)],
        }
        for datagrams in odd.values():
            for datagram in datagrams:
                far.send(datagram)
        consent = b"\x00\x01" + bytes(18)
        extra = Receiver(near.fileno(), reflector.receivers[0].session, consent)
        receivers = [extra, *reflector.receivers]  # the first is the first to send its check
        with trio.fail_after(TIMEOUT_S), Generator([reflector.sender], receivers) as generator:
            async with generator.run(Traffic(100, 120, 0, 0.1)) as run:
                result = await run.result()
        assert {counter: result.counters[counter] for counter in odd} == {
            counter: len(datagrams) for counter, datagrams in odd.items()
        }
        assert far.recv(100) == consent


async def test_a_run_received_whole_is_taken_apart():
    with ExitStack() as owned:
        reflector = Reflector(owned, 1, SrtpProfile.AEAD_AES_128_GCM)
        near, far = (owned.enter_context(open_media_socket(socket.AF_INET, "127.0.0.1")) for _ in range(2))
        near.connect(far.getsockname())
        receive_runs(near)
        report = b"\x80\xc8" + bytes(26)
        segment = (SOL_UDP, UDP_SEGMENT, len(report).to_bytes(2, "little"))
        run_of_five = [report] * 4 + [b"\x81\xcd" + bytes(10)]  # the last one may be shorter
        far.sendmsg(run_of_five, [segment], 0, near.getsockname())
        assert len(near.recv(2_000, socket.MSG_PEEK)) == sum(map(len, run_of_five))  # it did come whole
        receivers = [Receiver(near.fileno(), reflector.receivers[0].session), *reflector.receivers]
        with trio.fail_after(TIMEOUT_S), Generator([reflector.sender], receivers) as generator:
            async with generator.run(Traffic(100, 120, 0, 0.1)) as run:
                result = await run.result()
        assert result.counters[Counter.RTCP] == len(run_of_five)


async def test_consent_goes_round_all_peers_however_short_the_runs():
    with ExitStack() as owned:
        reflector = Reflector(owned, 1, SrtpProfile.AEAD_AES_128_GCM)
        session, consent = reflector.receivers[0].session, b"\x00\x01" + bytes(18)
        receivers, relays = [], []
        for _ in range(3):
            near, far = (
                owned.enter_context(open_media_socket(socket.AF_INET, "127.0.0.1")) for _ in range(2)
            )
            near.connect(far.getsockname())
            receivers.append(Receiver(near.fileno(), session, consent))
            relays.append(far)
        with trio.fail_after(TIMEOUT_S), Generator([reflector.sender], receivers) as generator:
            for _ in relays:
                async with generator.run(Traffic(100, 120, 0, 0.02)) as run:
                    await run.result()
        for relay in relays:
            assert relay.recv(100) == consent
            with pytest.raises(BlockingIOError):
                relay.recv(100)


def _schedule(**values):
    schedule = np.zeros(1, SCHEDULE)
    for name, value in values.items():
        schedule[name] = value
    return schedule.view(np.recarray)[0]


def test_deadlines_rise_evenly_in_the_ramp_and_stay_steady_after():
    schedule = _schedule(start_ns=1000, ramp_ns=10**9, ramp_packets=100, burst=1, packet_interval_ns=5e6)
    deadlines = [python_function(deadline_ns)(schedule, index) for index in range(300)]
    assert deadlines[0] == 1000
    assert deadlines[25] == 1000 + 10**9 // 2  # a quarter of the packets in half of the time: a linear rise
    assert deadlines[100] == 1000 + 10**9
    assert set(np.diff(deadlines[100:])) == {5_000_000}
    assert np.all(np.diff(deadlines) > 0)


def test_packets_of_a_burst_are_due_together_and_the_rate_stays():
    schedule = _schedule(start_ns=0, ramp_ns=10**9, ramp_packets=50, burst=5, packet_interval_ns=5e6)
    deadlines = [python_function(deadline_ns)(schedule, index) for index in range(150)]
    assert deadlines[50:] == [10**9 + frame * 25_000_000 for frame in range(20) for _ in range(5)]
    assert all(len(set(deadlines[first : first + 5])) == 1 for first in range(0, 50, 5))
