"""Speech to text through outages: a Deepgram of our own at the far end, mostly in virtual time."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing
from deepgram_server import KEY, DeepgramServer, open_deepgram, speech

from signaling.outbound.circuit_breaker import BreakerState, CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.services.api_key import ApiKey
from voicebot.services.deepgram import DeepgramSettings
from voicebot.services.deepgram_stream import (
    Back,
    DeepgramStream,
    HeardSoFar,
    HeardSpeech,
    HeardTurn,
    Outage,
)
from voicebot.services.errors import ServiceRefusedError

RATE = 16000
SETTINGS = DeepgramSettings(key=ApiKey(KEY), base_url="ws://deepgram.example")
#: No dice: the n-th attempt waits exactly 2^n seconds, at most 8.
STEADY = Backoff(initial_s=1, factor=2, maximum_s=8, jitter=0, attempts=None)


def frames(pcm: bytes) -> Iterator[bytes]:
    """Cut audio into frames of 20 ms."""
    size = RATE // 50 * 2
    for at in range(0, len(pcm), size):
        yield pcm[at : at + size]


class Speaker:
    """Feeds a stream at the pace of speech; its clock goes on whether it speaks or not."""

    def __init__(self, stream: DeepgramStream) -> None:
        self.stream = stream
        self.timestamp = 0

    async def say(self, text: str, *, pause_ms: int = 0) -> None:
        for frame in frames(speech(text, rate=RATE, pause_ms=pause_ms)):
            await trio.sleep(0.02)
            self.feed(frame)

    def feed(self, frame: bytes) -> None:
        self.stream.feed(frame, self.timestamp)
        self.timestamp += len(frame) // 2

    def skip(self, seconds: float) -> None:
        self.timestamp += round(seconds * RATE)


@asynccontextmanager
async def transcribing(
    server: DeepgramServer, settings: DeepgramSettings = SETTINGS, breaker: CircuitBreaker | None = None
) -> AsyncIterator[tuple[DeepgramStream, Speaker]]:
    stream = DeepgramStream(
        settings,
        rate=RATE,
        breaker=breaker or CircuitBreaker("Deepgram", failures=3, open_seconds=30),
        backoff=STEADY,
        open_stream=None if settings.base_url.startswith("ws://127") else server.host.open_stream,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.run)
        yield stream, Speaker(stream)
        nursery.cancel_scope.cancel()


async def next_turn(stream: DeepgramStream) -> HeardTurn:
    async for heard in stream:
        if isinstance(heard, HeardTurn):
            return heard
    pytest.fail("the stream ended")


async def next_of(stream: DeepgramStream, kind):
    async for heard in stream:
        if isinstance(heard, kind):
            return heard
    pytest.fail("the stream ended")


async def test_turns_over_a_real_socket() -> None:
    with trio.fail_after(10):
        async with open_deepgram() as server:
            settings = replace(SETTINGS, base_url=await server.host.listen())
            async with transcribing(server, settings) as (stream, speaker):
                # Said while the connection is being opened, and not lost.
                for frame in frames(speech("one two three . four . five", rate=RATE)):
                    speaker.feed(frame)
                first, second = await next_turn(stream), await next_turn(stream)
                assert (first.text, second.text) == ("one two three", "four")
                times = [first.start_ms, first.end_ms, second.start_ms, second.end_ms]
                assert times == pytest.approx([0, 600, 1100, 1300])
                assert first.confidence == pytest.approx(0.9)
                stream.finish()
                rest = [heard async for heard in stream if isinstance(heard, HeardTurn)]
                assert [turn.text for turn in rest] == ["five"]
            assert server.heard == ["audio", "CloseStream"]


async def test_refused_key_ends_the_stream_and_is_not_told() -> None:
    with trio.fail_after(10):
        async with open_deepgram() as server:
            url = await server.host.listen()
            settings = replace(SETTINGS, base_url=url, key=ApiKey("dg-wrong"))
            async with transcribing(server, settings) as (stream, _):
                heard = [each async for each in stream]
            (outage,) = heard
            assert outage.final
            assert isinstance(outage.error, ServiceRefusedError)
            assert outage.error.status == 401
            assert str(outage.error).startswith("Deepgram answered HTTP 401 at 127.0.0.1")
            assert "dg-wrong" not in str(outage.error)
            assert len(server.host.attempts) == 1


async def test_turn_is_told_as_it_grows(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.say, "one two .")
            began = await next_of(stream, HeardSpeech)
            assert began.start_ms == pytest.approx(0)
            assert await next_of(stream, HeardSoFar) == HeardSoFar("one")
            turn = await next_turn(stream)
            assert (turn.text, turn.ended_by) == ("one two", "speech_final")
        assert trio.current_time() == pytest.approx(0.9, abs=0.1)


async def test_turn_ends_with_the_utterance_in_a_noisy_room(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        server.noisy_room = True
        await speaker.say("one two .")
        assert (await next_turn(stream)).ended_by == "utterance_end"


async def test_silence_is_bridged_by_keep_alives(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        await speaker.say("one .")
        await next_turn(stream)
        await trio.sleep(60)
        speaker.skip(60)
        await speaker.say("two .")
        turn = await next_turn(stream)
        assert turn.text == "two"
        # Its clock stood still meanwhile; ours did not.
        assert turn.start_ms == pytest.approx(60_700, abs=1)
        assert len(server.host.calls) == 1
        assert server.heard == ["audio", *["KeepAlive"] * 15, "audio"] or server.heard.count("KeepAlive") in {
            14,
            15,
        }


async def test_finalize_asks_for_what_was_said_so_far(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        await speaker.say("six seven")
        stream.finalize()
        turn = await next_turn(stream)
        assert (turn.text, turn.ended_by) == ("six seven", "finalize")


async def test_connection_that_breaks_is_replaced_without_a_backlog(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        await speaker.say("one two .")
        assert (await next_turn(stream)).text == "one two"
        server.cut_after = len(server.audio) + 2 * RATE // 5
        await speaker.say("three four five")  # cut after "three"
        server.host.away = True
        before = len(server.audio)
        await speaker.say(". six seven eight nine ten " * 10)
        server.host.away = False
        spoken_ms = speaker.timestamp * 1000 / RATE
        call = await server.host.wait_calls(2)
        assert call is server.host.calls[1]
        await speaker.say("four five .")
        outage = await next_of(stream, Outage)
        assert not outage.final
        back = await next_of(stream, Back)
        assert back.lost_ms == pytest.approx(stream.statistics().dropped_audio_ms)
        assert back.lost_ms > 12_000
        turn = await next_turn(stream)
        assert turn.text.endswith("four five")
        assert turn.start_ms >= spoken_ms - 220
        # What came after the outage is what was said after it, and no more than 200 ms from before.
        assert (
            len(server.audio) - before
            <= 2 * RATE * 0.2 + speaker.timestamp * 2 - spoken_ms / 1000 * RATE * 2 + 640
        )
        assert stream.statistics().connections == 2


async def test_words_that_were_final_survive_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        server.noisy_room = True
        await speaker.say("one two")
        # Final, but the turn is not over when it breaks.
        recognizer = server.recognizers[0]
        await server.host.calls[0].send(recognizer.results(final=True))
        await trio.sleep(0.1)
        await server.host.calls[0].cut()
        turn = await next_turn(stream)
        assert (turn.text, turn.ended_by) == ("one two", "closed")


async def test_service_that_takes_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server:
        # Streams without any buffer: a frame is sent when it is received.
        server.host.make_pair = trio.testing.lockstep_stream_pair
        async with transcribing(server) as (stream, speaker):
            server.freeze_after = RATE
            await speaker.say("one two three four five")
            await speaker.say(". one two three four five " * 3)
            outage = await next_of(stream, Outage)
            assert str(outage.error) == "Deepgram took nothing for 5 s"
            await next_of(stream, Back)
            # While it stalled no more than 200 ms waited: the rest is lost and counted.
            assert stream.statistics().dropped_audio_ms > 4500


async def test_service_that_never_says_a_word_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        server.mute = True
        await speaker.say("one two three four five . " * 16)
        outage = await next_of(stream, Outage)
        assert str(outage.error) == "Deepgram said nothing to 20 s of audio"


async def test_close_code_of_the_service_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, _):
        call = await server.host.wait_calls(1)
        await call.websocket.aclose(1011, "Deepgram did not receive audio data (NET-0001)")
        outage = await next_of(stream, Outage)
        assert "NET-0001" in str(outage.error)
        assert outage.error.code == 1011
        await server.host.wait_calls(2)


async def test_garbage_unknown_and_odd_messages_are_passed_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        server.noise = ["{", b"\x00\x01", '{"type": "Weather"}', '{"type": "Results"}', "null"]
        await speaker.say("one two .")
        assert (await next_turn(stream)).text == "one two"
        assert len(server.host.calls) == 1
        assert stream.statistics().unreadable_messages >= 4


async def test_error_message_costs_the_connection_only(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        call = await server.host.wait_calls(1)
        await call.send('{"type": "Error", "description": "out of cheese"}')
        assert "out of cheese" in str((await next_of(stream, Outage)).error)
        await server.host.wait_calls(2)
        await speaker.say("ten .")
        assert (await next_turn(stream)).text == "ten"


async def test_service_that_is_down_is_tried_ever_less_and_by_one_probe(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_deepgram() as server:
        server.host.refusal = (503, b"overloaded")
        breaker = CircuitBreaker("Deepgram", failures=3, open_seconds=30)
        async with (
            transcribing(server, breaker=breaker) as (stream, _),
            transcribing(server, breaker=breaker) as (other, _),
        ):
            await trio.sleep(29)
            assert breaker.state is BreakerState.OPEN
            # Three failures between two streams, and then silence.
            assert len(server.host.attempts) in {3, 4}
            for each in (stream, other):
                assert "HTTP 503" in str((await next_of(each, Outage)).error)
            server.host.refusal = None
            await next_of(stream, Back)
            await next_of(other, Back)
            assert breaker.state is BreakerState.CLOSED
            assert trio.current_time() < 45


async def test_stream_that_is_finished_during_an_outage_ends_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_deepgram() as server:
        server.host.away = True
        async with transcribing(server) as (stream, _):
            await next_of(stream, Outage)
            began = trio.current_time()
            stream.finish()
            assert [heard async for heard in stream if not isinstance(heard, Outage)] == []
            assert trio.current_time() == began


async def test_stream_that_is_finished_waits_for_the_last_words_but_not_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        await speaker.say("one")
        server.host.calls[0].freeze()
        began = trio.current_time()
        stream.finish()
        async for _ in stream:
            pass
        assert trio.current_time() - began == pytest.approx(5)


async def test_reader_that_is_slow_loses_the_oldest(autojump_clock: trio.testing.MockClock) -> None:
    async with open_deepgram() as server, transcribing(server) as (stream, speaker):
        for _ in range(8):
            await speaker.say("one two three four .")
        statistics = stream.statistics()
        assert statistics.dropped_results > 0
        assert statistics.dropped_audio_ms == 0
