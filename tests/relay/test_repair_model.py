"""Losses, lateness and repairs in any order, one round at a time, against models that are lists and sets."""

from dataclasses import replace

import pytest
from client_sdp import audio, video
from hypothesis import given, settings
from hypothesis import strategies as st
from rtcp_packets import Nack
from rtp_packets import KEYFRAME, RtpPacket
from stepped_relay import SteppedPeer, SteppedRelay

from media.state import Capacity
from media.tables import MISSING_SPAN, RECEIVE_BATCH
from relay import RelayConfig

pytestmark = pytest.mark.usefixtures("kernels")

DEPTH = 24
CONFIG = RelayConfig(
    host="127.0.0.1",
    workers=1,
    capacity=Capacity(
        peers=4, tracks=4, inbound=8, outbound=8, history=DEPTH, commands=64, events=64, taps=64
    ),
)
PUBLISHED = video("0", "sendonly", payload_type=96, rtx_payload_type=97, ssrc=10, rtx_ssrc=11)


class Pair:
    """A publisher and a subscriber of one track."""

    def __init__(self, config=CONFIG, *, repaired: bool = True) -> None:
        self.relay = SteppedRelay(config)
        self.ada = SteppedPeer(self.relay, self.relay.router.add_peer("ada"))
        self.bob = SteppedPeer(self.relay, self.relay.router.add_peer("bob"))
        (track,) = self.ada.offer(PUBLISHED, publish=["0"], subscribe={}).published.values()
        wanted = video("0", "recvonly", payload_type=100, rtx_payload_type=101 if repaired else None)
        self.bob.offer(wanted, publish=[], subscribe={"0": track})
        self.relay.step()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ada.close()
        self.bob.close()
        self.relay.step()
        assert self.relay.rows_in_use() == {0}
        self.relay.close()

    def publish(self, number: int) -> RtpPacket:
        """Send a packet of the stream; `number` counts on over the wrap."""
        packet = RtpPacket(96, number & 0xFFFF, 3000 * number & 0xFFFFFFFF, 10, KEYFRAME + b"%d" % number)
        self.ada.send(packet)
        return packet


# What is done to the next number, or to an old one: sent in time, held back, sent late, sent as RTX, sent twice.
steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "hold", "hold", "late", "repair", "repair", "again"]),
        st.integers(0, 40),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from([5, 65_500]), steps)
