"""The compiled loop of the load generator: paced sends, and every packet received, decrypted, checked and timed.

One thread does both, so that a packet is never late because the other half of the generator waited for the core.
Burst n of all publishers together has an absolute deadline; publishers take turns, which spreads their phases evenly.
A loop that falls behind sends at once what is due and counts how late it was: the schedule is never stretched, so a
stall shows as latency instead of as a lower rate.

Latency runs from just before a packet is encrypted to the return of the receive call that delivered it. Sockets are
watched edge-triggered and read until empty. Everything that is not media (STUN, RTCP, DTLS) is counted and dropped;
ICE consent (RFC 7675) is kept alive from here, with requests built beforehand.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from bench.histogram import Int64Array, bucket_of
from bench.native import EPOLL_EVENT, epoll_wait, memcmp, send
from bench.tables import (
    CONTROL_CONSENT,
    CONTROL_CONSENT_NS,
    CONTROL_NEXT,
    CONTROL_STOP,
    EVENT_BATCH,
    LATE_NS,
    PROBE,
    PROBE_MAGIC,
    RECEIVE_BATCH,
    WINDOW,
    Counter,
    Series,
)
from media.atomics import load_acquire
from media.jit import helper, kernel
from media.native import (
    CLOCK_MONOTONIC,
    MSG_DONTWAIT,
    POLLIN,
    SEGMENT_CONTROL,
    clock_ns,
    memcpy,
    ppoll,
    recvmmsg,
    srtp_protect,
    srtp_unprotect,
)

Array = Any  # ndarray; mypy does not know the fields of structured ones
Int = Any  # int64 to numba, int to the interpreter
Flag = Any  # likewise for bool

PROBE_BYTES = PROBE.itemsize
CONTROL_BYTES = SEGMENT_CONTROL.itemsize
RTP_HEADER_BYTES = 12
MARKER = 0x80
VP8_START = 0x10  # of the payload descriptor, RFC 7741 section 4.2: a partition, here a frame, begins
NO_SUBSCRIBER = -1
CATCH_UP = 16  # packets sent before the loop looks at its receivers again, when it has fallen behind


class Load(NamedTuple):
    """Every array the loop uses; `bench.generator` makes and owns them.

    *Shapes*: P publishers, E endpoints of which S are subscribers, B = RECEIVE_BATCH.
    """

    schedule: Array  # (1,) SCHEDULE
    publishers: Array  # (P,) PUBLISHER
    templates: Array  # (P, SLOT_BYTES) uint8: the packets without sequence, timestamp and probe
    endpoints: Array  # (E,) ENDPOINT
    endpoint_of_fd: Array  # (largest fd + 1,) int32
    flows: Array  # (S, P) FLOW
    consents: Array  # (E, CONSENT_BYTES) uint8
    events: Array  # (EVENT_BATCH,) EPOLL_EVENT
    headers: Array  # (B,) MMSGHDR, pointing at `received` and `controls`
    controls: Array  # (B,) SEGMENT_CONTROL
    received: Array  # (B, RECEIVE_SLOT_BYTES) uint8
    outgoing: Array  # (SLOT_BYTES,) uint8
    probe: Array  # (1,) PROBE
    length: Array  # (1,) int32
    timespec: Array  # (1,) TIMESPEC
    poll: Array  # (1,) POLLFD
    latencies: Int64Array  # (BUCKETS,)
    series: Int64Array  # (seconds, len(Series))
    counters: Int64Array  # (len(Counter),)
    control: Int64Array  # (CONTROL_WORDS,)


@kernel
def run_load(load: Load) -> None:
    """Send the schedule, receive until all of it has come back or nothing more comes, and return.

    Returns early when `control[CONTROL_STOP]` is set. *Owns*: every array of `load` until it returns.
    """
    schedule, counters, control = load.schedule[0], load.counters, load.control
    drained_at: Int = np.int64(0)
    now = clock_ns(load.timespec, CLOCK_MONOTONIC)
    busy_until = now
    while load_acquire(control, CONTROL_STOP) == 0:
        sent = _send_due(load, now)
        counters[Counter.POLLS] += 1
        ready = epoll_wait(schedule.epoll_fd, load.events.ctypes.data, EVENT_BATCH, 0)
        for i in range(ready):
            _drain_endpoint(load, load.endpoint_of_fd[load.events[i].fd])
        now = clock_ns(load.timespec, CLOCK_MONOTONIC)
        if ready > 0 or sent:
            busy_until = now
            continue
        if control[CONTROL_NEXT] >= schedule.total_packets:
            if drained_at == 0:
                drained_at = now
            if (
                _everything_arrived(load)
                or now - max(drained_at, counters[Counter.LAST_DELIVERY_NS]) > schedule.drain_ns
            ):
                break
        if now - busy_until > schedule.spin_ns:
            _sleep_until_due(load, now)
            now = clock_ns(load.timespec, CLOCK_MONOTONIC)
        counters[Counter.IDLE_NS] += now - busy_until
        busy_until = now
    counters[Counter.FINISHED_NS] = clock_ns(load.timespec, CLOCK_MONOTONIC)


@helper
def deadline_ns(schedule: Any, index: Int) -> Int:
    """When packet `index` of all publishers together is due: the rate rises linearly in the ramp, then stays.

    All packets of a burst are due with its first.
    """
    index -= index % schedule.burst
    if index < schedule.ramp_packets:
        return schedule.start_ns + np.int64(math.sqrt(index / schedule.ramp_packets) * schedule.ramp_ns)
    steady = np.float64(index - schedule.ramp_packets) * schedule.packet_interval_ns
    return schedule.start_ns + schedule.ramp_ns + np.int64(steady)


@helper
def _send_due(load: Load, now: Int) -> Flag:
    """Send packets whose deadlines have passed, and a consent check when one is due. Says whether any was sent."""
    schedule, control = load.schedule[0], load.control
    index = control[CONTROL_NEXT]
    began = index
    end = min(index + max(schedule.burst, CATCH_UP), schedule.total_packets)
    while index < end:
        due = deadline_ns(schedule, index)
        if due > now:
            break
        now = _send_packet(load, index, due)
        index += 1
    control[CONTROL_NEXT] = index
    if now >= control[CONTROL_CONSENT_NS]:
        _send_consent(load)
    return index > began


@helper
def _send_packet(load: Load, index: Int, due: Int) -> Int:
    """Stamp, encrypt and send packet `index`; return the time stamped."""
    schedule, counters = load.schedule[0], load.counters
    row = index // schedule.burst % load.publishers.size
    publisher = load.publishers[row]
    packet, probe = load.outgoing, load.probe[0]
    memcpy(packet.ctypes.data, load.templates[row].ctypes.data, np.uintp(publisher.length))
    sequence = publisher.sequence
    timestamp = sequence // schedule.burst * publisher.ticks
    if schedule.burst > 1:
        _mark_place(packet, index % schedule.burst, schedule)
    packet[2] = (sequence >> 8) & 0xFF
    packet[3] = sequence & 0xFF
    for i in range(4):
        packet[4 + i] = (timestamp >> (24 - 8 * i)) & 0xFF
    sent_ns = clock_ns(load.timespec, CLOCK_MONOTONIC)
    probe.magic = PROBE_MAGIC
    probe.publisher = row
    probe.sequence = sequence
    probe.sent_ns = sent_ns
    at = RTP_HEADER_BYTES + schedule.prefix_bytes
    memcpy(packet[at:].ctypes.data, load.probe.ctypes.data, np.uintp(PROBE_BYTES))
    load.length[0] = publisher.length
    publisher.sequence = sequence + 1
    lateness = sent_ns - due
    counters[Counter.LATENESS_MAX_NS] = max(counters[Counter.LATENESS_MAX_NS], lateness)
    if lateness > LATE_NS:
        counters[Counter.LATE] += 1
    protected = srtp_protect(publisher.session, packet.ctypes.data, load.length.ctypes.data) == 0
    if not protected or send(publisher.fd, packet.ctypes.data, np.uintp(load.length[0]), MSG_DONTWAIT) < 0:
        counters[Counter.SEND_FAILED] += 1
        return sent_ns
    counters[Counter.SENT] += 1
    counters[Counter.LAST_SEND_NS] = sent_ns
    load.series[_second(load, sent_ns), Series.SENT] += 1
    if index >= schedule.ramp_packets:
        publisher.sent += 1
    return sent_ns


@helper
def _mark_place(packet: Array, place: Int, schedule: Any) -> None:
    """Mark where in its frame a packet of video stands: only the first begins it, only the last has the marker."""
    if place > 0:
        packet[RTP_HEADER_BYTES] &= 0xFF ^ VP8_START
    if place < schedule.burst - 1:
        packet[1] &= 0xFF ^ MARKER


@helper
def _send_consent(load: Load) -> None:
    """Send the next peer's consent check: the same request again, a retransmission as STUN allows it."""
    control, endpoints = load.control, load.endpoints
    row = control[CONTROL_CONSENT]
    control[CONTROL_CONSENT] = (row + 1) % endpoints.size
    control[CONTROL_CONSENT_NS] += load.schedule[0].consent_interval_ns
    length = endpoints[row].consent_length
    if length > 0:
        send(endpoints[row].fd, load.consents[row].ctypes.data, np.uintp(length), MSG_DONTWAIT)


