"""A conversation by voice through outages: a Realtime API of our own at the far end, mostly in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import trio
import trio.testing
from realtime_server import KEY, RATE, RealtimeServer, open_realtime

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.services.api_key import ApiKey
from voicebot.services.errors import ServiceError, ServiceRefusedError
from voicebot.services.openai_realtime import (
    AudioDelta,
    ErrorEvent,
    RealtimeSettings,
    ResponseDone,
    SpeechStarted,
    create_response,
    text_item,
)
from voicebot.services.realtime_session import Connected, Lost, RealtimeSession

SETTINGS = RealtimeSettings(
    key=ApiKey(KEY), base_url="https://realtime.example/v1", instructions="Be kind.", language="en"
)
STEADY = Backoff(initial_s=1, factor=2, maximum_s=8, jitter=0, attempts=None)
VOICE = np.full(RATE // 50, 1000, "<i2").tobytes()
SILENCE = bytes(len(VOICE))


@dataclass
class Ears:
    """What a session has handed up."""

    events: list = field(default_factory=list)
    _more: trio.Event = field(default_factory=trio.Event)
    ended: BaseException | None = None

    async def handle(self, event) -> None:
        self.events.append(event)
        self._more.set()
        self._more = trio.Event()

    async def wait(self, kind, count: int = 1):
        while len(self.of(kind)) < count:
            await self._more.wait()
        return self.of(kind)[count - 1]

    def of(self, kind) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def conversing(
    server: RealtimeServer, settings: RealtimeSettings = SETTINGS, recall=lambda: ()
) -> AsyncIterator[tuple[RealtimeSession, Ears]]:
    ears = Ears()
    session = RealtimeSession(
        settings,
        breaker=CircuitBreaker("OpenAI Realtime", failures=3, open_seconds=30),
        handle=ears.handle,
        recall=recall,
        backoff=STEADY,
        open_stream=None if "127.0.0.1" in settings.base_url else server.host.open_stream,
    )

    async def run() -> None:
        try:
            await session.run()
        except ServiceError as error:
            await ears.handle(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield session, ears
        nursery.cancel_scope.cancel()


async def speak(session: RealtimeSession, seconds: float, *, voice: bytes = VOICE, start: int = 0) -> None:
    for number in range(round(seconds * 50)):
        await trio.sleep(0.02)
        session.feed(voice, start + number * len(voice) // 2)


async def test_conversation_over_a_real_socket() -> None:
    with trio.fail_after(10):
        async with open_realtime() as server:
            url = (await server.host.listen()).replace("ws://", "http://") + "/v1"
            async with conversing(server, replace(SETTINGS, base_url=url)) as (session, ears):
                # Said while the connection is being opened, and not lost.
                for frame in [VOICE] * 5 + [SILENCE] * 26:
                    session.feed(frame, 0)
                await ears.wait(SpeechStarted)
                done = await ears.wait(ResponseDone)
                assert done == ResponseDone("r-1", "completed", "")
                deltas = ears.of(AudioDelta)
                assert sum(len(each.pcm) for each in deltas) == 2 * 2 * RATE
                assert {(each.response_id, each.item_id) for each in deltas} == {("r-1", "r-1-i0")}
            (talk,) = server.conversations
            assert talk.settings == {
                "type": "realtime",
                "model": "gpt-realtime",
                "output_modalities": ["audio"],
                "instructions": "Be kind.",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "turn_detection": {"type": "server_vad"},
                        "transcription": {"model": "gpt-4o-mini-transcribe", "language": "en"},
                    },
                    "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
                },
            }


async def test_refused_key_ends_it_and_is_not_told() -> None:
    with trio.fail_after(10):
        async with open_realtime() as server:
            url = await server.host.listen() + "/v1"
            settings = replace(SETTINGS, base_url=url, key=ApiKey("sk-wrong"))
            async with conversing(server, settings) as (_, ears):
                error = await ears.wait(ServiceRefusedError)
            assert error.status == 401
            assert "sk-wrong" not in str(error)
            assert len(server.host.attempts) == 1


async def test_names_of_the_beta_are_understood(autojump_clock: trio.testing.MockClock) -> None:
    async with open_realtime() as server, conversing(server) as (session, ears):
        server.old_names = True
        await ears.wait(Connected)
        assert session.say(create_response())
        await ears.wait(ResponseDone)
        assert len(ears.of(AudioDelta)) == 10


async def test_error_events_garbage_and_unknown_ones_do_not_end_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime() as server, conversing(server) as (session, ears):
        server.noise = [
            "{",
            b"\xff",
            "[]",
            '{"type": "response.output_audio.delta", "delta": "?"}',
            '{"type": "weather.updated"}',
            '{"type": "error", "error": {"message": "hm"}}',
            '{"type": "error"}',
            '{"type": "error", "error": 7}',
        ]
        await ears.wait(Connected)
        session.say({"type": "no.such.thing"})
        assert (await ears.wait(ErrorEvent)).code == "unknown_event"
        session.say(create_response())
        await ears.wait(ResponseDone)
        assert len(server.conversations) == 1
        statistics = session.statistics()
        assert (statistics.errors, statistics.unreadable_events) == (3, 5)


async def test_conversation_that_breaks_is_replaced_without_a_backlog(
    autojump_clock: trio.testing.MockClock,
) -> None:
    memory = [text_item("user", "I am Ada."), text_item("assistant", "Hello Ada.")]
    async with open_realtime() as server, conversing(server, recall=lambda: memory) as (session, ears):
        assert await ears.wait(Connected) == Connected(again=False)
        await speak(session, 1)
        server.host.away = True
        await server.host.calls[0].cut()
        assert "broke the connection" in str((await ears.wait(Lost)).error)
        assert not session.connected
        assert not session.say(create_response())
        await speak(session, 20, start=RATE)
        server.host.away = False
        session_was_back = await ears.wait(Connected, 2)
        assert session_was_back == Connected(again=True)
        await speak(session, 0.5, start=21 * RATE)
        await trio.sleep(0.1)
        talk = server.conversations[1]
        assert talk.texts == [("user", "I am Ada."), ("assistant", "Hello Ada.")]
        # What is heard now is what was said now, and at most 200 ms from before.
        assert len(talk.audio) <= 2 * RATE * (0.5 + 0.2 + 0.04)
        assert len(talk.audio) >= 2 * RATE * 0.5
        assert session.statistics().dropped_audio_ms > 19_000


async def test_service_that_takes_nothing_is_left_without_a_backlog(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime() as server:
        server.host.make_pair = trio.testing.lockstep_stream_pair
        async with conversing(server) as (session, ears):
            await ears.wait(Connected)
            await speak(session, 1)
            server.host.calls[0].freeze()
            await speak(session, 10, start=RATE)
            assert "took nothing for 5 s" in str((await ears.wait(Lost)).error)
            await ears.wait(Connected, 2)
            assert session.statistics().dropped_audio_ms > 4500


async def test_service_that_begins_no_session_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_realtime() as server, conversing(server) as (_, ears):
        server.mute = True
        lost = await ears.wait(Lost)
        assert "began no session within 5 s" in str(lost.error)
        server.mute = False
        assert await ears.wait(Connected) == Connected(again=False)


async def test_service_that_went_silent_is_found_out_by_its_pongs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime() as server, conversing(server) as (_, ears):
        await ears.wait(Connected)
        server.host.calls[0].freeze()
        lost = await ears.wait(Lost)
        assert "sent no pong within 15 s" in str(lost.error)
        assert trio.current_time() == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    ("code", "text"),
    [("invalid_api_key", "refused: no"), ("bad_voice", "did not take the session's settings")],
)
async def test_settings_that_are_not_taken_end_it(
    code: str, text: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_realtime() as server:
        server.update_error = code
        async with conversing(server) as (_, ears):
            assert text in str(await ears.wait(ServiceRefusedError))


async def test_session_that_expires_is_begun_anew(autojump_clock: trio.testing.MockClock) -> None:
    async with open_realtime() as server, conversing(server) as (_, ears):
        await ears.wait(Connected)
        talk = server.conversations[0]
        await talk.send(
            "error",
            error={"type": "invalid_request_error", "code": "session_expired", "message": "60 minutes"},
        )
        await talk.call.websocket.aclose(1001, "expired")
        assert "expired" in str((await ears.wait(Lost)).error)
        assert (await ears.wait(ErrorEvent)).code == "session_expired"
        assert await ears.wait(Connected, 2) == Connected(again=True)


def test_settings_come_from_the_environment() -> None:
    settings = RealtimeSettings.from_environment(
        {
            "OPENAI_REALTIME_URL": "http://127.0.0.1:9000/v1/",
            "OPENAI_REALTIME_MODEL": "m x",
            "OPENAI_REALTIME_VOICE": "v",
        }
    )
    assert settings.key is None
    assert settings.url() == "ws://127.0.0.1:9000/v1/realtime?model=m+x"
    assert SETTINGS.url() == "wss://realtime.example/v1/realtime?model=gpt-realtime"
    assert KEY not in repr(SETTINGS)
    with pytest.raises(ValueError, match="expected a base URL"):
        replace(SETTINGS, base_url="ftp://x")
