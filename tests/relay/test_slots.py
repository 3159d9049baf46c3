"""Audio slots end to end through the kernels: who is heard, by whom, and with what numbers."""

from contextlib import contextmanager
from itertools import pairwise

import pytest
from client_sdp import audio
from rtcp_packets import SenderReport
from rtp_packets import RtpPacket
from stepped_relay import SteppedPeer, SteppedRelay

from media.jit import helper
from media.memory import record_at
from media.reports import send_reports
from media.send import flush_sends
from media.state import Capacity
from media.tables import CONTEXT
from relay import AudioSlots, CapacityError, LocalProtocolError, RelayConfig, Track

pytestmark = pytest.mark.usefixtures("kernels")

MS = 1_000_000
SLOT_MIDS = ("s0", "s1", "s2")
SPEECH, WHISPER, SILENT = 30, 50, 127
LEVEL_ID = 1


@helper
def report(address, peer_row):
    context = record_at(CONTEXT, address)
    send_reports(context, peer_row)
    flush_sends(context)


class Participant:
    """Publishes one microphone and listens through the slots."""

    def __init__(self, relay, slots, *, speaks=True, listens=True, ssrc=0x5EED):
        # Everybody has the same SSRC: nothing may depend on its being different.
        self.client = SteppedPeer(relay, relay.router.add_peer())
        self.sequence_number, self.timestamp = 65_530, 0
        self.ssrc = ssrc
        sections = []
        if speaks:
            sections.append(audio("mic", "sendonly", ssrc=ssrc, level_id=LEVEL_ID))
        wanted = {}
        if listens:
            sections += [audio(mid, "recvonly", level_id=LEVEL_ID) for mid in SLOT_MIDS]
            wanted = dict(zip(SLOT_MIDS, slots.slots, strict=True))
        result = self.client.offer(*sections, publish=["mic"] if speaks else [], subscribe=wanted)
        assert result.refused == {}
        self.track: Track | None = result.published.get("mic")
        if self.track is not None:
            slots.add(self.track)

    @property
    def worker(self):
        return self.client.peer.worker

    def say(self, word, level=SPEECH):
        extensions = () if level is None else ((LEVEL_ID, bytes([level])),)
        self.client.send(
            RtpPacket(
                111,
                self.sequence_number,
                self.timestamp,
                self.ssrc,
                word.encode(),
                extensions=extensions,
            )
        )
        self.sequence_number = (self.sequence_number + 1) & 0xFFFF
        self.timestamp = (self.timestamp + 960) & 0xFFFFFFFF

    def hear(self):
        """What has come since the last time, by mid."""
        mids = {ssrc: mid for mid, ssrc in self.client.ssrcs.items()}
        heard: dict[str, list[RtpPacket]] = {}
        for packet in self.client.receive():
            heard.setdefault(mids[packet.ssrc], []).append(packet)
        return heard

    def words(self):
        return sorted(packet.payload.decode() for packets in self.hear().values() for packet in packets)


class Room:
    """A group of participants on some workers, in which time passes when the test says so."""

    def __init__(self, relay):
        self.relay = relay
        self.slots = AudioSlots()
        self.participants: list[Participant] = []

    def join(self, **options):
        participant = Participant(self.relay, self.slots, **options)
        self.participants.append(participant)
        self.relay.step()
        return participant

    def wait(self, milliseconds):
        """Let what the kernels know have happened longer ago."""
        for worker in self.relay.router.workers:
            memory = worker.memory
            for table, names in (
                (memory.groups, ("since_ns", "heard_ns")),
                (memory.tracks, ("prominence_ns",)),
                (memory.outbound, ("last_sent_ns",)),
            ):
                for name in names:
                    table[name] -= milliseconds * MS

    def talk(self, levels, packets):
        """Let participants talk at once, in packets of 20 ms; return who hears which words of the last round."""
        for _ in range(packets):
            for participant in self.participants:
                participant.hear()
            for name, (participant, level) in levels.items():
                participant.say(name, level)
            self.relay.step()
            self.wait(20)
        return [participant.words() for participant in self.participants]

    def counted(self, verdict):
        return sum(worker.verdicts()[verdict] for worker in self.relay.router.workers)


