"""Offers, switches, mutes and departures in any order, on several workers, against a model that is a dictionary."""

from dataclasses import dataclass, field

import pytest
from client_sdp import audio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rtp_packets import RtpPacket
from stepped_relay import SteppedPeer, SteppedRelay

from media.state import Capacity
from media.tables import NONE
from relay import RelayConfig, Track

PUBLISHING = ("p0", "p1")
SUBSCRIBING = ("s0", "s1", "s2")
CAPACITY = Capacity(peers=6, tracks=32, inbound=32, outbound=48, history=16, commands=64, events=64, taps=64)


@dataclass
class Stream:
    """What a client knows of one of its own tracks."""

    track: Track
    ssrc: int
    muted: bool = False


@dataclass
class Client:
    stepped: SteppedPeer
    published: dict[str, Stream] = field(default_factory=dict)
    subscribed: dict[str, Track | None] = field(default_factory=dict)
    last: dict[int, RtpPacket] = field(default_factory=dict)
    """The latest packet the relay has sent, by SSRC."""


class RelayMachine(RuleBasedStateMachine):
    """Rows are few, so that they are used again and again."""

    @initialize(workers=st.integers(1, 3))
    def open(self, workers):
        self.relay = SteppedRelay(RelayConfig(host="127.0.0.1", workers=workers, capacity=CAPACITY))
        self.clients: list[Client] = []
        self.next_ssrc = 1
        self.numbers: dict[int, int] = {}

    def teardown(self):
        if not hasattr(self, "relay"):
            return
        for client in list(self.clients):
            self._leave(client)
        self.relay.step()
        assert self.relay.rows_in_use() == {0}
        self.relay.close()

    def _tracks(self) -> list[Track]:
        return [stream.track for client in self.clients for stream in client.published.values()]

    def _pick(self, data, options):
        return data.draw(st.sampled_from(options))

    def _make_room(self) -> None:
        """Rows come back when the workers have let go of them; let them, where they might run out."""
        for worker in self.relay.router.workers:
            used = worker.rows_in_use()
            full = used["peer"] == CAPACITY.peers
            if full or max(used["track"], used["inbound"], used["outbound"]) > CAPACITY.tracks // 2:
                self.relay.step()

    # What clients do.

    @precondition(lambda self: len(self.clients) < CAPACITY.peers)
    @rule(data=st.data())
    def join(self, data):
        self._make_room()
        client = Client(SteppedPeer(self.relay, self.relay.router.add_peer("")))
        self.clients.append(client)
        self._offer(client, data)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def offer_again(self, data):
        self._make_room()
        self._offer(self._pick(data, self.clients), data)
        self.talk(1)

    def _offer(self, client: Client, data) -> None:
        sections, publish, subscribe = [], [], {}
        for mid in PUBLISHING:
            before = client.published.get(mid)
            match data.draw(st.sampled_from(["same", "fresh", "inactive"])):
                case "inactive":
                    sections.append(audio(mid, "inactive"))
                    client.published.pop(mid, None)
                    continue
                case "same" if before is not None:
                    ssrc = before.ssrc
                case _:
                    ssrc = self.next_ssrc
                    self.next_ssrc += 1
            sections.append(audio(mid, "sendonly", ssrc=ssrc))
            publish.append(mid)
            if before is not None:
                before.ssrc = ssrc
        tracks = self._tracks()
        for mid in SUBSCRIBING:
            if data.draw(st.booleans()):
                sections.append(audio(mid, "recvonly"))
                client.subscribed.setdefault(mid, None)
                if tracks and data.draw(st.booleans()):
                    subscribe[mid] = client.subscribed[mid] = self._pick(data, tracks)
            else:
                sections.append(audio(mid, "inactive"))
                client.subscribed.pop(mid, None)
        result = client.stepped.offer(*sections, publish=publish, subscribe=subscribe)
        for mid in publish:
            if mid not in client.published:
                ssrc = next(section.ssrc for section in sections if section.mid == mid)
                client.published[mid] = Stream(result.published[mid], ssrc)
            assert client.published[mid].track is result.published[mid]
        client.last = {
            ssrc: client.last[ssrc] for ssrc in client.stepped.ssrcs.values() if ssrc in client.last
        }
        assert {mid for mid, track in result.subscribed.items()} == {
            mid for mid, track in client.subscribed.items() if track is not None and not track.closed
        }

    @precondition(lambda self: any(client.subscribed for client in self.clients))
    @rule(data=st.data())
    def attach_or_detach(self, data):
        client = self._pick(data, [client for client in self.clients if client.subscribed])
        mid = self._pick(data, sorted(client.subscribed))
        track = self._pick(data, [None, *self._tracks()])
        self._make_room()
        if track is None:
            client.stepped.peer.detach(mid)
        else:
            client.stepped.peer.attach(mid, track)
        client.subscribed[mid] = track

    @precondition(lambda self: any(client.published for client in self.clients))
    @rule(data=st.data(), muted=st.booleans())
    def mute(self, data, muted):
        streams = [stream for client in self.clients for stream in client.published.values()]
        stream = self._pick(data, streams)
        stream.track.set_muted(muted)
        stream.muted = muted

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def leave(self, data):
        self._leave(self._pick(data, self.clients))

    def _leave(self, client: Client) -> None:
        self.clients.remove(client)
        client.stepped.close()

    @rule()
    def let_the_workers_work(self):
        self.relay.step()

    @rule(count=st.integers(1, 3))
    def talk(self, count):
        """Everybody sends, and everybody hears whom they are subscribed to, and nobody else."""
        self.relay.step()
        said: dict[str, list[bytes]] = {}
        for client in self.clients:
            for stream in client.published.values():
                said[stream.track.id] = [self._send(client, stream.ssrc) for _ in range(count)]
        self.relay.step()
        muted = {
            stream.track.id for client in self.clients for stream in client.published.values() if stream.muted
        }
        for listener in self.clients:
            heard: dict[int, list[RtpPacket]] = {}
            for packet in listener.stepped.receive():
                heard.setdefault(packet.ssrc, []).append(packet)
            assert {ssrc: [packet.payload for packet in packets] for ssrc, packets in heard.items()} == {
                listener.stepped.ssrcs[mid]: said[track.id]
                for mid, track in listener.subscribed.items()
                if track is not None and not track.closed and track.id not in muted
            }
            for ssrc, packets in heard.items():
                self._check_continuity(listener, ssrc, packets)

    def _send(self, client: Client, ssrc: int) -> bytes:
        number = self.numbers[ssrc] = self.numbers.get(ssrc, 65_530 + 1000 * ssrc) + 1
        payload = b"%d of %d" % (number, ssrc)
        client.stepped.send(RtpPacket(111, number & 0xFFFF, 960 * number & 0xFFFFFFFF, ssrc, payload))
        return payload

    def _check_continuity(self, listener: Client, ssrc: int, packets: list[RtpPacket]) -> None:
        for packet in packets:
            before = listener.last.get(ssrc)
            if before is not None:
                assert packet.sequence_number == (before.sequence_number + 1) & 0xFFFF
                assert 0 < (packet.timestamp - before.timestamp) & 0xFFFFFFFF < 1 << 31
            listener.last[ssrc] = packet

    # What must be true at any time.

    @invariant()
    def subscriptions_are_as_told(self):
        for client in getattr(self, "clients", []):
            assert client.stepped.peer.subscriptions == {
                mid: None if track is None or track.closed else track
                for mid, track in client.subscribed.items()
            }

    @invariant()
    def lists_are_whole(self):
        if not hasattr(self, "relay"):
            return
        for worker in self.relay.router.workers:
            tracks, outbound = worker.memory.tracks, worker.memory.outbound
            for row, track in enumerate(tracks):
                if track["generation"] == 0:
                    continue
                seen, previous, route = [], NONE, int(track["first_outbound"])
                while route != NONE:
                    assert int(outbound["previous_of_track"][route]) == previous
                    assert int(outbound["track"][route]) == row
                    assert outbound["generation"][route] != 0
                    seen.append(route)
                    assert len(seen) <= CAPACITY.outbound
                    previous, route = route, int(outbound["next_of_track"][route])
                assert len(seen) == track["outbound_count"]


RelayMachine.TestCase.settings = settings(
    deadline=None, max_examples=60, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
TestRelay = pytest.mark.usefixtures("kernels")(RelayMachine.TestCase)
