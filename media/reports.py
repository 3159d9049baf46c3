"""Sender and receiver reports, made for each hop (RFC 3550 6.4).

A sender report to a subscriber restates the publisher's own: its RTP clock is extrapolated from its latest report, the
timestamp offset of the stream is added, and the wall clock is the relay's. Audio and video of one publisher keep their
relation, which is what a receiver needs to play lips and words together. Before the publisher's first report there is
nothing true to say, and nothing is said.
"""

from typing import Any

import numpy as np

from media.jit import integer, kernel
from media.memory import bytes_at, count, inbound_at, outbound_at, peer_at
from media.reception import cumulative_lost, take_fraction_lost
from media.rtcp import (
    write_receiver_report,
    write_report_block,
    write_sdes_cname,
    write_sender_report,
)
from media.send import queue_rtcp
from media.tables import NONE, PACKET_BYTES
from media.verdicts import Verdict

MAX_REPORT_BYTES = 1100
"""A compound packet is sent when it has grown beyond this; one sender report with its CNAME takes 56 bytes more."""

MAX_BLOCKS = 31


@kernel
def send_reports(context: Any, peer_row: int) -> None:
    """Tell a peer how its streams arrive, and what clock the streams it is sent follow."""
    peer = peer_at(context, peer_row)
    report = bytes_at(context.report, PACKET_BYTES)
    length = _write_reception(context, peer, report)
    empty = length
    told = length > 8
    row = peer.first_outbound
    while row != NONE:
        outbound = outbound_at(context, row)
        row = outbound.next_of_peer
        if outbound.started == 0 or outbound.inbound == NONE:
            continue
        inbound = inbound_at(context, outbound.inbound)
        if inbound.report_arrival_ns == 0:
            continue
        if length > MAX_REPORT_BYTES:
            _send(context, peer_row, length)
            length = write_receiver_report(report, 0, peer.rtcp_ssrc, 0)
            empty = length
        length = _write_sender(context, outbound, inbound, report, length)
    if told or length > empty:
        _send(context, peer_row, length)


@kernel
def _write_reception(context: Any, peer: Any, report: np.ndarray) -> int:
    blocks = integer(0)
    length = write_receiver_report(report, 0, peer.rtcp_ssrc, 0)
    row = peer.first_inbound
    while row != NONE and blocks < MAX_BLOCKS:
        inbound = inbound_at(context, row)
        row = inbound.next_of_peer
        if inbound.started == 0:
            continue
        last_report = integer(0)
        delay = integer(0)
        if inbound.report_arrival_ns != 0:
            last_report = inbound.received_ntp_middle
            delay = ((context.now_ns - inbound.report_arrival_ns) << 16) // 1_000_000_000
        length = write_report_block(
            report,
            length,
            inbound.ssrc,
            take_fraction_lost(inbound),
            cumulative_lost(inbound),
            inbound.highest_sequence & 0xFFFFFFFF,
            inbound.jitter_16ths >> 4,
            last_report,
            delay,
        )
        blocks += 1
    write_receiver_report(report, 0, peer.rtcp_ssrc, blocks)
    return length


@kernel
def _write_sender(context: Any, outbound: Any, inbound: Any, report: np.ndarray, length: int) -> int:
    elapsed_ns = context.now_ns - inbound.report_arrival_ns
    ntp = inbound.report_ntp + (elapsed_ns // 1_000_000_000 << 32)
    ntp += ((elapsed_ns % 1_000_000_000) << 32) // 1_000_000_000
    ticks = elapsed_ns // 1000 * inbound.clock_rate // 1_000_000
    timestamp = (inbound.report_timestamp + ticks + outbound.timestamp_offset) & 0xFFFFFFFF
    outbound.report_ntp_middle = (ntp >> 16) & 0xFFFFFFFF
    outbound.report_sent_ns = context.now_ns
    length = write_sender_report(
        report,
        length,
        outbound.ssrc,
        ntp,
        timestamp,
        outbound.packets_sent & 0xFFFFFFFF,
        outbound.payload_bytes_sent & 0xFFFFFFFF,
        0,
    )
    return write_sdes_cname(report, length, outbound.ssrc, outbound.cname)


@kernel
def _send(context: Any, peer_row: int, length: int) -> None:
    if queue_rtcp(context, peer_row, length):
        count(context, Verdict.REPORT_SENT)
