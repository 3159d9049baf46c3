"""One call between a socket and a line, in virtual time."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
from phone_parts import FakeLine, FakeLobby, FakeSocket, tone
from test_telephony_twilio import CONNECTED, START

from signaling.messages import CloseCode
from signaling.telephony.calls import PhoneCall
from signaling.telephony.destination import Destination
from signaling.telephony.exotel import ExotelStream
from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.phone import Call, CallRefusedError
from signaling.telephony.playout_watch import BEHIND_SECONDS
from signaling.telephony.twilio import TwilioStream

STOP = {"event": "stop", "stop": {"callSid": "CA1"}}


async def admit(call: Call) -> Destination:
    await trio.lowlevel.checkpoint()
    return Destination(call.parameters.get("lobby", "phone"), "Caller 5309")


class Calling:
    """A call under way."""

    def __init__(self, nursery: trio.Nursery, dialect=None, admit=admit) -> None:
        self.socket, self.lobby = FakeSocket(), FakeLobby()
        self.call = PhoneCall(self.socket, dialect or TwilioStream(), admit, self.lobby)
        self.ended = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        await self.call.run()
        self.ended.set()

    async def start(self) -> FakeLine:
        self.socket.put(CONNECTED)
        self.socket.put(START)
        return await self.lobby.line()


@asynccontextmanager
async def under_way(dialect=None, admit=admit) -> AsyncIterator[Calling]:
    async with trio.open_nursery() as nursery:
        yield Calling(nursery, dialect, admit)
        nursery.cancel_scope.cancel()


def media(samples: np.ndarray) -> dict[str, object]:
    payload = base64.b64encode(encode_mulaw(samples)).decode()
    return {"event": "media", "media": {"track": "inbound", "payload": payload}}


def decoded(message: dict[str, object]) -> np.ndarray:
    return decode_mulaw(base64.b64decode(message["media"]["payload"]))


async def test_caller_and_lobby_hear_each_other(autojump_clock) -> None:
    async with under_way() as calling:
        line = await calling.start()
        assert calling.lobby.opened == [
            {
                "lobby": "support",
                "name": "Caller 5309",
                "rate": 8000,
                "live": True,
                "metadata": {"provider": "twilio", "call_id": "CA1"},
            }
        ]
        said, answer = tone(800), tone(320, hertz=880)
        for at in range(0, 800, 160):
            calling.socket.put(media(said[at : at + 160]))
        await line.until(lambda: line.position == 800)
        assert np.array_equal(line.heard(), decode_mulaw(encode_mulaw(said)))
        line.say(answer[:160])
        line.say(answer[160:])
        await calling.socket.until(lambda: len(calling.socket.events("media")) == 2)
        heard = np.concatenate([decoded(each) for each in calling.socket.events("media")])
        assert np.array_equal(heard, decode_mulaw(encode_mulaw(answer)))
        calling.socket.put({"event": "dtmf", "dtmf": {"digit": "#"}})
        await line.until(lambda: line.pressed == ["#"])
        calling.socket.put(STOP)
        await calling.ended.wait()
        assert line.closed
        # The server closes its WebSocket itself, normally, when the handler returns.
        assert calling.socket.closed is None


async def test_a_call_ends_with_its_line(autojump_clock) -> None:
    async with under_way() as calling:
        (await calling.start()).end()
        await calling.ended.wait()
        assert calling.socket.closed == (CloseCode.NORMAL, "the lobby was closed")
        assert calling.lobby.left == 1


async def test_a_call_ends_when_its_line_takes_nothing_any_more(autojump_clock) -> None:
    async with under_way() as calling:
        line = await calling.start()
        line.over = "the participant was removed"
        calling.socket.put(media(tone(160)))
        await calling.ended.wait()
        assert calling.socket.closed == (CloseCode.NORMAL, "the participant was removed")


async def test_a_line_is_given_back_when_the_caller_is_gone(autojump_clock) -> None:
    async with under_way() as calling:
        await calling.start()
        calling.socket.hang_up()
        await calling.ended.wait()
        assert calling.lobby.left == 1


async def test_a_stream_that_does_not_start_is_closed(autojump_clock) -> None:
    async with under_way() as calling:
        calling.socket.put(CONNECTED)
        began = trio.current_time()
        await calling.ended.wait()
        assert trio.current_time() - began == pytest.approx(10)
        assert calling.socket.closed == (CloseCode.POLICY, "no `start` within 10 s")
        assert calling.lobby.opened == []


async def test_a_call_that_may_not_come_in_is_told_why(autojump_clock) -> None:
    async def deny(_: Call) -> Destination:
        raise CallRefusedError("not today")

    async with under_way(admit=deny) as calling:
        calling.socket.put(START)
        await calling.ended.wait()
        assert calling.socket.closed == (CloseCode.POLICY, "not today")


async def test_a_lobby_that_takes_nobody_is_told_of(autojump_clock) -> None:
    async with under_way() as calling:
        calling.lobby.refusal = "the lobby is full"
        calling.socket.put(START)
        await calling.ended.wait()
        assert calling.socket.closed == (CloseCode.TRY_LATER, "the lobby is full")


@pytest.mark.parametrize("message", ["{", "[]", b"\x00", '{"event":"media","media":{"payload":"%"}}'])
async def test_a_few_messages_that_are_none_are_passed_over_and_many_close(autojump_clock, message) -> None:
    async with under_way() as calling:
        line = await calling.start()
        for _ in range(20):
            calling.socket.put(message)
        calling.socket.put(media(tone(160)))
        await line.until(lambda: line.position == 160)
        assert calling.call.statistics.faults == 20
        calling.socket.put(message)
        await calling.ended.wait()
        assert calling.socket.closed is not None
        code, reason = calling.socket.closed
        assert code == CloseCode.POLICY
        assert reason.startswith("too many messages that are none, at last: ")
        assert line.closed


async def test_a_flood_closes_the_call_and_an_ordinary_pace_does_not(autojump_clock) -> None:
    async with under_way() as calling:
        line = await calling.start()
        for _ in range(500):  # ten seconds of speech, a little faster than it is spoken
            calling.socket.put(media(tone(160)))
            await trio.sleep(0.01)
        await line.until(lambda: line.position == 500 * 160)
        for _ in range(1000):
            calling.socket.put(media(tone(160)))
        await calling.ended.wait()
        assert calling.socket.closed == (CloseCode.POLICY, "more than 150 messages a second")


async def test_what_a_slow_provider_does_not_take_is_dropped_and_counted(autojump_clock) -> None:
    async with under_way() as calling:
        line = await calling.start()
        calling.socket.queued_bytes = 20_001
        for _ in range(5):
            line.say(tone(160))
        await trio.testing.wait_all_tasks_blocked()
        assert calling.call.statistics.dropped_frames == 5
        assert calling.socket.events("media") == []
        calling.socket.queued_bytes = 0
        line.say(tone(160))
        await calling.socket.until(lambda: calling.socket.events("media"))


async def test_a_playout_that_is_behind_is_cleared(autojump_clock) -> None:
    async with under_way() as calling:
        line = await calling.start()

        async def say_for(seconds: float) -> None:
            for _ in range(round(seconds * 50)):
                line.say(tone(160))
                await trio.sleep(0.02)

        await say_for(1.5)
        marks = [each["mark"]["name"] for each in calling.socket.events("mark")]
        assert len(marks) == 2
        for name in marks:  # the provider sends its marks back, for a while
            calling.socket.put({"event": "mark", "mark": {"name": name}})
        await say_for(BEHIND_SECONDS + 3)
        assert len(calling.socket.events("clear")) == 1
        assert calling.call.statistics.clears == 1


async def test_exotel_clears_what_the_caller_said(autojump_clock) -> None:
    async with under_way(ExotelStream()) as calling:
        start = {"call_sid": "c1", "stream_sid": "s1", "media_format": {"sample_rate": "16000"}}
        calling.socket.put({"event": "start", "start": start})
        line = await calling.lobby.line()
        assert line.rate == 16000
        payload = base64.b64encode(bytes(3200)).decode()
        calling.socket.put({"event": "media", "media": {"payload": payload}})
        calling.socket.put({"event": "clear"})
        await line.until(lambda: line.clears == 1)
        assert line.position == 1600
        # At 16 kHz, 100 ms are a piece.
        for _ in range(5):
            line.say(tone(320, rate=16000))
        await calling.socket.until(lambda: calling.socket.events("media"))


async def test_a_fault_of_ours_gives_the_line_back(autojump_clock) -> None:
    lobby, socket = FakeLobby(), FakeSocket()

    async def break_line() -> None:
        line = await lobby.line()
        line.queue = None
        socket.put(media(tone(160)))

    async def run_both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(PhoneCall(socket, TwilioStream(), admit, lobby).run)
            nursery.start_soon(break_line)

    socket.put(START)
    with pytest.raises(ExceptionGroup) as raised:
        await run_both()
    assert raised.group_contains(TypeError)
    assert lobby.left == 1
