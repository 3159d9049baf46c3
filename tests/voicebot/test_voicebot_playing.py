"""Playouts: fed in good time, cleared, cut off and gone on with. Virtual time, a scripted far end."""

from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
import trio
import trio.testing
from scripted_server import Visit, connected, snapshot
from trio_websocket import ConnectionClosed

import voicebot
from signaling.messages import (
    ErrorReply,
    Ok,
    PlayClear,
    PlayCleared,
    PlayGain,
    PlayOpen,
    PlayOpened,
    PlayProgress,
    Press,
    decode_audio_frame_untrusted,
    decode_client,
)

RATE = 8000
SECOND = np.arange(RATE, dtype=np.int16).tobytes()


def progress(
    stream: int, played_ms: float, state: str = "playing", reason: str | None = None
) -> PlayProgress:
    return PlayProgress(stream=stream, played_ms=played_ms, state=state, reason=reason)


async def in_pieces(sound: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(sound), size):
        yield sound[begin : begin + size]
        await trio.lowlevel.checkpoint()


def as_floats() -> Iterator[np.ndarray]:
    yield np.array([0, 0.5, -0.5, 2, -2], np.float32)
    yield np.array([1.0, -1.0])


@pytest.mark.parametrize(
    ("sound", "sent"),
    [
        (SECOND, SECOND),
        (bytearray(SECOND), SECOND),
        (memoryview(SECOND), SECOND),
        (np.frombuffer(SECOND, "<i2"), SECOND),
        (np.frombuffer(SECOND, "<i2").astype(">i2"), SECOND),
        ([SECOND[:2], SECOND[2:7], np.zeros(0, np.int16), SECOND[7:]], SECOND),
        (in_pieces(SECOND, 333), SECOND),
        (as_floats(), np.array([0, 16384, -16384, 32767, -32767, 32767, -32767], "<i2").tobytes()),
        (b"", b""),
    ],
)
async def test_sound_of_every_kind_arrives_as_it_is(
    autojump_clock: trio.testing.MockClock, sound: voicebot.Sound, sent: bytes
) -> None:
    async def serve(visit: Visit) -> None:
        assert (await visit.answer(PlayOpened(stream=4))).message == PlayOpen(rate=RATE, to="p-9")
        assert await visit.receive_sound(4) == sent
        await visit.send(progress(4, len(sent) / 16, "done"))

    async with connected(serve) as connection:
        playout = await connection.play(sound, rate=RATE, to="p-9")
        assert await playout.wait()
        assert (playout.done, playout.interrupted, playout.reason) == (True, False, "done")
        assert playout.played_ms == playout.sent_ms == len(sent) / 16
        assert playout.sent_all
        event = await anext(connection.events())  # and no others: progress is none
        assert event == voicebot.PlayoutEnded(playout)


async def test_other_rates_are_turned_into_the_next_that_the_relay_speaks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    times = np.arange(22050) / 22050
    sound = (10_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)

    async def serve(visit: Visit) -> None:
        assert (await visit.answer(PlayOpened(stream=4))).message == PlayOpen(rate=24000)
        received = np.frombuffer(await visit.receive_sound(4), "<i2")
        expected = 10_000 * np.sin(2 * np.pi * 440 * np.arange(24000) / 24000)
        assert len(received) == 24000
        assert np.abs(received - expected)[100:-100].max() < 3
        await visit.send(progress(4, 1000, "done"))

    async with connected(serve) as connection:
        playout = await connection.play(in_pieces(sound.tobytes(), 1000), rate=22050)
        assert await playout.wait()
        assert (playout.rate, playout.sent_ms) == (22050, 1000)


async def test_frames_are_of_a_good_size(autojump_clock: trio.testing.MockClock) -> None:
    sizes = []

    async def serve(visit: Visit) -> None:
        for _ in range(2):
            await visit.answer(PlayOpened(stream=4))
            while not (frame := await visit.receive_audio()).end:
                sizes.append(frame.samples)
            await visit.send(progress(4, 0, "done"))

    async with connected(serve) as connection:
        await (await connection.play(SECOND[:-2], rate=RATE)).wait()
        assert sizes == [1600] * 4 + [1599]
        sizes.clear()
        await (await connection.play(in_pieces(SECOND, 50), rate=RATE)).wait()  # 25 samples each
        assert sizes == [175] * 45 + [125]


