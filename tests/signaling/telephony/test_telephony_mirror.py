"""We as Twilio towards a bot: the messages, and the loops in virtual time."""

import base64
import json

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from phone_parts import FakeLine, FakeSocket, tone
from test_telephony_twilio import FIELDS

from signaling.messages import CloseCode
from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.mirror import Mirror, MirrorEnd, MirrorLimits, new_ids
from signaling.telephony.phone import PhoneFaultError, Started
from signaling.telephony.twilio import TwilioStream
from signaling.telephony.twilio_mirror import BotAudio, BotClear, BotMark, MirroredStream, StreamIds

IDS = StreamIds("MZ1", "CA1", "AC1")


def media(samples: np.ndarray, **more: object) -> dict[str, object]:
    payload = base64.b64encode(encode_mulaw(samples)).decode()
    return {"event": "media", "streamSid": "MZ1", "media": {"payload": payload}} | more


def mark(name: str) -> dict[str, object]:
    return {"event": "mark", "streamSid": "MZ1", "mark": {"name": name}}


CLEAR = {"event": "clear", "streamSid": "MZ1"}


def test_messages_are_twilios_with_numbers_as_texts() -> None:
    stream = MirroredStream(IDS, {"lobby": "support"})
    assert json.loads(stream.connected()) == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    start = json.loads(stream.start())
    assert (start["sequenceNumber"], start["streamSid"]) == ("1", "MZ1")
    assert start["start"] == {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"lobby": "support"},
    }
    for number in range(1, 4):
        message = json.loads(stream.media(tone(160)))
        assert message["sequenceNumber"] == str(number + 1)
        heard = message["media"]
        assert (heard["track"], heard["chunk"], heard["timestamp"]) == (
            "inbound",
            str(number),
            str(20 * number - 20),
        )
        assert len(base64.b64decode(heard["payload"])) == 160
    assert json.loads(stream.dtmf("5")) == {
        "event": "dtmf",
        "sequenceNumber": "5",
        "streamSid": "MZ1",
        "dtmf": {"track": "inbound_track", "digit": "5"},
    }
    assert json.loads(stream.mark("m"))["mark"] == {"name": "m"}
    assert json.loads(stream.stop()) == {
        "event": "stop",
        "sequenceNumber": "7",
        "streamSid": "MZ1",
        "stop": {"accountSid": "AC1", "callSid": "CA1"},
    }


def test_what_the_mirror_says_our_own_reader_of_twilio_understands() -> None:
    mirrored, reader = MirroredStream(IDS, {"a": "b"}), TwilioStream()
    assert reader.receive(mirrored.connected()) is None
    event = reader.receive(mirrored.start())
    assert isinstance(event, Started)
    assert event.call.parameters == {"a": "b"}
    for message in (mirrored.media(tone(160)), mirrored.dtmf("#"), mirrored.mark("m"), mirrored.stop()):
        assert reader.receive(message) is not None
    assert reader.gaps == 0
    # And what that writes, the mirror reads.
    (said,) = reader.audio(tone(160))
    heard = mirrored.receive(said)
    assert isinstance(heard, BotAudio)
    assert heard.samples.size == 160
    assert mirrored.receive(reader.mark("x")) == BotMark("x")
    assert mirrored.receive(reader.clear()) == BotClear()


def test_ids_look_like_twilios() -> None:
    ids = new_ids()
    for text, kind in ((ids.stream, "MZ"), (ids.call, "CA"), (ids.account, "AC")):
        assert text.startswith(kind)
        assert len(text) == 34
        assert set(text[2:]) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("", "no JSON"),
        ('{"event":"start"}', "expected media, mark or clear"),
        ('{"event":"clear","streamSid":"MZ2"}', "`streamSid` is not the one"),
        ('{"event":"clear"}', "`streamSid` must be a text"),
        ('{"event":"media","streamSid":"MZ1","media":{"payload":"%"}}', "no base64"),
        ('{"event":"mark","streamSid":"MZ1"}', "`mark` must be an object"),
    ],
)
def test_what_a_bot_may_not_say_is_a_fault(message: str, what: str) -> None:
    with pytest.raises(PhoneFaultError, match=what):
        MirroredStream(IDS, {}).receive(message)


