"""The jitter buffer, packet by packet: verdicts, order, restarts, what is played when something is missing."""

from collections import Counter

import numpy as np
import pytest
from both_ways import interpreted
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_streams import FRAME, RATE, Encoder, as_payload, tone, voice
from packet_network import START, TICK, Listener, Network, Packet, send

from media.audio.jitter import (
    JITTER_COUNTERS,
    MARGIN_SAMPLES,
    MAX_DELAY_SAMPLES,
    MAX_PAYLOAD_BYTES,
    FrameKind,
    JitterVerdict,
    insert_packet,
    new_jitter_buffers,
    play_frame,
    reset_jitter,
)
from media.audio.jitter_arrivals import MAX_LATE_IN_ROW, MAX_SEQUENCE_JUMP, REMEMBERED
from media.audio.jitter_table import OUTLIERS, PCM_SAMPLES, SLOTS, WINDOW
from media.audio.opus import conceal_samples, decode_frame, recover_samples, reset_codec
from media.audio.stretch import lengthen, shorten

LEAST = (FRAME + MARGIN_SAMPLES) / RATE
"""The delay in seconds that a perfect network costs."""
SILENCE, DECODED, RECOVERED, CONCEALED = FrameKind
LEGAL = as_payload([0x78, 0, 0, 0])
"""One CELT frame of 20 ms."""
SPOKEN = Encoder(expected_loss_percent=20).encode_all(voice(4 * RATE))
TONE = Encoder(application="audio", fec=False).encode_all(tone(2 * RATE, 300))


class Inserter:
    """Only the half of the buffer that packets go into."""

    def __init__(self, insert=insert_packet):
        self._insert = insert
        self.jitters = new_jitter_buffers(2)
        if insert is not insert_packet:
            self.jitters = self.jitters.view(np.recarray)

    @property
    def buffer(self):
        return self.jitters[1]

    def insert(self, sequence_number, arrival=0.0, *, payload=LEGAL, timestamp=None, ssrc=1):
        stamp = sequence_number * FRAME if timestamp is None else timestamp
        arrival_ns = round(arrival * 1e9)
        return JitterVerdict(
            self._insert(
                self.jitters, 1, payload, sequence_number & 0xFFFF, stamp & 0xFFFFFFFF, ssrc, arrival_ns
            )
        )

    def waiting(self):
        """Extended sequence numbers in the order in which they would be played."""
        order = self.buffer["order"]
        assert sorted(order) == list(range(SLOTS))
        return [int(self.buffer["sequence"][slot]) for slot in order[: self.buffer["count"]]]


_insert_slowly = interpreted(insert_packet)
inserts = pytest.mark.parametrize("insert", [insert_packet, _insert_slowly])


@inserts
@settings(deadline=None, max_examples=40)
@given(first=st.integers(0, 0xFFFF), steps=st.lists(st.integers(-40, 40), max_size=40))
def test_packets_wait_in_order_and_copies_are_told(insert, first, steps):
    inserter = Inserter(insert)
    assert inserter.insert(first) == JitterVerdict.STORED
    seen = [first]
    for index, step in enumerate(steps):
        number = max(seen) + step
        if max(seen) - number >= REMEMBERED:
            continue
        verdict = inserter.insert(number, (index + 1) * TICK)
        assert verdict == (JitterVerdict.DUPLICATE if number in seen else JitterVerdict.STORED)
        if number not in seen:
            seen.append(number)
    kept = sorted(seen)
    if len(kept) <= SLOTS:
        assert [number - inserter.waiting()[0] for number in inserter.waiting()] == [
            number - kept[0] for number in kept
        ]
    assert inserter.buffer["received"] == inserter.buffer["duplicates"] + len(seen)


@inserts
def test_what_is_in_a_payload_is_what_is_kept(insert):
    inserter = Inserter(insert)
    contents = [as_payload([0x78, *range(index)]) for index in range(1, 9)]
    for index in (3, 1, 2, 0, 7, 5, 6, 4):
        inserter.insert(index, payload=contents[index])
    buffer = inserter.buffer
    for slot, content in zip(buffer["order"], contents, strict=False):
        assert buffer["length"][slot] == content.size
        assert np.array_equal(buffer["payload"][slot, : content.size], content)