async def test_no_more_than_ten_seconds_are_under_way(autojump_clock: trio.testing.MockClock) -> None:
    read = 0

    async def synthesize() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(60):
            read += 1
            yield SECOND
            await trio.lowlevel.checkpoint()

    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        sent = 0.0
        for heard in (0, 100, 5000, 30_000):
            await visit.send(progress(4, heard))
            with trio.move_on_after(1):
                while True:
                    sent += (await visit.receive_audio()).samples / 8
            assert sent == pytest.approx(min(heard + 10_000, 60_000), abs=200)
            assert read == pytest.approx(sent / 1000, abs=1.01)
        await visit.send(progress(4, 60_000, "done"))

    async with connected(serve) as connection:
        playout = await connection.play(synthesize(), rate=RATE)
        assert await playout.wait_started()
        assert await playout.wait()


async def test_playouts_that_wait_keep_less_under_way_until_it_is_their_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sent = {4: 0.0, 5: 0.0, 6: 0.0}

    async def serve(visit: Visit) -> None:
        await take_all(visit)
        assert sent == {4: 10_000, 5: 2000, 6: 10_000}
        await visit.send(progress(4, 30_000, "done"))
        await take_all(visit)
        assert sent == {4: 10_000, 5: 10_000, 6: 10_000}

    async def take_all(visit: Visit) -> None:
        numbers = iter(sent)
        with trio.move_on_after(2):
            while True:
                message = await visit.websocket.get_message()
                if isinstance(message, bytes):
                    frame = decode_audio_frame_untrusted(message)
                    sent[frame.stream] += frame.samples / 8
                else:
                    await visit.send(PlayOpened(stream=next(numbers)), decode_client(message).id)

    async with connected(serve) as connection:
        for to in (None, None, "p-9"):
            await connection.play(SECOND * 30, rate=RATE, to=to)
        await trio.sleep(5)


async def test_frames_are_not_sent_faster_than_the_relay_takes_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    times = []

    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        while not (await visit.receive_audio()).end:
            times.append(trio.current_time())
        await visit.send(progress(4, 10_000, "done"))

    async with connected(serve) as connection:
        pieces = [SECOND[:320]] * 499  # of 20 ms each
        await (await connection.play(pieces, rate=RATE)).wait()
        assert len(times) == 499
        for first in range(0, 499, 50):
            for last in range(first, 499, 50):
                assert last - first <= 200 + 150 * (times[last] - times[first]) + 1
        assert times[-1] - times[0] == pytest.approx(2, abs=0.05)


async def test_connection_that_an_iterable_loses_is_not_ours(autojump_clock: trio.testing.MockClock) -> None:
    async def from_elsewhere() -> AsyncIterator[bytes]:
        yield SECOND
        raise voicebot.ConnectionLostError("that of the speech service")

    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        await visit.receive_sound(4)
        await visit.send(progress(4, 1000, "done"))

    async with connected(serve) as connection:
        playout = await connection.play(from_elsewhere(), rate=RATE)
        with pytest.raises(voicebot.PlayoutError, match="that of the speech service"):
            await playout.wait()


@pytest.mark.parametrize(
    ("sound", "error", "fault"),
    [
        (b"123", ValueError, "3 bytes are not a whole number of samples: expected signed 16 bit PCM"),
        (np.zeros((2, 2), np.int16), ValueError, r"one channel, .* not of the shape \(2, 2\)"),
        (np.zeros(2, np.int32), ValueError, "not of int32"),
        (np.array([0, np.nan], np.float32), ValueError, "found NaN"),
    ],
)
async def test_samples_that_are_none_are_refused_at_once(
    autojump_clock: trio.testing.MockClock, sound: voicebot.Sound, error: type[Exception], fault: str
) -> None:
    async def serve(_visit: Visit) -> None:
        pass

    async with connected(serve) as connection:
        with pytest.raises(error, match=fault):
            await connection.play(sound, rate=RATE)
        with pytest.raises(ValueError, match="rate must be between 4000 and 192000"):
            await connection.play(SECOND, rate=0)


async def failing() -> AsyncIterator[bytes]:
    yield SECOND
    raise KeyError("the model is gone")