@settings(max_examples=60)
@given(FIELDS.map(lambda fields: json.dumps({**fields, "streamSid": "MZ1"})) | st.text(max_size=20))
def test_any_message_of_a_bot_is_an_event_or_a_fault(message: str) -> None:
    stream = MirroredStream(IDS, {})
    try:
        event = stream.receive(message)
    except PhoneFaultError:
        return
    assert isinstance(event, BotAudio | BotMark | BotClear)


class Mirrored:
    """A mirror under way."""

    def __init__(self, nursery: trio.Nursery, digits=None, limits: MirrorLimits | None = None) -> None:
        self.socket, self.line = FakeSocket(), FakeLine()
        self.mirror = Mirror(
            self.socket,
            self.line,
            MirroredStream(IDS, {}),
            digits=digits,
            limits=limits or MirrorLimits(),
        )
        self.end: MirrorEnd | None = None
        self.ended = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        self.end = await self.mirror.run()
        self.ended.set()

    def marks(self) -> list[str]:
        return [each["mark"]["name"] for each in self.socket.events("mark")]


async def test_a_bot_hears_every_20_ms_and_is_heard(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        socket, line = mirrored.socket, mirrored.line
        await socket.until(lambda: socket.events("start"))
        assert [each["event"] for each in socket.sent[:2]] == ["connected", "start"]
        said = tone(320)
        line.say(said[:160])
        line.say(said[160:])
        await socket.until(lambda: len(socket.events("media")) == 2)
        heard = [base64.b64decode(each["media"]["payload"]) for each in socket.events("media")]
        assert b"".join(heard) == encode_mulaw(said)
        answer = tone(12_345, hertz=880)  # of any length
        socket.put(media(answer))
        await line.until(lambda: line.position == answer.size)
        assert np.array_equal(line.heard(), decode_mulaw(encode_mulaw(answer)))
        line.end()
        await mirrored.ended.wait()
        assert mirrored.end == MirrorEnd("the lobby was closed", failed=False)
        assert socket.sent[-1]["event"] == "stop"
        assert socket.closed == (CloseCode.NORMAL, "the lobby was closed")


async def test_silence_is_sent_while_the_lobby_sleeps_at_the_pace_of_speech(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        began = trio.current_time()
        for _ in range(10):
            mirrored.line.say(tone(160))
            await trio.sleep(0.02)
        for _ in range(100):
            mirrored.line.say(np.zeros(160, np.int16))
            await trio.sleep(0.02)
        await trio.sleep(10)
        sent = mirrored.socket.events("media")
        # As they come, then nothing for the 100 ms in which the next may be late, then one every 20 ms.
        assert len(sent) == pytest.approx((trio.current_time() - began) / 0.02, abs=6)
        assert base64.b64decode(sent[-1]["media"]["payload"]) == b"\xff" * 160
        assert [int(each["media"]["chunk"]) for each in sent] == list(range(1, len(sent) + 1))
        nursery.cancel_scope.cancel()


async def test_sound_that_is_late_is_waited_for_and_nothing_is_put_in_between(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        for pause in (0.02, 0.5, 0.9, 0.02):
            mirrored.line.say(tone(160))
            await trio.sleep(pause)
        sent = [base64.b64decode(each["media"]["payload"]) for each in mirrored.socket.events("media")]
        assert sent == [encode_mulaw(tone(160))] * 4
        nursery.cancel_scope.cancel()


async def test_marks_come_back_when_what_is_before_them_has_been_played(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        socket, line = mirrored.socket, mirrored.line
        socket.put(mark("nothing before"))
        await socket.until(lambda: mirrored.marks() == ["nothing before"])
        socket.put(media(tone(800)))
        socket.put(mark("a"))
        socket.put(media(tone(800)))
        socket.put(mark("b"))
        socket.put(mark("c"))
        await line.until(lambda: line.position == 1600)
        line.play(799)
        await trio.testing.wait_all_tasks_blocked()
        assert mirrored.marks() == ["nothing before"]
        line.play(800)
        await socket.until(lambda: mirrored.marks()[1:] == ["a"])
        line.play(1600)
        await socket.until(lambda: mirrored.marks()[1:] == ["a", "b", "c"])
        nursery.cancel_scope.cancel()


async def test_a_clear_drops_what_waits_and_brings_all_marks_back(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        socket, line = mirrored.socket, mirrored.line
        for name in ("a", "b"):
            socket.put(media(tone(8000)))
            socket.put(mark(name))
        socket.put(CLEAR)
        await socket.until(lambda: mirrored.marks() == ["a", "b"])
        assert line.clears == 1
        socket.put(media(tone(160)))
        socket.put(mark("c"))
        await line.until(lambda: line.position == 16_160)
        await trio.testing.wait_all_tasks_blocked()
        assert mirrored.marks() == ["a", "b"]
        line.play(16_160)
        await socket.until(lambda: mirrored.marks() == ["a", "b", "c"])
        nursery.cancel_scope.cancel()


async def test_keys_pressed_in_the_lobby_reach_the_bot(autojump_clock) -> None:
    press, pressed = trio.open_memory_channel[str](4)
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery, digits=pressed)
        press.send_nowait("4")
        press.send_nowait("#")
        await mirrored.socket.until(lambda: len(mirrored.socket.events("dtmf")) == 2)
        assert [each["dtmf"]["digit"] for each in mirrored.socket.events("dtmf")] == ["4", "#"]
        nursery.cancel_scope.cancel()


async def test_a_line_that_takes_nothing_any_more_ends_the_mirror(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        mirrored.line.over = "the participant was removed"
        mirrored.socket.put(mark("a"))
        mirrored.socket.put(media(tone(160)))
        await mirrored.ended.wait()
        assert mirrored.end == MirrorEnd("the participant was removed", failed=False)
        assert mirrored.socket.sent[-1]["event"] == "stop"


async def test_a_bot_that_closes_ends_the_mirror(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        mirrored.socket.hang_up()
        await mirrored.ended.wait()
        assert mirrored.end == MirrorEnd("the bot closed the connection", failed=False)


async def test_a_bot_that_is_told_to_go_hears_the_call_stop(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        mirrored.mirror.hang_up.set()
        await mirrored.ended.wait()
        assert mirrored.end == MirrorEnd("it was told to go", failed=False)
        assert mirrored.socket.sent[-1]["event"] == "stop"


@pytest.mark.parametrize("message", ["{", b"\x01", CLEAR | {"streamSid": "MZ2"}, {"event": "hang up"}])
async def test_a_bot_that_goes_on_talking_nonsense_is_closed_and_told_why(autojump_clock, message) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        for _ in range(20):
            mirrored.socket.put(message)
        mirrored.socket.put(media(tone(160)))
        await mirrored.line.until(lambda: mirrored.line.position == 160)
        mirrored.socket.put(message)
        await mirrored.ended.wait()
        assert mirrored.end is not None
        assert mirrored.end.failed
        code, reason = mirrored.socket.closed
        assert code == CloseCode.POLICY
        assert reason == mirrored.end.reason
        assert reason.startswith("too many messages that are none, at last: ")


async def test_a_bot_may_send_five_minutes_at_once_but_not_flood(autojump_clock) -> None:
    limits = MirrorLimits(message_burst=200, messages_per_second=100, marks=10)
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery, limits=limits)
        mirrored.socket.put(media(np.zeros(300 * 8000, np.int16)))
        await mirrored.line.until(lambda: mirrored.line.position == 300 * 8000)
        for _ in range(201):
            mirrored.socket.put(media(tone(160)))
        await mirrored.ended.wait()
        assert mirrored.end == MirrorEnd("more than 100 messages a second", failed=True)
        assert mirrored.socket.closed[0] == CloseCode.POLICY


async def test_a_bot_may_have_only_so_many_marks_out(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery, limits=MirrorLimits(marks=10))
        mirrored.socket.put(media(tone(160)))
        for number in range(13):
            mirrored.socket.put(mark(str(number)))
        await mirrored.ended.wait()
        assert mirrored.end == MirrorEnd("more than 10 marks wait", failed=True)


async def test_what_a_slow_bot_does_not_take_is_dropped_and_counted(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        mirrored = Mirrored(nursery)
        mirrored.socket.queued_bytes = 25_001
        for _ in range(5):
            mirrored.line.say(tone(160))
        await trio.testing.wait_all_tasks_blocked()
        assert mirrored.mirror.dropped_frames == 5
        assert mirrored.socket.events("media") == []
        nursery.cancel_scope.cancel()
