"""Streams of frames: opened, read, too slow, ended, and opened again. Virtual time, a scripted far end."""

import gc

import pytest
import trio
import trio.testing
from scripted_server import Visit, connected, snapshot

import voicebot
from signaling.messages import (
    AudioListen,
    AudioListening,
    AudioStreamEnded,
    AudioStreamStarted,
    AudioUnlisten,
    ErrorReply,
    Ok,
)

#: 20 ms at 8 kHz.
PCM = bytes(range(256)) + bytes(64)


async def test_stream_is_asked_for_when_it_is_read_and_misses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked = []

    async def serve(visit: Visit) -> None:
        asked.append((await visit.answer(AudioListening(stream=7))).message)
        await trio.sleep(0.06)
        await visit.send_audio(7, PCM, 160, voiced=True)
        await visit.send_audio(7, PCM, 320, gap=True)

    async with connected(serve) as connection:
        stream = connection.participant("p-9", rate=8000, frame_ms=20)
        await trio.sleep(1)
        assert (asked, stream.began_s) == ([], None)
        first = await anext(stream)
        assert first == voicebot.AudioFrame(PCM, 8000, 160, "p-9", 127, voiced=True, gap=False)
        assert (first.duration_ms, first.time_s, first.samples[0]) == (20, 0.02, 256)
        assert (await anext(stream)).gap
        assert asked == [AudioListen(what="participant", participant_id="p-9", rate=8000)]
        assert (stream.participant, stream.rate, stream.frame_ms, stream.began_s) == ("p-9", 8000, 20, 1)


async def test_slow_reader_loses_the_oldest_frames_and_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        for number in range(100):
            await visit.send_audio(1, PCM, number * 160)

    async with connected(serve) as connection, connection.mixed(rate=8000) as stream:
        await trio.sleep(1)
        assert stream.dropped == 36
        frames = [await anext(stream) for _ in range(64)]
        assert [frame.timestamp for frame in frames] == [number * 160 for number in range(36, 100)]
        assert [frame.gap for frame in frames] == [True] + [False] * 63


async def test_stream_ends_when_its_participant_leaves_after_what_was_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        await visit.send_audio(1, PCM)
        await visit.send(AudioStreamEnded(stream=1, reason="left"))

    async with connected(serve) as connection:
        stream = connection.participant("p-9", rate=8000)
        assert [frame.pcm async for frame in stream] == [PCM]
        assert stream.ended == "left"
        assert [frame async for frame in stream] == []