@contextmanager
def open_room(workers=1, capacity=None):
    capacity = capacity or Capacity(peers=32, tracks=128, inbound=64, outbound=128, groups=8)
    relay = SteppedRelay(RelayConfig(host="127.0.0.1", workers=workers, capacity=capacity))
    room = Room(relay)
    try:
        yield room
    finally:
        for participant in room.participants:
            participant.client.close()
        relay.step()
        left = relay.rows_in_use()
        relay.close()
    # The slots are still open, but nobody listens.
    assert left == {0}


def assert_continuous(packets, *, first=None):
    numbers = [packet.sequence_number for packet in packets]
    start = numbers[0] if first is None else first
    assert numbers == [(start + place) & 0xFFFF for place in range(len(numbers))]
    steps = [(after.timestamp - before.timestamp) & 0xFFFFFFFF for before, after in pairwise(packets)]
    assert all(0 < step < 1 << 31 for step in steps), steps


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_everybody_hears_the_speaker_but_the_speaker(workers):
    with open_room(workers) as room:
        ada, bob, cleo, dan = (room.join() for _ in range(4))
        ada.say("hello")
        room.relay.step()
        assert [one.words() for one in (ada, bob, cleo, dan)] == [[], ["hello"], ["hello"], ["hello"]]
        assert room.slots.speakers == {ada.track}
        assert room.counted("route_back_to_speaker") == 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_loudest_three_are_heard_wherever_they_are(workers):
    with open_room(workers) as room:
        people = [room.join() for _ in range(6)]
        listener = room.join(speaks=False)
        levels = {
            "a": (people[0], 50),
            "b": (people[1], 20),
            "c": (people[2], 40),
            "d": (people[3], 22),
            "e": (people[4], 24),
            "f": (people[5], 127),
        }
        heard = room.talk(levels, packets=60)
        assert heard[people.index(people[5])] == ["b", "d", "e"]
        assert heard[-1] == ["b", "d", "e"]
        assert heard[:5] == [["b", "d", "e"], ["d", "e"], ["b", "d", "e"], ["b", "e"], ["b", "d"]]
        assert listener is room.participants[-1]