@helper
def _drain_endpoint(load: Load, row: Int) -> None:
    """Read one socket until it is empty; sends that fall due in between are not kept waiting."""
    fd = load.endpoints[row].fd
    while True:
        load.counters[Counter.RECEIVE_CALLS] += 1
        count = recvmmsg(fd, load.headers.ctypes.data, RECEIVE_BATCH, MSG_DONTWAIT, np.uintp(0))
        if count <= 0:
            return
        now = clock_ns(load.timespec, CLOCK_MONOTONIC)
        for i in range(count):
            _take_run(load, row, i, now)
        _send_due(load, now)
        if count < RECEIVE_BATCH:
            return


@helper
def _take_run(load: Load, row: Int, slot: Int, now: Int) -> None:
    """Take the datagrams that one receive slot holds: one, or a run of which only the last may be shorter (UDP_GRO)."""
    header = load.headers[slot]
    length: Int = np.int64(header.length)
    segment: Int = np.int64(load.controls[slot].segment) if header.control_length > 0 else length
    header.control_length = CONTROL_BYTES
    at: Int = np.int64(0)
    while True:  # an empty datagram is one too
        end = min(at + max(segment, 1), length)
        _take_datagram(load, row, load.received[slot, at:end], now)
        at = end
        if at >= length:
            return