@pytest.mark.parametrize("how", ["aclose", "scope", "garbage", "cancelled"])
async def test_relay_is_told_when_nobody_reads_a_stream_any_more(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    told = trio.Event()

    async def serve(visit: Visit) -> None:
        asked = await visit.receive()
        await trio.sleep(1)
        await visit.send(AudioListening(stream=3), asked.id)
        for number in range(2):  # those that are under way when it is told go nowhere
            await visit.send_audio(3, PCM, number * 160)
        assert (await visit.answer(Ok())).message == AudioUnlisten(stream=3)
        await visit.send_audio(3, PCM, 320)
        told.set()

    async with connected(serve) as connection:
        if how == "scope":
            async with connection.mixed(rate=8000) as stream:
                await anext(stream)
        elif how == "cancelled":
            with trio.move_on_after(0.5):
                async for _ in connection.mixed(rate=8000):
                    pass
        else:
            stream = connection.mixed(rate=8000)
            await anext(stream)
            if how == "aclose":
                await stream.aclose()
                assert [frame async for frame in stream] == []
                assert stream.ended == "closed"
            del stream
        gc.collect()
        await told.wait()
        await trio.sleep(1)


async def test_refusal_is_raised_to_who_reads(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(ErrorReply(code="unknown_participant", error="nobody"))

    async with connected(serve) as connection:
        stream = connection.participant("p-9")
        for _ in range(2):
            with pytest.raises(voicebot.ProtocolError, match="unknown_participant: nobody"):
                await anext(stream)


async def test_speakers_bring_a_stream_for_each_and_end_them_with_themselves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    unlistened = set()

    async def serve(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        for stream, participant_id in ((2, "p-8"), (3, "p-9")):
            await visit.send(AudioStreamStarted(subscription=1, stream=stream, participant_id=participant_id))
            await visit.send_audio(stream, PCM)
        unlistened.add((await visit.answer(Ok())).message.stream)
        for stream in (2, 3):  # those end with it
            await visit.send_audio(stream, PCM)
            await visit.send(AudioStreamEnded(stream=stream, reason="closed"))
        with trio.move_on_after(1):
            unlistened.add((await visit.receive()).message)

    async with connected(serve) as connection:
        async with connection.speakers(rate=8000) as speakers:
            streams = [await anext(speakers), await anext(speakers)]
            assert [stream.participant for stream in streams] == ["p-8", "p-9"]
            assert (await anext(streams[1])).participant == "p-9"
        assert (await anext(streams[0])).participant == "p-8"
        assert [frame for stream in streams async for frame in stream] == []
        assert [each async for each in speakers] == []
        await trio.sleep(2)
    assert unlistened == {1}


async def test_streams_go_on_when_the_session_does(autojump_clock: trio.testing.MockClock) -> None:
    async def first(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        await visit.answer(AudioListening(stream=2))
        await trio.sleep(0.02)
        await visit.send_audio(1, PCM)
        await visit.send_audio(2, PCM)

    async def second(visit: Visit) -> None:
        await visit.resume(snapshot(), 1, 99)
        await visit.send_audio(1, PCM, 8000, gap=True)
        told = [await visit.receive(), await visit.receive()]
        for frame in told:
            if frame.message == AudioUnlisten(stream=99):
                await visit.send(Ok(), frame.id)
            else:
                assert frame.message == AudioListen(what="participant", participant_id="p-9", rate=8000)
                await visit.send(AudioListening(stream=5), frame.id)
        await visit.send_audio(5, PCM)

    async with (
        connected(first, second) as connection,
        connection.mixed(rate=8000) as mixed,
        connection.participant("p-9", rate=8000) as other,
    ):
        assert (await anext(mixed)).timestamp == (await anext(other)).timestamp == 0
        frame = await anext(mixed)
        assert (frame.timestamp, frame.gap) == (8000, True)
        frame = await anext(other)  # the relay had closed it: it is another one, a second later
        assert (frame.timestamp, frame.gap) == (8160, True)


async def test_streams_are_opened_again_in_a_new_session(autojump_clock: trio.testing.MockClock) -> None:
    asked = []

    async def first(visit: Visit) -> None:
        asked.extend([(await visit.answer(AudioListening(stream=stream))).message for stream in (1, 2, 3)])
        await visit.send(AudioStreamStarted(subscription=3, stream=4, participant_id="p-8"))
        await trio.sleep(0.02)
        for stream in (1, 2, 4):
            await visit.send_audio(stream, PCM)
        await trio.sleep(8.98)

    async def second(visit: Visit) -> None:
        await visit.refuse_resume()
        await visit.admit(snapshot(participant_id="p-2"))
        for _ in range(3):
            frame = await visit.receive()
            assert frame.message in asked
            if frame.message.what == "participant":
                await visit.send(ErrorReply(code="unknown_participant", error="nobody"), frame.id)
            else:
                stream = 1 if frame.message.what == "speakers" else 2
                await visit.send(AudioListening(stream=stream), frame.id)
                if stream == 1:
                    await visit.send(AudioStreamStarted(subscription=1, stream=4, participant_id="p-1"))
        await visit.send_audio(2, PCM, 160)
        await visit.send_audio(4, PCM)

    async with (
        connected(first, second) as connection,
        connection.mixed(rate=8000) as mixed,
        connection.participant("p-9", rate=8000) as alone,
        connection.speakers(rate=8000) as speakers,
    ):
        former = await anext(speakers)
        assert len([frame async for frame in former]) == len([frame async for frame in alone]) == 1
        assert (former.ended, alone.ended) == ("lost", "left")
        assert (await anext(mixed)).gap is False
        frame = await anext(mixed)  # 9 s, and 1 s until the connection was tried again
        assert (frame.timestamp, frame.gap) == (10 * 8000 + 160, True)
        again = await anext(speakers)
        assert (again.participant, (await anext(again)).timestamp) == ("p-1", 0)


async def test_speakers_whose_first_word_was_missed_are_told_of_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def first(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))

    async def second(visit: Visit) -> None:
        await visit.resume(snapshot(), 1, 2)
        unlistened = set()
        while True:
            frame = await visit.receive()
            if isinstance(frame.message, AudioListen):
                break
            unlistened.add(frame.message.stream)
            await visit.send(Ok(), frame.id)
        await visit.send(AudioListening(stream=3), frame.id)
        await visit.send(AudioStreamStarted(subscription=3, stream=4, participant_id="p-8"))
        await visit.send_audio(4, PCM)

    async with connected(first, second) as connection, connection.speakers(rate=8000) as speakers:
        stream = await anext(speakers)
        assert (stream.participant, (await anext(stream)).pcm) == ("p-8", PCM)


async def test_opening_outlasts_a_lost_connection(autojump_clock: trio.testing.MockClock) -> None:
    async def first(visit: Visit) -> None:
        await visit.receive()

    async def second(visit: Visit) -> None:
        await visit.resume(snapshot())
        await visit.answer(AudioListening(stream=1))
        await visit.send_audio(1, PCM)

    async with connected(first, second) as connection, connection.mixed(rate=8000) as stream:
        assert (await anext(stream)).pcm == PCM


async def test_readers_get_the_error_once_the_connection_is_lost_for_good(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        await visit.answer(AudioListening(stream=2))
        await visit.send_audio(1, PCM)
        await visit.websocket.aclose(4010, "ended")

    async with connected(serve) as connection, connection.mixed(rate=8000) as stream:
        with pytest.raises(voicebot.ConnectionLostError, match="ended"):
            await anext(connection.speakers())
        assert (await anext(stream)).pcm == PCM
        for reader in (stream, connection.mixed(), connection.speakers()):
            with pytest.raises(voicebot.ConnectionLostError, match="ended"):
                await anext(reader)


async def test_garbage_between_frames_is_counted_and_skipped(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        for garbage in (b"", b"\x01" * 15, b"\x02" + bytes(15), b"\x01" + bytes(16), b"\x01" + bytes(17)):
            await visit.websocket.send_message(garbage)
        await visit.send_audio(1, PCM)

    async with connected(serve) as connection, connection.mixed(rate=8000) as stream:
        assert (await anext(stream)).pcm == PCM
        assert connection.statistics().unreadable_frames == 5


async def test_frames_of_no_stream_of_ours_are_declined_once(autojump_clock: trio.testing.MockClock) -> None:
    told = []

    async def serve(visit: Visit) -> None:
        for _ in range(3):
            await visit.send_audio(9, PCM)
        told.append((await visit.answer(Ok())).message)
        with trio.move_on_after(1):
            told.append(await visit.receive())

    async with connected(serve):
        await trio.sleep(2)
        assert told == [AudioUnlisten(stream=9)]


async def test_stream_may_end_with_its_last_frame(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        await visit.send_audio(1, PCM, end=True)

    async with connected(serve) as connection, connection.mixed(rate=8000) as stream:
        assert [frame.pcm async for frame in stream] == [PCM]
        assert stream.ended == "ended"


async def test_subscription_that_nobody_reads_any_more_is_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told = trio.Event()

    async def serve(visit: Visit) -> None:
        await visit.answer(AudioListening(stream=1))
        await visit.send(AudioStreamStarted(subscription=1, stream=2, participant_id="p-8"))
        await trio.sleep(1)
        await visit.send(AudioStreamStarted(subscription=1, stream=3, participant_id="p-9"))
        assert (await visit.answer(Ok())).message == AudioUnlisten(stream=1)
        await visit.send(AudioStreamStarted(subscription=1, stream=4, participant_id="p-7"))
        await visit.send_audio(4, PCM)
        told.set()

    async with connected(serve) as connection:
        async for stream in connection.speakers(rate=8000):
            assert stream.participant == "p-8"
            break
        gc.collect()
        await told.wait()
        await trio.sleep(1)
        assert stream.ended == "closed"


async def test_stream_that_was_closed_before_it_was_read_is_not_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(_visit: Visit) -> None:
        pass

    async with connected(serve) as connection:
        stream = connection.mixed()
        await stream.aclose()
        assert [frame async for frame in stream] == []
        speakers = connection.speakers()
        await speakers.aclose()
        assert [each async for each in speakers] == []


async def test_opening_that_takes_too_long_fails_and_is_undone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told = trio.Event()

    async def serve(visit: Visit) -> None:
        asked = await visit.receive()
        await trio.sleep(11)
        await visit.send(AudioListening(stream=1), asked.id)
        await visit.send_audio(1, PCM)
        assert (await visit.answer(Ok())).message == AudioUnlisten(stream=1)
        told.set()

    async with connected(serve) as connection:
        with pytest.raises(voicebot.RequestTimeoutError):
            await anext(connection.mixed())
        await told.wait()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [({"rate": 44100}, "rate must be one of 8000, 16000"), ({"frame_ms": 10}, "frame_ms must be one of 20")],
)
async def test_what_the_relay_does_not_speak_is_refused_at_once(
    autojump_clock: trio.testing.MockClock, arguments: dict[str, int], fault: str
) -> None:
    async def serve(_visit: Visit) -> None:
        pass

    async with connected(serve) as connection:
        for method in (connection.mixed, connection.speakers):
            with pytest.raises(ValueError, match=fault):
                method(**arguments)