@pytest.mark.parametrize("workers", [1, 2])
def test_numbers_and_clocks_go_on_when_speakers_take_turns(workers):
    with open_room(workers) as room:
        speakers = [room.join(listens=False) for _ in range(5)]
        listeners = [room.join(speaks=False) for _ in range(2)]
        heard = {(listener, mid): [] for listener in listeners for mid in SLOT_MIDS}
        for turn in range(15):
            speaker = speakers[turn % 5]
            for _ in range(3):
                speaker.say(f"{turn}")
                room.relay.step()
                room.wait(20)
            room.wait(1100 if turn % 2 else 400)
            for listener in listeners:
                for mid, packets in listener.hear().items():
                    heard[listener, mid] += packets
        for listener in listeners:
            told = [packet for mid in SLOT_MIDS for packet in heard[listener, mid]]
            assert sorted(int(packet.payload) for packet in told) == sorted(list(range(15)) * 3)
            for mid in SLOT_MIDS:
                packets = heard[listener, mid]
                assert_continuous(packets)
                # A talkspurt begins with each turn.
                assert [packet.marker for packet in packets] == [True, False, False] * (len(packets) // 3)


def test_pauses_are_seen_in_timestamps_and_not_in_sequence_numbers():
    with open_room() as room:
        ada, bob = room.join(listens=False), room.join(speaks=False)
        ada.say("one")
        room.relay.step()
        for _ in range(75):
            ada.say("hush", SILENT)
            room.relay.step()
            room.wait(20)
        ada.say("two")
        room.relay.step()
        ((_, packets),) = bob.hear().items()
        assert_continuous(packets)
        assert 40 < len(packets) < 60  # a second of silence is forwarded
        assert packets[-1].payload == b"two"
        assert packets[-1].timestamp - packets[0].timestamp == 76 * 960


@pytest.mark.parametrize("workers", [1, 2])
def test_who_says_nothing_is_not_forwarded(workers):
    with open_room(workers) as room:
        for _ in range(4):
            room.join()
        silence = {str(place): (one, SILENT) for place, one in enumerate(room.participants)}
        assert room.talk(silence, packets=10) == [[], [], [], []]
        assert room.counted("route_sent") == room.counted("route_tapped") == 0
        assert room.counted("slot_withheld") >= 40


@pytest.mark.parametrize("workers", [1, 2])
def test_a_speaker_without_levels_is_heard_but_gives_way(workers):
    with open_room(workers) as room:
        people = [room.join(listens=False) for _ in range(4)]
        room.join(speaks=False)
        plain = {name: (people[place], None) for place, name in enumerate("abc")}
        assert room.talk(plain, packets=30)[-1] == ["a", "b", "c"]
        heard = room.talk(plain | {"d": (people[3], SPEECH)}, packets=30)[-1]
        assert "d" in heard
        assert len(heard) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_when_a_speaker_leaves_another_is_heard_at_once_in_the_same_streams(workers):
    with open_room(workers) as room:
        people = [room.join(listens=False) for _ in range(4)]
        listener = room.join(speaks=False)
        levels = {name: (people[place], 30) for place, name in enumerate("abcd")}
        assert room.talk(levels, packets=20)[-1] == ["a", "b", "c"]
        before = listener.client.sections
        people[1].client.peer.close("leaves")
        room.relay.step()
        del levels["b"]
        assert room.talk(levels, packets=10)[-1] == ["a", "c", "d"]
        assert listener.client.sections is before
        assert room.slots.statistics().tracks == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_who_is_muted_gives_up_the_slot_and_comes_back_without_a_gap(workers):
    with open_room(workers) as room:
        ada = room.join(listens=False)
        bob = room.join(speaks=False)
        packets = []

        def say(word):
            ada.say(word)
            room.relay.step()
            packets.extend(one for some in bob.hear().values() for one in some)

        say("one")
        assert ada.track is not None
        ada.track.set_muted(True)
        room.relay.step()
        say("unheard")
        assert room.slots.speakers == set()
        ada.track.set_muted(False)
        room.relay.step()
        say("two")
        assert [packet.payload for packet in packets] == [b"one", b"two"]
        assert_continuous(packets)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_stream_of_a_speaker_goes_on_in_the_slot(workers):
    with open_room(workers) as room:
        ada = room.join(listens=False)
        bob = room.join(speaks=False)
        ada.say("one")
        room.relay.step()
        ada.ssrc, ada.sequence_number, ada.timestamp = 77, 12, 3_000_000_000
        ada.client.offer(audio("mic", "sendonly", ssrc=77, level_id=LEVEL_ID), publish=["mic"], subscribe={})
        room.relay.step()
        ada.say("two")
        room.relay.step()
        ((_, packets),) = bob.hear().items()
        assert [packet.payload for packet in packets] == [b"one", b"two"]
        assert_continuous(packets)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_named_subscription_works_beside_the_slots(workers):
    with open_room(workers) as room:
        ada, bob = room.join(listens=False), room.join(speaks=False)
        bob.client.offer(
            *bob.client.sections, audio("named", "recvonly"), publish=[], subscribe={"named": ada.track}
        )
        room.relay.step()
        ada.say("silent", SILENT)
        ada.say("hello")
        room.relay.step()
        heard = bob.hear()
        assert [packet.payload for packet in heard.pop("named")] == [b"silent", b"hello"]
        assert [[packet.payload for packet in packets] for packets in heard.values()] == [[b"hello"]]
        assert ada.track is not None
        assert ada.track.statistics().subscribers == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_sender_reports_tell_the_clock_of_the_speaker_at_hand(workers):
    with open_room(workers) as room:
        ada, bob = room.join(listens=False), room.join(listens=False)
        listener = room.join(speaks=False)
        bob.timestamp = 123_456_789
        for one in (ada, bob):
            one.client.send_rtcp(SenderReport(one.ssrc, 5 << 32, one.timestamp, 0, 0))
        room.relay.step()
        sent = {}
        for turn in (ada, bob, ada, bob):
            turn.say("now")
            room.relay.step()
            ((mid, (packet,)),) = listener.hear().items()
            sent[mid] = packet
            room.wait(1100)
        report(listener.worker.memory.address, listener.client.peer.row.index)
        reports = {one.ssrc: one for one in listener.client.receive_rtcp() if isinstance(one, SenderReport)}
        assert len(sent) == 2
        for mid, packet in sent.items():
            # Both clocks run in real time since their reports came, when their first packets were said, and `wait` changed
            # nothing about that. In the slot they are where the packets put them.
            ahead = (reports[listener.client.ssrcs[mid]].timestamp - packet.timestamp) & 0xFFFFFFFF
            assert (ahead + 960) & 0xFFFFFFFF < 10 * 48_000


def test_levels_reach_the_listener_under_its_own_extension_id():
    with open_room() as room:
        ada, bob = room.join(listens=False), room.join(speaks=False)
        bob.client.offer(*(audio(mid, "recvonly", level_id=7) for mid in SLOT_MIDS), publish=[], subscribe={})
        room.relay.step()
        ada.say("hello", WHISPER)
        room.relay.step()
        ((_, (packet,)),) = bob.hear().items()
        assert packet.extensions == ((7, bytes([WHISPER])),)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_slots_take_rows_only_where_somebody_listens(workers):
    with open_room(workers) as room:
        for _ in range(workers):
            room.join(listens=False)
        in_use = [worker.rows_in_use() for worker in room.relay.router.workers]
        assert [(rows["group"], rows["track"]) for rows in in_use] == [(0, 1)] * workers
        listener = room.join(speaks=False)
        index = listener.worker.index
        in_use = [worker.rows_in_use() for worker in room.relay.router.workers]
        beside = workers - 1
        assert [rows["group"] for rows in in_use] == [1] * workers
        assert [rows["track"] for rows in in_use] == [
            1 + 3 + (3 * beside if place == index else 0) for place in range(workers)
        ]
        listener.client.peer.close("leaves")
        room.relay.step()
        in_use = [worker.rows_in_use() for worker in room.relay.router.workers]
        assert [(rows["group"], rows["track"]) for rows in in_use] == [(0, 1)] * workers


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_slots_parks_their_listeners_and_leaves_the_tracks(workers):
    with open_room(workers) as room:
        ada, bob = room.join(), room.join()
        room.slots.close()
        room.slots.close()
        room.relay.step()
        ada.say("hello")
        room.relay.step()
        assert bob.words() == []
        assert bob.client.peer.subscriptions == dict.fromkeys(SLOT_MIDS)
        assert all(worker.rows_in_use()["group"] == 0 for worker in room.relay.router.workers)
        assert ada.track is not None
        assert not ada.track.closed
        with pytest.raises(LocalProtocolError, match="closed"):
            room.slots.add(ada.track)
        again = AudioSlots()
        again.add(ada.track)
        with pytest.raises(LocalProtocolError, match="closed"):
            bob.client.peer.attach("s0", room.slots.slots[0])
        bob.client.peer.attach("s0", again.slots[0])
        room.relay.step()
        ada.say("hello again")
        room.relay.step()
        assert bob.words() == ["hello again"]


def test_a_track_is_in_one_set_of_slots_at_a_time():
    with open_room() as room:
        ada = room.join()
        other = AudioSlots()
        assert ada.track is not None
        with pytest.raises(LocalProtocolError, match="in no others"):
            other.add(ada.track)
        other.remove(ada.track)
        assert room.slots.statistics().tracks == 1
        room.slots.remove(ada.track)
        other.add(ada.track)
        assert (room.slots.statistics().tracks, other.statistics().tracks) == (0, 1)


def test_a_full_table_is_an_error_and_changes_nothing():
    capacity = Capacity(peers=4, tracks=7, inbound=8, outbound=16, groups=1)
    with open_room(1, capacity) as room:
        ada = room.join()
        other = AudioSlots()
        before = [worker.rows_in_use() for worker in room.relay.router.workers]
        with pytest.raises(CapacityError, match="group rows"):
            ada.client.peer.attach("s0", other.slots[0])
        assert [worker.rows_in_use() for worker in room.relay.router.workers] == before
        assert ada.client.peer.subscriptions["s0"] is room.slots.slots[0]
        assert other.statistics().subscriptions == 0