def test_each_packet_is_asked_for_once_and_forwarded_once(first, actions):
    with Pair() as pair:
        pair.publish(first)
        pair.relay.step()
        held: list[int] = []  # numbers that were skipped
        wanted: set[int] = set()  # numbers the relay waits for
        newest, following, rtx_number = first, first + 1, 100
        arrived = {first}
        forwarded = [first]
        for action, choice in actions:
            asked: set[int] = set()
            if action == "hold":
                held.append(following)
                following += 1
                continue
            if action == "send":
                pair.publish(following)
                gap = range(newest + 1, following)
                if len(gap) <= MISSING_SPAN - len(wanted):
                    asked = set(gap)
                    wanted |= asked
                else:
                    wanted = set()  # left to a keyframe
                newest = following
                arrived.add(newest)
                forwarded.append(newest)
                following += 1
            elif action == "again" or not held:
                number = forwarded[choice % len(forwarded)]
                payload = (number & 0xFFFF).to_bytes(2) + b"again"
                pair.ada.send(RtpPacket(97, rtx_number, 0, 11, payload))
                rtx_number += 1
            else:
                number = held[choice % len(held)]
                if action == "late":
                    if number > newest:
                        continue  # that would not be late
                    if number not in arrived:
                        pair.publish(number)
                        arrived.add(number)
                        # When RTX was faster, what comes late is not sent a second time.
                        if number in wanted:
                            wanted.discard(number)
                            forwarded.append(number)
                else:
                    payload = (number & 0xFFFF).to_bytes(2) + KEYFRAME + b"%d" % number
                    pair.ada.send(RtpPacket(97, rtx_number, 3000 * number & 0xFFFFFFFF, 11, payload))
                    rtx_number += 1
                    if number in wanted:
                        wanted.discard(number)
                        forwarded.append(number)
            pair.relay.step()
            nacked = {
                number
                for packet in pair.ada.receive_rtcp()
                if isinstance(packet, Nack)
                for number in packet.sequence_numbers
            }
            # What is not answered within 60 ms is asked for again: only then may there be more.
            assert {number & 0xFFFF for number in asked} <= nacked
            assert nacked <= {number & 0xFFFF for number in wanted | asked}
        packets = pair.bob.receive()
        assert [packet.payload for packet in packets] == [KEYFRAME + b"%d" % number for number in forwarded]
        offsets = {
            (packet.sequence_number - number) & 0xFFFF
            for packet, number in zip(packets, forwarded, strict=True)
        }
        assert len(offsets) == 1


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from([5, 65_500]),
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(["send", "send", "skip", "late", "nack"]), st.integers(-40, 2)), max_size=80
    ),
)
def test_nack_is_answered_while_the_pool_holds_the_packet(first, repaired, actions):
    with Pair(repaired=repaired) as pair:
        offset = None
        kept: list[int] = []
        held: list[int] = []
        wire: dict[int, bytes] = {}
        newest = first - 1
        for action, choice in [("send", 0), *actions]:
            if action == "skip":
                newest += 1
                held.append(newest)
            elif action == "send" or (action == "late" and not held):
                newest += 1
                kept.append(newest)
                pair.publish(newest)
            elif action == "late":
                # Late is only what comes after something newer.
                number = held.pop(choice % len(held))
                if number < kept[-1] or any(number < one for one in kept):
                    kept.append(number)
                    pair.publish(number)
            pair.relay.step()
            for datagram in pair.bob.receive_datagrams():
                packet = pair.bob.decode(datagram)
                wire[kept[-1]] = datagram
                offset = packet.sequence_number - kept[-1]
            if action == "nack":
                number = newest + choice
                pair.bob.send_rtcp(Nack(1, pair.bob.ssrcs["0"], ((number + offset) & 0xFFFF,)))
                pair.relay.step()
                answers = pair.bob.receive_datagrams()
                assert len(answers) == (number in kept[-DEPTH:])
                for answer in answers:
                    if repaired:
                        packet = pair.bob.decode(answer)
                        assert (
                            packet.payload
                            == (number + offset & 0xFFFF).to_bytes(2) + KEYFRAME + b"%d" % number
                        )
                        assert packet.payload_type == 101
                    else:
                        assert answer == wire[number]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 3, 5]), st.one_of(st.integers(0, 1200), st.sampled_from([60, 60, 1150]))
        ),
        max_size=RECEIVE_BATCH,
    )
)
def test_burst_of_many_sizes_arrives_whole_and_in_order_everywhere(burst):
    """Runs to one destination are cut up again by the kernel: none may be cut in the wrong place."""
    relay = SteppedRelay(replace(CONFIG, workers=2))
    peers = [SteppedPeer(relay, relay.router.add_peer("")) for _ in range(4)]
    ada, *listeners = peers
    sections = [audio(str(ssrc), "sendonly", ssrc=ssrc) for ssrc in (1, 3, 5)]
    tracks = ada.offer(*sections, publish=["1", "3", "5"], subscribe={}).published
    for place, listener in enumerate(listeners):
        wanted = {mid: track for mid, track in tracks.items() if int(mid) > place}
        listener.offer(*(audio(mid, "recvonly") for mid in wanted), publish=[], subscribe=wanted)
    relay.step()
    sent: dict[int, list[bytes]] = {1: [], 3: [], 5: []}
    for number, (ssrc, size) in enumerate(burst):
        sent[ssrc].append(bytes([number]) * size)
        ada.send(RtpPacket(111, len(sent[ssrc]), 960 * number, ssrc, sent[ssrc][-1]))
    relay.step()
    for listener in listeners:
        heard: dict[int, list[bytes]] = {}
        for packet in listener.receive():
            heard.setdefault(packet.ssrc, []).append(packet.payload)
        assert heard == {
            listener.ssrcs[str(ssrc)]: payloads
            for ssrc, payloads in sent.items()
            if payloads and str(ssrc) in listener.ssrcs
        }
    for peer in peers:
        peer.close()
    relay.close()