@helper
def _take_datagram(load: Load, row: Int, packet: Array, now: Int) -> None:
    """Sort one datagram by its first bytes (RFC 7983, RFC 5761) and count it."""
    counters = load.counters
    length = np.int64(packet.size)
    if length < 2:
        counters[Counter.OTHER] += 1
        return
    first, second = packet[0], packet[1]
    if length < RTP_HEADER_BYTES or first >= 192 or 3 < first < 20 or 63 < first < 128:
        counters[Counter.OTHER] += 1
    elif first < 4:
        counters[Counter.STUN] += 1
    elif first < 64:
        counters[Counter.DTLS] += 1
    elif 192 <= second <= 223:
        counters[Counter.RTCP] += 1
    else:
        load.length[0] = length
        session = load.endpoints[row].session
        if session == 0 or srtp_unprotect(session, packet.ctypes.data, load.length.ctypes.data) != 0:
            counters[Counter.UNPROTECT_FAILED] += 1
        else:
            _take_media(load, load.endpoints[row].subscriber, packet, np.int64(load.length[0]), now)


@helper
def _take_media(load: Load, subscriber: Int, packet: Array, length: Int, now: Int) -> None:
    """Check one decrypted packet against what its publisher sent, and account for it."""
    counters = load.counters
    row = _check_payload(load, packet, length)
    if row < 0 or subscriber == NO_SUBSCRIBER:
        counters[Counter.CORRUPT] += 1
        return
    publisher, probe, flow = load.publishers[row], load.probe[0], load.flows[subscriber, row]
    if probe.sequence < publisher.first:
        counters[Counter.STALE] += 1
        return
    if probe.sequence >= publisher.sequence:
        counters[Counter.CORRUPT] += 1
        return
    ahead = probe.sequence - flow.highest
    if ahead > 0:
        flow.window = (flow.window << np.uint64(ahead)) | np.uint64(1) if ahead < WINDOW else np.uint64(1)
        flow.highest = probe.sequence
    else:
        counters[Counter.REORDERED] += 1
        if ahead > -WINDOW:
            bit = np.uint64(1) << np.uint64(-ahead)
            if flow.window & bit != 0:
                counters[Counter.REORDERED] -= 1
                counters[Counter.DUPLICATED] += 1
                return
            flow.window |= bit
    if flow.last_ns > 0:
        flow.gap_ns = max(flow.gap_ns, now - flow.last_ns)
    flow.last_ns = now
    latency = now - probe.sent_ns
    second = _second(load, now)
    counters[Counter.DELIVERED] += 1
    load.series[second, Series.DELIVERED] += 1
    load.series[second, Series.LATENCY_SUM_NS] += latency
    load.series[second, Series.LATENCY_MAX_NS] = max(load.series[second, Series.LATENCY_MAX_NS], latency)
    if probe.sequence - publisher.first >= load.schedule[0].ramp_packets // load.publishers.size:
        flow.delivered += 1
        counters[Counter.DELIVERED_COUNTED] += 1
        counters[Counter.LAST_DELIVERY_NS] = now
        counters[Counter.LATENCY_MAX_NS] = max(counters[Counter.LATENCY_MAX_NS], latency)
        load.latencies[bucket_of(latency)] += 1