@inserts
def test_payloads_that_cannot_be_are_refused(insert):
    inserter = Inserter(insert)
    assert inserter.insert(1, payload=np.zeros(0, np.uint8)) == JitterVerdict.MALFORMED
    assert inserter.insert(1, payload=as_payload([3])) == JitterVerdict.MALFORMED
    assert inserter.insert(1, payload=np.full(MAX_PAYLOAD_BYTES + 1, 0x79, np.uint8)) == JitterVerdict.TOO_BIG
    assert inserter.insert(1, payload=np.full(MAX_PAYLOAD_BYTES, 0x78, np.uint8)) == JitterVerdict.STORED
    counted = {name: int(inserter.buffer[name]) for name in JITTER_COUNTERS}
    assert {name: count for name, count in counted.items() if count} == {
        "received": 4,
        "malformed": 2,
        "too_big": 1,
    }


@inserts
def test_the_oldest_make_room_when_nobody_plays(insert):
    inserter = Inserter(insert)
    for index in range(SLOTS + 10):
        assert inserter.insert(index, index * TICK) == JitterVerdict.STORED
    assert inserter.waiting() == list(range(0x10000 + 10, 0x10000 + 10 + SLOTS))
    assert inserter.insert(12, 1.0) == JitterVerdict.DUPLICATE
    assert inserter.buffer["overflowed"] == 10


@inserts
def test_one_that_is_older_than_all_it_remembers_is_late(insert):
    inserter = Inserter(insert)
    inserter.insert(20 + REMEMBERED, timestamp=9600)
    assert inserter.insert(20, timestamp=0) == JitterVerdict.LATE
    assert inserter.insert(21, timestamp=0) == JitterVerdict.STORED
    assert len(inserter.waiting()) == 2


@inserts
def test_a_straggler_changes_nothing(insert):
    inserter = Inserter(insert)
    for index in (*range(5), *range(6, 100)):
        inserter.insert(index, index * TICK)
    before, due = inserter.waiting(), int(inserter.buffer["due"])
    assert (
        inserter.insert(5, 100 * TICK) == JitterVerdict.LATE
    )  # two seconds late: no reason to wait for others
    assert inserter.insert(100, 100 * TICK) == JitterVerdict.STORED
    assert inserter.waiting() == [*before[1:], before[-1] + 1]
    assert inserter.buffer["due"] == due
    assert inserter.buffer["latest"] == pytest.approx(due, abs=1)


@inserts
@pytest.mark.parametrize(
    "change",
    [
        {"ssrc": 2},
        {"sequence_number": 10 + MAX_SEQUENCE_JUMP + 1},
        {"sequence_number": 10 - MAX_SEQUENCE_JUMP - 2},
        {"timestamp": 11 * FRAME + 2 * RATE},
        {"timestamp": 11 * FRAME - 2 * RATE},
        {"arrival": 5.0},
    ],
    ids=str,
)
def test_a_jump_begins_another_stream(insert, change):
    inserter = Inserter(insert)
    for index in range(11):
        inserter.insert(index, index * TICK)
    packet = {"sequence_number": 11, "arrival": 11 * TICK, "timestamp": 11 * FRAME} | change
    assert inserter.insert(**packet) == JitterVerdict.RESTARTED
    assert inserter.waiting() == [(packet["sequence_number"] & 0xFFFF) + 0x10000]
    assert inserter.buffer["restarts"] == 1
    following = packet | {
        "sequence_number": packet["sequence_number"] + 1,
        "timestamp": packet["timestamp"] + FRAME,
        "arrival": packet["arrival"] + TICK,
    }
    assert inserter.insert(**following) == JitterVerdict.STORED


@inserts
def test_stragglers_of_the_stream_before_are_late(insert):
    inserter = Inserter(insert)
    for index in range(5):
        inserter.insert(index, index * TICK)
    assert inserter.insert(900, 0.1, ssrc=2) == JitterVerdict.RESTARTED
    assert inserter.insert(5, 0.11) == JitterVerdict.LATE
    assert inserter.insert(901, 0.12, ssrc=2) == JitterVerdict.STORED
    assert inserter.insert(30, 0.7) == JitterVerdict.RESTARTED  # it has come back
    assert (inserter.buffer["restarts"], inserter.buffer["late"]) == (2, 1)