@pytest.mark.parametrize(
    ("sound", "sent", "fault"),
    [
        (failing(), SECOND, "KeyError: 'the model is gone'"),
        ([SECOND, b"1"], SECOND, "16001 bytes are not a whole number"),
        ("hello", b"", "expected samples or an iterable of them, not str"),
        ([SECOND, "hello"], SECOND, "expected bytes .* not str"),
        (7, b"", "not int"),
    ],
)
async def test_fault_of_an_iterable_is_told_when_what_came_before_was_heard(
    autojump_clock: trio.testing.MockClock, sound: voicebot.Sound, sent: bytes, fault: str
) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        assert await visit.receive_sound(4) == sent
        await visit.send(progress(4, len(sent) / 16, "done"))

    async with connected(serve) as connection:
        playout = await connection.play(sound, rate=RATE)
        with pytest.raises(voicebot.PlayoutError, match=fault) as raised:
            await playout.wait()
        assert raised.value.__cause__ is not None
        assert (playout.done, playout.interrupted, playout.reason) == (True, True, "failed")


async def test_clear_ends_everything_and_sends_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    closed = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield SECOND
                await trio.sleep(1)
        finally:
            closed.set()

    async def serve(visit: Visit) -> None:
        for stream in (4, 5):
            await visit.answer(PlayOpened(stream=stream))
        assert (await visit.answer(PlayCleared(played_ms={4: 1234.5, 5: 0}))).message == PlayClear()
        await visit.send(progress(4, 1234.5, "cleared", "cleared"))
        with pytest.raises(ConnectionClosed):
            pytest.fail(repr(await visit.websocket.get_message()))

    async with connected(serve) as connection:
        first = await connection.play(endless(), rate=RATE)
        second = await connection.play(SECOND * 100, rate=RATE)
        await trio.sleep(3)
        assert await connection.clear() == 1234.5
        await closed.wait()
        assert [await first.wait(), await second.wait()] == [False, False]
        assert (first.reason, first.played_ms, second.played_ms) == ("cleared", 1234.5, 0)
        await trio.sleep(3)