@helper
def _check_payload(load: Load, packet: Array, length: Int) -> Int:
    """Return the publisher whose payload this is, its probe left in `load.probe`; -1 when nobody sent this."""
    prefix = np.int64(load.schedule[0].prefix_bytes)
    at = RTP_HEADER_BYTES + 4 * np.int64(packet[0] & 0x0F)
    if packet[0] & 0x10:
        if at + 4 > length:
            return -1
        at += 4 + 4 * (np.int64(packet[at + 2]) << 8 | np.int64(packet[at + 3]))
    if packet[0] & 0x20:
        length -= np.int64(packet[length - 1])
    if at + prefix + PROBE_BYTES > length:
        return -1
    memcpy(load.probe.ctypes.data, packet[at + prefix :].ctypes.data, np.uintp(PROBE_BYTES))
    probe = load.probe[0]
    row = np.int64(probe.publisher)
    if probe.magic != PROBE_MAGIC or row >= load.publishers.size:
        return -1
    if length - at != load.publishers[row].length - RTP_HEADER_BYTES:
        return -1
    rest = at + prefix + PROBE_BYTES
    template = load.templates[row][RTP_HEADER_BYTES + prefix + PROBE_BYTES :]
    if memcmp(packet[rest:].ctypes.data, template.ctypes.data, np.uintp(length - rest)) != 0:
        return -1
    return row


@helper
def _everything_arrived(load: Load) -> Flag:
    subscribers = load.flows.shape[0]
    expected = np.int64(0)
    for row in range(load.publishers.size):
        expected += load.publishers[row].sent * subscribers
    return load.counters[Counter.DELIVERED_COUNTED] >= expected


@helper
def _sleep_until_due(load: Load, now: Int) -> None:
    """Sleep until a socket is ready, or the next send or consent check is due; 50 ms at most, to notice a stop."""
    schedule = load.schedule[0]
    until = min(now + 50_000_000, load.control[CONTROL_CONSENT_NS])
    if load.control[CONTROL_NEXT] < schedule.total_packets:
        until = min(until, deadline_ns(schedule, load.control[CONTROL_NEXT]))
    if until <= now:
        return
    load.poll[0].fd = schedule.epoll_fd
    load.poll[0].events = POLLIN
    load.timespec[0].seconds = (until - now) // 1_000_000_000
    load.timespec[0].nanoseconds = (until - now) % 1_000_000_000
    ppoll(load.poll.ctypes.data, np.uint64(1), load.timespec.ctypes.data, np.uintp(0))


@helper
def _second(load: Load, now: Int) -> Int:
    """Row of `series` for a time; the last row takes what comes after the end."""
    return min(max((now - load.schedule[0].start_ns) // 1_000_000_000, 0), load.series.shape[0] - 1)


__all__ = ["EPOLL_EVENT", "Load", "deadline_ns", "run_load"]