@inserts
@settings(deadline=None, max_examples=40)
@given(lateness=st.lists(st.integers(0, 300), min_size=1, max_size=80), repeats=st.integers(1, 8))
def test_due_is_the_latest_but_for_the_outliers(insert, lateness, repeats):
    inserter = Inserter(insert)
    sent = [1.0 + index * TICK for index in range(len(lateness) * repeats // 4 * 4)]
    came = [moment + late / 1000 for moment, late in zip(sent, lateness * repeats, strict=False)]
    for index, arrival in enumerate(came):
        # The buffer takes arrivals as they are told: here, each on its own, even where they overtake each other.
        inserter.buffer["last_arrival"] = -RATE
        inserter.insert(index, arrival)
    if not came:
        return
    recent = sorted(
        round(arrival * RATE) - index * FRAME for index, arrival in list(enumerate(came))[-WINDOW:]
    )
    left_out = OUTLIERS * len(recent) // WINDOW
    offset = -0x100000000
    assert inserter.buffer["earliest"] - offset == pytest.approx(recent[0], abs=1)
    assert inserter.buffer["latest"] - offset == pytest.approx(recent[-1], abs=1)
    assert inserter.buffer["due"] - offset == pytest.approx(recent[-1 - left_out], abs=1)


def test_a_burst_counts_as_one_arrival():
    inserter = Inserter()
    for index in range(10):
        inserter.insert(index, index * TICK)
    for index in range(10, 20):
        inserter.insert(index, 20 * TICK + index * 1e-5)
    assert inserter.buffer["arrivals"] == 11
    assert max(inserter.buffer["lateness"][:11] - inserter.buffer["earliest"]) == pytest.approx(
        10 * FRAME, abs=20
    )


def frame_kinds(listener, count):
    return [listener.tick()[0] for _ in range(count)]


def arrive(listener, packets, delay=0.0):
    for packet in packets:
        packet.arrival = packet.sent + delay
    return listener.listen(packets, packets[-1].arrival + TICK)


def test_a_row_without_packets_is_silent():
    listener = Listener()
    assert frame_kinds(listener, 3) == [SILENCE] * 3
    assert not any(listener.counters().values())


def with_marked_neighbours(listener):
    listener.jitters.view(np.uint8).reshape(3, -1)[::2] = 0x5A
    return listener


def assert_neighbours_untouched(listener):
    assert (listener.jitters.view(np.uint8).reshape(3, -1)[::2] == 0x5A).all()


def test_rows_do_not_touch_each_other():
    listener = with_marked_neighbours(Listener())
    arrive(listener, send(SPOKEN[:50]))
    assert_neighbours_untouched(listener)


def test_a_reset_row_plays_as_a_new_one():
    fresh, used = Listener(), Listener()
    arrive(used, send(TONE, ssrc=99))
    reset_jitter(used.jitters, Listener.ROW)
    assert not any(used.counters().values())
    packets = send(SPOKEN[:100])
    wanted = arrive(fresh, packets)
    for packet in packets:
        packet.sent += used.now
    heard = used.listen([Packet(**{**vars(p), "arrival": p.sent}) for p in packets], packets[-1].sent + TICK)
    assert np.array_equal(heard.sound, wanted.sound)
    assert heard.kinds == wanted.kinds


def test_packets_that_come_on_time_are_just_decoded():
    listener = Listener()
    playout = arrive(listener, send(TONE))
    assert set(playout.kinds[2:]) == {DECODED}
    assert set(playout.kinds[:2]) <= {SILENCE, DECODED}
    assert Counter(listener.verdicts) == {JitterVerdict.STORED: len(TONE)}
    assert sum(listener.counters().values()) == len(TONE)


def test_a_lost_packet_is_concealed_and_counted_once():
    listener = Listener()
    packets = send(TONE)
    del packets[50]
    playout = arrive(listener, packets)
    assert Counter(playout.kinds[2:])[CONCEALED] in (1, 2)  # ticks fall where they fall
    assert listener.buffer["lost"] == 1
    assert listener.buffer["concealed_samples"] == FRAME
    assert np.abs(np.diff(playout.sound)).max() < 2 * 0.5 * 2 * np.pi * 300 / RATE


def test_fec_is_used_when_the_next_packet_is_there():
    listener = Listener()
    packets = send(SPOKEN[:100])
    del packets[50]
    for packet in packets[50:]:
        packet.sent -= TICK  # now it is
    playout = arrive(listener, packets)
    assert RECOVERED in playout.kinds
    assert CONCEALED not in playout.kinds
    assert (listener.buffer["lost"], listener.buffer["recovered"]) == (1, 1)


def test_a_late_packet_is_not_played():
    listener = Listener()
    packets = send(TONE)
    packet = packets.pop(20)
    arrive(listener, packets[:40])
    packet.arrival = packets[40].sent
    assert listener.insert(packet) == JitterVerdict.LATE
    assert listener.insert(packet) == JitterVerdict.DUPLICATE
    assert listener.buffer["late"] == 1


def test_a_numbering_that_stays_behind_is_taken_for_a_new_one():
    listener = Listener()
    arrive(listener, send(TONE, first_sequence=1000))
    again = send(TONE, first_sequence=700, first_timestamp=2**32 - 48_000 + len(TONE) * FRAME, start=2.0)
    playout = arrive(listener, again)
    verdicts = Counter(listener.verdicts[len(TONE) :])
    assert verdicts[JitterVerdict.LATE] == MAX_LATE_IN_ROW
    assert verdicts[JitterVerdict.RESTARTED] == 1
    assert set(playout.kinds[-20:]) == {DECODED}


def test_silence_follows_when_nothing_comes_any_more():
    listener = Listener()
    playout = arrive(listener, send(TONE))
    heard = [listener.tick() for _ in range(12)]
    kinds = [kind for kind, _ in heard]
    assert kinds[-1] == SILENCE
    assert 5 <= kinds.count(CONCEALED) <= 6  # 100 ms, and what the last packet left of a frame
    loudness = [float(np.sqrt(np.mean(output**2))) for _, output in heard]
    assert loudness[0] > 0.1
    assert loudness[4] < 0.5 * loudness[0]
    whole = np.concatenate([playout.sound, *(output for _, output in heard)])
    assert np.abs(np.diff(whole)).max() < 2 * 0.5 * 2 * np.pi * 300 / RATE
    assert listener.buffer["lost"] == 0


def test_a_payload_that_cannot_be_decoded_is_concealed():
    listener = Listener()
    packets = send(TONE)
    arrive(listener, packets[:50])
    for packet in packets[50:52]:
        packet.arrival = packet.sent
        listener.insert(packet)
    # As if memory were wrong, since libopus decodes whatever is framed well: what waits is no packet any more.
    waiting = int(listener.buffer["count"])
    listener.buffer["length"][:] = 0
    assert frame_kinds(listener, waiting) == [CONCEALED] * waiting
    assert listener.buffer["undecodable"] == waiting
    assert listener.buffer["concealed_samples"] == waiting * FRAME


def test_a_backlog_is_left_out_up_to_a_packet_that_is_not_due_yet():
    listener = with_marked_neighbours(Listener(phase=0.05))
    old, coming = send(TONE[:2])
    coming.arrival = 0.02
    coming.timestamp = (old.timestamp + round(0.9 * RATE)) & 0xFFFFFFFF
    listener.insert(old)
    listener.insert(coming)
    kinds = frame_kinds(listener, 30)
    assert (listener.buffer["skipped"], listener.buffer["lost"]) == (1, 0)
    # It came so early that it would have to wait for longer than any packet does.
    due = coming.arrival + MAX_DELAY_SAMPLES / RATE
    assert kinds.index(DECODED) == pytest.approx((due - 0.05) / TICK, abs=1)
    assert set(kinds[: kinds.index(DECODED)]) == {SILENCE}
    assert_neighbours_untouched(listener)


def sent_with_dtx(payloads):
    """Chrome's way: of the packets that say that there is nothing to hear it sends the first one only."""
    packets, silent, number = [], False, 65_500
    for packet in send(payloads):
        was_silent, silent = silent, packet.payload.size <= 2
        if not (was_silent and silent):
            packet.sequence_number = number & 0xFFFF
            number += 1
            packets.append(packet)
    return packets


@pytest.mark.parametrize("sender", [sent_with_dtx, send])
def test_a_sender_that_is_silent_is_not_missed(sender):
    sound = voice(6 * RATE)
    sound[2 * RATE : 4 * RATE] = 0
    packets = sender(Encoder(dtx=True).encode_all(sound))
    listener = Listener()
    playout = arrive(listener, packets)
    counters = listener.counters()
    assert counters["lost"] == counters["late"] == counters["concealed_samples"] == 0
    assert playout.share(SILENCE, 2.6, 4.0) > 0.5
    assert playout.share(DECODED, 4.1) == 1.0
    assert np.abs(playout.delays[-1] - playout.targets[-1]) < 0.006
    before, behind = playout.part(1.0, 2.0), playout.part(4.5, 5.5)
    assert np.sqrt(np.mean(behind**2)) > 0.5 * np.sqrt(np.mean(before**2))


def test_the_delay_that_is_told_is_the_delay_that_is_heard():
    # Clicks that are the loudest there is of their frame; where they come out says when they were heard.
    clicks = np.zeros(6 * RATE, np.float32)
    places = np.arange(RATE // 2, clicks.size, RATE // 3 + 77)
    clicks[places] = 0.8
    packets = send(Encoder(application="lowdelay", bitrate_bps=96_000).encode_all(clicks))
    for phase in (0.001, 0.008, 0.015):
        listener = Listener(phase)
        playout = arrive(listener, packets)
        for place in places[:-1]:
            expected = place + RATE * (TICK + playout.delays[-1] - phase) + 120  # CELT looks 2.5 ms ahead
            around = playout.sound[round(expected) - 480 : round(expected) + 480]
            assert int(np.argmax(np.abs(around))) == pytest.approx(480, abs=3)
        assert playout.delays[-1] == pytest.approx(LEAST, abs=0.003)


def sent_as(payloads):
    """Loss, reordering, a stall, a change of SSRC, silence: something of everything."""
    network = Network(loss=0.1, jitter=0.04, stalls=((0.8, 1.2),))
    first = network.carry(send(payloads[:75]))
    second = network.carry(send(payloads[75:120], ssrc=5, start=1.5))
    return sorted(first + second, key=lambda packet: packet.arrival)


def test_playing_is_the_same_compiled_and_interpreted():
    packets = sent_as(SPOKEN)
    fast = Listener()
    slow = new_interpreted()
    wanted = fast.listen(packets, 3.0)
    heard = slow.listen(packets, 3.0)
    assert heard.kinds == wanted.kinds
    np.testing.assert_allclose(heard.sound, wanted.sound, atol=1e-6)
    assert slow.counters() == fast.counters()
    assert {RECOVERED, CONCEALED, SILENCE} < set(wanted.kinds)


payloads = st.one_of(
    st.sampled_from(SPOKEN[:20]),
    st.sampled_from(Encoder(application="audio").encode_all(voice(2880 * 4), 2880)),
    st.builds(as_payload, st.binary(max_size=40)),
    st.builds(as_payload, st.binary(min_size=1200, max_size=1300)),
)
numbers = st.one_of(st.integers(0, 30), st.integers(0, 0xFFFF))
moments = st.one_of(st.integers(0, 50).map(lambda ticks: ticks * TICK), st.floats(-2, 10))
events = st.lists(
    st.one_of(
        st.tuples(payloads, numbers, st.integers(0, 100_000), st.integers(1, 2), moments),
        st.tuples(payloads, numbers, st.integers(0, 2**32 - 1), st.just(1), st.floats(-9e9, 9e9)),
        st.integers(0, 60).map(lambda ticks: round((START + ticks * TICK) * 1e9)),
        st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=40,
)


def new_interpreted():
    """A listener whose kernels check bounds; what is tested elsewhere is compiled."""
    compiled = (conceal_samples, recover_samples, decode_frame, reset_codec, shorten, lengthen)
    play = interpreted(play_frame, {function: function for function in compiled})
    return Listener(insert=_insert_slowly, play=play)


def suffer(listener, events):
    output = np.zeros(FRAME, np.float32)
    for event in events:
        if isinstance(event, int):
            listener.play(event, output)
            assert np.isfinite(output).all()
        else:
            payload, sequence_number, timestamp, ssrc, arrival = event
            packet = Packet(payload, sequence_number, timestamp, ssrc, 0.0, arrival)
            listener.insert(packet)
        buffer = listener.buffer
        assert 0 <= buffer["count"] <= SLOTS
        assert 0 <= buffer["audible"] <= buffer["pcm_count"] <= PCM_SAMPLES - 1440
        assert 0.0 <= buffer["gain"] <= 1.0
        assert all(buffer[name] >= 0 for name in JITTER_COUNTERS)
        if buffer["started"]:
            assert sorted(buffer["order"]) == list(range(SLOTS))
        order = buffer["order"][: buffer["count"]]
        assert (np.diff(buffer["sequence"][order]) > 0).all()
    assert_neighbours_untouched(listener)


@settings(deadline=None, max_examples=150)
@given(events)
def test_nothing_that_comes_at_any_time_does_harm(events):
    suffer(with_marked_neighbours(Listener()), events)


@settings(deadline=None, max_examples=30)
@given(events)
def test_nothing_that_comes_is_written_out_of_bounds(events):
    suffer(with_marked_neighbours(new_interpreted()), events)


def test_garbage_among_packets_does_not_stop_the_sound():
    rng = np.random.default_rng(3)
    packets = send(SPOKEN)
    for packet in packets[20::3]:
        packet.payload = rng.integers(0, 256, rng.integers(0, 1400), dtype=np.uint8)
    listener = Listener()
    arrive(listener, packets)
    # Whatever the bytes said, the rest of the stream is played.
    following = 65_500 + len(packets), 2**32 - 48_000 + len(packets) * FRAME
    clean = send(TONE, start=4.0, first_sequence=following[0], first_timestamp=following[1])
    playout = arrive(listener, clean)
    assert playout.share(DECODED, 0.5) > 0.97
    assert playout.delays[-1] < 0.150