async def test_playouts_end_when_the_relay_cannot_say_what_it_cleared(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        await visit.receive()

    async with connected(serve) as connection:
        playout = await connection.play(SECOND, rate=RATE)
        with pytest.raises(voicebot.RequestTimeoutError):
            await connection.clear()
        assert not await playout.wait()


@pytest.mark.parametrize("reason", ["play_overflow", "left", None])
async def test_relay_may_end_a_playout(autojump_clock: trio.testing.MockClock, reason: str | None) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        await visit.receive_audio()
        await visit.send(progress(4, 20, "cleared", reason))
        await visit.send(progress(4, 40, "playing"))  # of what is over nothing is heard any more

    async with connected(serve) as connection:
        playout = await connection.play(SECOND * 60, rate=RATE)
        assert not await playout.wait()
        assert (playout.reason, playout.played_ms) == (reason or "cleared", 20)


async def test_refused_playout_raises(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(ErrorReply(code="unknown_participant", error="nobody"))
        await visit.answer(PlayOpened(stream=1))

    async with connected(serve) as connection:
        with pytest.raises(voicebot.ProtocolError, match="unknown_participant"):
            await connection.play(SECOND, rate=RATE, to="p-9")
        assert not (await connection.play(SECOND, rate=RATE)).done


async def test_playout_nobody_waited_for_is_ended_at_the_relay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ended = trio.Event()

    async def serve(visit: Visit) -> None:
        asked = await visit.receive()
        await trio.sleep(2)
        await visit.send(PlayOpened(stream=4), asked.id)
        assert await visit.receive_sound(4) == b""
        ended.set()

    async with connected(serve) as connection:
        with trio.move_on_after(1) as scope:
            await connection.play(SECOND, rate=RATE)
        assert scope.cancelled_caught
        await ended.wait()


async def test_playout_goes_on_when_the_session_does(autojump_clock: trio.testing.MockClock) -> None:
    async def first(visit: Visit) -> None:
        for stream in (4, 5):
            await visit.answer(PlayOpened(stream=stream))
        await visit.send(progress(4, 5000))
        await trio.sleep(1)

    async def second(visit: Visit) -> None:
        await visit.resume(snapshot(), 4)
        await visit.send(progress(4, 7000))
        assert (await visit.receive_audio()).stream == 4
        await visit.send(progress(4, 30_000, "done"))

    async with connected(first, second) as connection:
        playout = await connection.play(SECOND * 30, rate=RATE)
        other = await connection.play(SECOND * 30, rate=RATE)
        assert not await other.wait()
        assert other.reason == "lost"
        assert await playout.wait()


@pytest.mark.parametrize("back", [True, False])
async def test_playout_under_way_is_lost_with_its_session(
    autojump_clock: trio.testing.MockClock, back: bool
) -> None:
    closed = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield SECOND
                await trio.sleep(1)
        finally:
            closed.set()

    async def first(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        await visit.receive_audio()
        await visit.send(progress(4, 100))
        if not back:
            await visit.websocket.aclose(4010, "ended")

    async def second(visit: Visit) -> None:
        await visit.refuse_resume()
        await visit.admit(snapshot(participant_id="p-2"))
        await visit.answer(PlayOpened(stream=1))
        assert await visit.receive_sound(1) == SECOND
        await visit.send(progress(1, 1000, "done"))

    async with connected(*([first, second] if back else [first])) as connection:
        playout = await connection.play(endless(), rate=RATE)
        assert not await playout.wait()
        assert (playout.reason, playout.played_ms) == ("lost", 100)
        await closed.wait()
        if back:
            assert await (await connection.play(SECOND, rate=RATE)).wait()
        else:
            with pytest.raises(voicebot.ConnectionLostError, match="ended"):
                await connection.play(SECOND, rate=RATE)


async def test_playouts_end_with_the_scope_of_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        await visit.wait_closed()

    async with connected(serve) as connection:
        playout = await connection.play(SECOND * 30, rate=RATE)
        assert not playout.done
    assert not await playout.wait()
    assert playout.reason == "lost"
    with pytest.raises(voicebot.ConnectionLostError, match="closed by this client"):
        await connection.play(SECOND, rate=RATE)
    for reader in (connection.mixed(), connection.speakers()):
        with pytest.raises(voicebot.ConnectionLostError, match="closed by this client"):
            await anext(reader)


async def test_garbage_during_a_playout_does_not_end_it(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(PlayOpened(stream=4))
        await visit.websocket.send_message(b"\xff" * 100)
        await visit.websocket.send_message('{"type": "play_progress", "data": {"stream": 4}}')
        await visit.send(progress(77, 5, "done"))
        await visit.receive_sound(4)
        await visit.send(progress(4, 1000, "done"))

    async with connected(serve) as connection:
        assert await (await connection.play(SECOND, rate=RATE)).wait()
        assert connection.statistics().unreadable_frames == 2


async def test_gain_is_asked_for_until_the_relay_says_that_it_has_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(visit: Visit) -> None:
        assert (await visit.answer(Ok())).message == PlayGain(gain_db=-6)
        await visit.answer(ErrorReply(code="rate_limited", error="too many"))
        await visit.answer(ErrorReply(code="unknown_type", error="no message has the type 'play_gain'"))
        assert (await visit.answer(Ok())).message == Press(digit="#")

    async with connected(serve) as connection:
        assert await connection.set_gain(-6)
        with pytest.raises(voicebot.ProtocolError, match="rate_limited"):
            await connection.set_gain(-6)
        assert not await connection.set_gain(-6)
        assert not await connection.set_gain(-6)
        with pytest.raises(ValueError, match="gain_db"):
            await connection.set_gain(20)
        await connection.press("#")


async def test_new_session_is_told_the_gain(autojump_clock: trio.testing.MockClock) -> None:
    told = trio.Event()

    async def first(visit: Visit) -> None:
        await visit.answer(Ok())

    async def second(visit: Visit) -> None:
        await visit.refuse_resume()
        await visit.admit(snapshot(participant_id="p-2"))
        assert (await visit.answer(Ok())).message == PlayGain(gain_db=-6)
        told.set()

    async with connected(first, second) as connection:
        assert await connection.set_gain(-6)
        await told.wait()


async def test_press_and_clear_are_requests(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(visit: Visit) -> None:
        assert (await visit.answer(Ok())).message == Press(digit="5")
        assert (await visit.answer(PlayCleared(played_ms={}))).message == PlayClear()

    async with connected(serve) as connection:
        await connection.press("5")
        assert await connection.clear() == 0
        with pytest.raises(ValueError, match="digit"):
            await connection.press("55")
