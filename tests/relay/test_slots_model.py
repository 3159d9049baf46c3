"""Audio slots while people come, go, mute and talk in any order, on several workers, against what everybody should hear."""

import pytest
from client_sdp import audio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rtp_packets import RtpPacket
from stepped_relay import SteppedRelay
from test_slots import SLOT_MIDS, SPEECH, Participant, Room

from media.state import Capacity
from media.tables import NONE
from relay import RelayConfig

CAPACITY = Capacity(
    peers=12, tracks=72, inbound=64, outbound=96, groups=8, history=16, commands=64, events=64, taps=64
)
PARTICIPANTS = 6
LONG_SILENCE_MS = 1_100
TABLES = (("peer", "s"), ("track", "s"), ("inbound", ""), ("outbound", ""), ("group", "s"))


class SlotsMachine(RuleBasedStateMachine):
    """Rows are few, so that they are used again and again, also by those who held a slot in their former life."""

    @initialize(workers=st.integers(1, 3))
    def open(self, workers):
        self.room = Room(SteppedRelay(RelayConfig(host="127.0.0.1", workers=workers, capacity=CAPACITY)))
        self.last: dict[tuple[Participant, int], RtpPacket] = {}
        self.words = 0

    def teardown(self):
        if not hasattr(self, "room"):
            return
        for participant in self.room.participants:
            participant.client.close()
        self.room.relay.step()
        assert self.room.relay.rows_in_use() == {0}
        self.room.relay.close()

    def _pick(self, data):
        return data.draw(st.sampled_from(self.room.participants))

    def _make_room(self) -> None:
        """Rows come back when the workers have let go of them; let them, where they might run out."""
        for worker in self.room.relay.router.workers:
            used = worker.rows_in_use()
            if any(used[name] > getattr(CAPACITY, name + ending) // 2 for name, ending in TABLES):
                self.room.relay.step()

    @precondition(lambda self: len(self.room.participants) < PARTICIPANTS)
    @rule(speaks=st.booleans(), listens=st.booleans())
    def join(self, speaks, listens):
        self._make_room()
        self.room.join(speaks=speaks or not listens, listens=listens)

    @precondition(lambda self: self.room.participants)
    @rule(data=st.data())
    def leave(self, data):
        participant = self._pick(data)
        self.room.participants.remove(participant)
        participant.client.close()
        if data.draw(st.booleans()):
            self.room.relay.step()

    @precondition(lambda self: any(one.track for one in self.room.participants))
    @rule(data=st.data(), muted=st.booleans())
    def mute(self, data, muted):
        speaker = data.draw(st.sampled_from([one for one in self.room.participants if one.track]))
        speaker.track.set_muted(muted)

    @precondition(lambda self: any(one.track for one in self.room.participants))
    @rule(data=st.data())
    def change_stream(self, data):
        """A publisher goes on with another SSRC, numbering and clock."""
        speaker = data.draw(st.sampled_from([one for one in self.room.participants if one.track]))
        self._make_room()
        speaker.ssrc += 1
        speaker.sequence_number, speaker.timestamp = 65_000, 4_000_000_000
        sections = [section for section in speaker.client.sections if section.mid != "mic"]
        speaker.client.offer(
            audio("mic", "sendonly", ssrc=speaker.ssrc), *sections, publish=["mic"], subscribe={}
        )

    @precondition(lambda self: any(one.client.ssrcs for one in self.room.participants))
    @rule(data=st.data())
    def stop_and_start_listening(self, data):
        listener = data.draw(st.sampled_from([one for one in self.room.participants if one.client.ssrcs]))
        self._make_room()
        for mid in SLOT_MIDS:
            listener.client.peer.detach(mid)
        if data.draw(st.booleans()):
            self.room.relay.step()
        for mid, slot in zip(SLOT_MIDS, self.room.slots.slots, strict=True):
            listener.client.peer.attach(mid, slot)

    @precondition(lambda self: any(one.track for one in self.room.participants))
    @rule(data=st.data(), packets=st.integers(1, 3), pause=st.booleans())
    def talk(self, data, packets, pause):
        """Up to three talk after a silence, or go on: all that listen hear all of it, but not themselves."""
        able = [one for one in self.room.participants if one.track]
        before = getattr(self, "speakers", [])
        if pause or any(one not in able for one in before) or not before:
            self.room.relay.step()
            self.room.wait(LONG_SILENCE_MS)
            self.speakers = data.draw(st.lists(st.sampled_from(able), min_size=1, max_size=3, unique=True))
        self.room.relay.step()
        said: dict[Participant, list[bytes]] = {}
        for speaker in self.speakers:
            for _ in range(packets):
                self.words += 1
                word = f"word {self.words}"
                speaker.say(word, SPEECH)
                said.setdefault(speaker, []).append(word.encode())
        self.room.relay.step()
        self.room.wait(20 * packets)
        for listener in self.room.participants:
            heard = listener.hear()
            expected = (
                [
                    words
                    for speaker, words in said.items()
                    if speaker is not listener and not speaker.track.muted
                ]
                if listener.client.ssrcs
                else []
            )
            assert sorted([one.payload for one in packets] for packets in heard.values()) == sorted(expected)
            for told in heard.values():
                self._check_continuity(listener, told)

    def _check_continuity(self, listener, packets):
        for packet in packets:
            before = self.last.get((listener, packet.ssrc))
            if before is not None:
                assert packet.sequence_number == (before.sequence_number + 1) & 0xFFFF
                assert 0 < (packet.timestamp - before.timestamp) & 0xFFFFFFFF < 1 << 31
            self.last[listener, packet.ssrc] = packet

    @invariant()
    def groups_are_whole(self):
        if not hasattr(self, "room"):
            return
        for worker in self.room.relay.router.workers:
            memory = worker.memory
            for row, group in enumerate(memory.groups):
                members = {
                    place
                    for place, track in enumerate(memory.tracks)
                    if track["generation"] != 0 and row in (track["group"], track["tap_group"])
                }
                holders = [int(holder) for holder in group["holder"] if holder != NONE]
                if members:
                    assert len(set(holders)) == len(holders)
                    assert set(holders) <= members


SlotsMachine.TestCase.settings = settings(
    deadline=None, max_examples=40, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
)
TestSlots = pytest.mark.usefixtures("kernels")(SlotsMachine.TestCase)
