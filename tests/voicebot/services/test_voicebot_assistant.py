"""The assistant in a fake lobby, with a Realtime API of our own: what is said, heard, interrupted and remembered. Virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import numpy as np
import pytest
import trio
import trio.testing
from realtime_server import KEY, RATE, RealtimeServer, open_realtime

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.assistant import Assistant
from voicebot.errors import VoicebotError
from voicebot.services.api_key import ApiKey
from voicebot.services.openai_realtime import RealtimeSettings
from voicebot.speech import HeardSpan
from voicebot.testing import FakeLobby, RunningBot, tone
from voicebot.voice_memory import MEMORY_LENGTH, MEMORY_LINES, VoiceMemory

SETTINGS = RealtimeSettings(key=ApiKey(KEY), base_url="https://realtime.example/v1")


class Room:
    """A lobby with Ann and the assistant in it."""

    def __init__(self, lobby: FakeLobby, server: RealtimeServer) -> None:
        self.lobby = lobby
        self.server = server
        self.ann = lobby.add_participant("Ann")
        self.reports: list[str] = []
        self.running: RunningBot

    @property
    def bot(self) -> Assistant:
        assert isinstance(self.running.bot, Assistant)
        return self.running.bot

    @property
    def talk(self):
        return self.server.conversations[-1]

    async def enter(self, **config) -> None:
        self.running = await self.lobby.start(self.make, config=config)
        await trio.sleep(0.1)

    def make(self, assignment) -> Assistant:
        return Assistant(
            assignment,
            settings=SETTINGS,
            breaker=CircuitBreaker("OpenAI Realtime"),
            open_stream=self.server.host.open_stream,
            report=self.reports.append,
        )

    async def ask(self, seconds: float = 0.4) -> None:
        """Let Ann say something, and wait until the bot is heard."""
        before = len(self.lobby.heard())
        self.ann.say(tone(300, seconds))
        await self.lobby.wait_for(
            lambda: len(self.lobby.heard()) > before and self.lobby.heard()[before].began_ms is not None
        )

    def truncations(self) -> dict[str, int]:
        return {
            item.item_id: item.truncated_ms
            for talk in self.server.conversations
            for item in talk.items.values()
            if item.truncated_ms is not None
        }


@asynccontextmanager
async def room(**config) -> AsyncIterator[Room]:
    async with open_realtime() as server, FakeLobby() as lobby:
        there = Room(lobby, server)
        await there.enter(**config)
        yield there
        await there.running.stop()


async def test_assistant_answers_by_voice(autojump_clock: trio.testing.MockClock) -> None:
    async with room(instructions="Be a pirate.", voice="ash", language="fr") as there:
        await there.ask()
        await there.lobby.wait_silence()
        (heard,) = there.lobby.heard()
        assert (heard.ended, heard.played_ms, heard.rate) == ("done", pytest.approx(2000), RATE)
        assert (heard.samples == there.server.level).all()
        # The end of the utterance is silence of half a second; what follows is ours.
        said_until_ms = 100 + 400
        assert heard.began_ms - said_until_ms < 700
        session = there.talk.settings
        assert session["instructions"] == "Be a pirate."
        assert session["audio"]["output"]["voice"] == "ash"
        assert session["audio"]["input"]["transcription"]["language"] == "fr"
        assert there.truncations() == {}
        assert there.bot.statistics().responses == 1


async def test_model_hears_the_lobby_and_not_the_bot(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        bob = there.lobby.add_participant("Bob")
        there.ann.say(tone(300, 0.5))
        await bob.speak(tone(1000, 0.5))
        await trio.sleep(5)
        samples = np.frombuffer(bytes(there.talk.audio), "<i2").astype(float)
        loud = samples[: RATE // 2]
        spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
        found = {round(each * RATE / len(loud), -2) for each in np.argsort(spectrum)[-6:]}
        assert found == {300.0, 1000.0}
        assert there.lobby.heard()[0].played_ms > 0
        assert not (samples == there.server.level).any()


@pytest.mark.parametrize("after_s", [0.013, 0.5, 1.234, 2.9])
async def test_interruption_truncates_to_what_was_heard(
    after_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with room() as there:
        there.server.answer_s = (5.0,)
        await there.ask()
        await trio.sleep(after_s)
        there.ann.say(tone(300, 0.3))
        await there.lobby.wait_for(lambda: there.lobby.heard()[0].ended is not None)
        await trio.sleep(0.1)
        heard = there.lobby.heard()[0]
        assert heard.ended == "cleared"
        # The model hears Ann in frames of 40 ms, and is silent at the next tick.
        assert after_s * 1000 <= heard.played_ms <= after_s * 1000 + 100
        truncated = there.truncations()
        assert truncated == {"r-1-i0": pytest.approx(heard.played_ms, abs=20)}
        assert truncated["r-1-i0"] <= heard.played_ms
        assert there.talk.errors == []
        assert there.bot.statistics().interruptions == 1


async def test_interruption_truncates_each_item_that_waits(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        there.server.answer_s = (1.0, 1.5, 2.0)
        await there.ask()
        await trio.sleep(1.8)
        there.ann.say(tone(300, 0.3))
        await there.lobby.wait_for(lambda: there.lobby.heard()[0].ended is not None)
        await trio.sleep(0.1)
        heard_ms = there.lobby.heard()[0].played_ms
        # The first was heard to its end, the second in part, the third not at all.
        assert there.truncations() == {"r-1-i1": pytest.approx(heard_ms - 1000, abs=20), "r-1-i2": 0}
        assert there.talk.errors == []


async def test_interruption_covers_responses_that_wait(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        await there.ask()
        there.server._nursery.start_soon(there.server._answer, there.talk)  # another one follows on its heels
        await trio.sleep(0.5)
        there.ann.say(tone(300, 0.3))
        await there.lobby.wait_for(lambda: there.lobby.heard()[0].ended is not None)
        await trio.sleep(0.1)
        heard = there.lobby.heard()
        assert [each.ended for each in heard] == ["cleared", "cleared"]
        assert heard[1].played_ms == 0
        assert there.truncations() == {"r-1-i0": pytest.approx(heard[0].played_ms, abs=20), "r-2-i0": 0}


async def test_response_under_way_is_cancelled_and_no_more_of_it_is_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with room() as there:
        there.server.interrupts = False
        there.server.linger_s = 10.0
        await there.ask()
        await trio.sleep(0.5)
        there.ann.say(tone(300, 0.3))
        await there.lobby.wait_for(lambda: there.lobby.heard()[0].ended is not None)
        # What was on its way comes after the interruption.
        about = {"response_id": "r-1", "item_id": "r-1-i0", "output_index": 0, "content_index": 0}
        await there.talk.send("response.output_audio.delta", **about, delta="AAAA" * 1000)
        await trio.sleep(0.2)
        assert there.talk.cancelled == ["r-1"]
        assert len(there.lobby.heard()) == 1
        assert there.bot.statistics().dropped_speech_ms == pytest.approx(3000 / 2 / RATE * 1000)


async def test_two_interruptions_in_one_conversation(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        there.server.answer_s = (3.0,)
        for number in range(2):
            await there.ask()
            await trio.sleep(0.7)
            there.ann.say(tone(300, 0.2))
            await there.lobby.wait_for(
                lambda number=number: there.lobby.heard()[2 * number].ended == "cleared"
            )
            await there.lobby.wait_silence()
            await trio.sleep(4)
        heard = there.lobby.heard()
        # Each interruption is a question as well, and is answered to the end.
        assert [each.ended for each in heard] == ["cleared", "done", "cleared", "done"]
        truncated = there.truncations()
        assert truncated == {
            "r-1-i0": pytest.approx(heard[0].played_ms, abs=20),
            "r-3-i0": pytest.approx(heard[2].played_ms, abs=20),
        }
        assert there.bot.statistics().interruptions == 2


async def test_speech_that_was_heard_to_its_end_is_no_interruption(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with room() as there:
        await there.ask()
        await there.lobby.wait_silence()
        await trio.sleep(1)
        await there.ask()
        await there.lobby.wait_silence()
        assert there.truncations() == {}
        assert there.bot.statistics().interruptions == 0
        assert there.talk.errors == []


async def test_dialect_without_ids_is_interrupted_as_well(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        await there.talk.send("response.created", response={})
        about = {"item_id": "i", "content_index": 0, "delta": "AAAA" * 16000}
        await there.talk.send("response.output_audio.delta", **about)
        await there.lobby.wait_for(
            lambda: bool(there.lobby.heard()) and there.lobby.heard()[0].began_ms is not None
        )
        await there.talk.send("input_audio_buffer.speech_started")
        await trio.sleep(0.1)
        await there.talk.send("response.output_audio.delta", **about)
        await trio.sleep(0.1)
        assert [each.ended for each in there.lobby.heard()] == ["cleared"]
        await there.talk.send("response.done", response={})
        await there.talk.send("response.created", response={})
        await there.talk.send("response.output_audio.delta", **about)
        await trio.sleep(0.5)
        assert len(there.lobby.heard()) == 2


async def test_answer_goes_on_to_its_end_when_the_service_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with room() as there:
        await there.ask()
        await there.server.host.calls[0].cut()
        await there.lobby.wait_silence()
        assert there.lobby.heard()[0].ended == "done"
        assert there.lobby.heard()[0].played_ms == pytest.approx(2000)
        await there.server.host.wait_calls(2)
        await trio.sleep(0.5)
        # The next conversation knows of the former.
        assert there.talk.texts == [("user", "What did you say?"), ("assistant", "This is r-1-i0 speaking.")]
        assert any("broke the connection" in each for each in there.reports)


async def test_answer_of_a_former_conversation_is_interrupted_without_a_word_to_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with room() as there:
        there.server.answer_s = (5.0,)
        await there.ask()
        await there.server.host.calls[0].cut()
        await there.server.host.wait_calls(2)
        await trio.sleep(1)
        there.ann.say(tone(300, 0.3))
        await there.lobby.wait_for(lambda: there.lobby.heard()[0].ended == "cleared")
        await trio.sleep(0.1)
        assert there.talk.errors == []
        assert there.truncations() == {}
        await there.server.host.calls[1].cut()
        await there.server.host.wait_calls(3)
        await trio.sleep(0.5)
        # But what was not heard of it is not in what the next is told.
        texts = [text for role, text in there.talk.texts if role == "assistant"]
        assert texts[0].startswith("This")
        assert texts[0].endswith("…")


async def test_answer_that_cannot_be_played_is_cancelled_and_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with room() as there:
        await there.running.connection.leave()
        there.server.linger_s = 5.0
        there.server._nursery.start_soon(there.server._answer, there.talk)
        await trio.sleep(1)
        assert there.reports[0].startswith("an answer could not be played: not_in_lobby")
        await there.talk.send("input_audio_buffer.speech_started", item_id="u")
        await trio.sleep(0.1)
        assert there.lobby.heard() == []
        assert there.truncations() == {"r-1-i0": 0}
        assert there.talk.cancelled == ["r-1"]


async def test_outage_leaves_no_backlog_and_the_bot_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        there.server.host.away = True
        await there.server.host.calls[0].cut()
        await there.ann.speak(tone(300, 20))
        there.server.host.away = False
        await there.server.host.wait_calls(2)
        await trio.sleep(0.5)
        assert len(there.talk.audio) <= 2 * RATE * 0.8  # 200 ms from before, and what came since
        await trio.sleep(5)
        before = len(there.lobby.heard())
        await there.ask()
        assert len(there.lobby.heard()) == before + 1


def loudness(samples: np.ndarray) -> list[int]:
    """Return how loud each 20 ms are."""
    size = RATE // 50
    return [int(np.abs(samples[at : at + size]).max()) for at in range(0, len(samples) // size * size, size)]


async def test_cough_makes_it_quieter_and_is_no_interruption(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        there.server.answer_s = (3.0,)
        await there.ask()
        there.server.start_samples = RATE // 2
        await trio.sleep(1)
        there.ann.say(tone(300, 0.3))
        await there.lobby.wait_silence()
        (heard,) = there.lobby.heard()
        assert (heard.ended, heard.played_ms) == ("done", pytest.approx(3000))
        full, quiet = there.server.level, round(there.server.level * 10 ** (-12 / 20))
        levels = loudness(heard.samples)
        assert set(levels) == {full, quiet}
        first = levels.index(quiet)
        assert 1000 <= first * 20 <= 1200
        assert levels[-1] == full
        assert 200 <= levels.count(quiet) * 20 <= 600


async def test_interruption_makes_it_quieter_before_the_model_notices(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for duck, levels_before in ((True, 2), (False, 1)):
        async with room(duck=duck) as there:
            there.server.answer_s = (5.0,)
            await there.ask()
            there.server.start_samples = RATE // 2
            await trio.sleep(1)
            there.ann.say(tone(300, 1.0))
            await there.lobby.wait_for(lambda there=there: there.lobby.heard()[0].ended == "cleared")
            await there.lobby.wait_silence()
            await trio.sleep(2)
            heard, answer = there.lobby.heard()
            assert len(set(loudness(heard.samples))) == levels_before
            assert there.truncations() == {"r-1-i0": pytest.approx(heard.played_ms, abs=20)}
            # What it says next is as loud as ever.
            assert set(loudness(answer.samples)) == {there.server.level}


@pytest.mark.parametrize("seed", range(4))
async def test_model_knows_what_was_heard_whenever_it_is_interrupted(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    random = Random(seed)
    async with room() as there:
        there.server.interrupts = random.random() < 0.5
        for _ in range(8):
            there.server.answer_s = tuple(random.uniform(0.005, 2.0) for _ in range(random.randint(1, 3)))
            there.server.linger_s = random.choice([0.0, 1.0])
            there.ann.say(tone(300, random.uniform(0.1, 0.5)))
            await trio.sleep(random.uniform(0.5, 3.0))
        await trio.sleep(10)
        heard_by_response = {f"r-{number + 1}": each for number, each in enumerate(there.lobby.heard())}
        assert len(heard_by_response) == there.bot.statistics().responses
        assert there.bot.statistics().interruptions > 0
        told = there.truncations()
        for response, heard in heard_by_response.items():
            left_ms = heard.played_ms
            for item in (
                each for each in there.talk.items.values() if each.item_id.startswith(f"{response}-")
            ):
                length_ms = item.samples * 1000 / RATE
                heard_ms = min(left_ms, length_ms)
                left_ms -= heard_ms
                believed_ms = told.get(item.item_id, length_ms)
                assert believed_ms == pytest.approx(heard_ms, abs=20), item
        assert "invalid_value" not in there.talk.errors


async def test_answer_that_our_own_connection_cuts_off_is_told_and_the_bot_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with room() as there:
        there.server.answer_s = (5.0,)
        await there.ask()
        await trio.sleep(1)
        await there.lobby.cut(there.running.connection)
        await trio.sleep(5)
        heard_ms = there.lobby.heard()[0].played_ms
        await there.ask()
        assert there.lobby.heard()[1].began_ms is not None
        # As the relay last told, every 100 ms.
        assert there.truncations() == {"r-1-i0": pytest.approx(heard_ms, abs=110)}
        assert there.truncations()["r-1-i0"] <= heard_ms


async def test_greeting_is_said_once(autojump_clock: trio.testing.MockClock) -> None:
    async with room(greet=True) as there:
        await there.lobby.wait_for(lambda: bool(there.lobby.heard()))
        await there.lobby.wait_silence()
        await there.server.host.calls[0].cut()
        await there.server.host.wait_calls(2)
        await trio.sleep(3)
        assert len(there.lobby.heard()) == 1


async def test_talk_without_an_end_is_cut_off_and_cancelled(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr("voicebot.assistant.MAX_SPEECH_S", 5.0)
    async with room() as there:
        there.server.answer_s = (40.0,)
        there.server.linger_s = 60.0
        await there.ask()
        await trio.sleep(2)
        assert there.talk.cancelled == ["r-1"]
        await there.lobby.wait_silence()
        # 5 s may wait, beside what the relay was given already.
        assert 5_000 <= there.lobby.heard()[0].played_ms <= 20_000
        assert there.bot.statistics().dropped_speech_ms > 20_000


async def test_errors_are_reported_and_end_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        await there.talk.send("error", error={"type": "server_error", "message": "we are sorry"})
        await there.talk.send("error", error={"code": "response_cancel_not_active", "message": "no"})
        await there.talk.send(
            "response.done",
            response={"id": "r", "status": "failed", "status_details": {"error": {"message": "no quota"}}},
        )
        await there.ask()
        assert there.reports == [
            "OpenAI Realtime says: we are sorry",
            "OpenAI Realtime could not answer: no quota",
        ]


async def test_refusal_ends_the_bot_and_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with open_realtime() as server:
        server.host.refusal = (401, b"bad key")

        async def run() -> None:
            async with FakeLobby() as lobby:
                await Room(lobby, server).enter()
                await trio.sleep(5)

        with pytest.raises(VoicebotError, match="OpenAI Realtime answered HTTP 401"):
            await run()


def test_memory_keeps_what_fits_and_was_heard() -> None:
    memory = VoiceMemory()
    for number in range(100):
        memory.add("user", f"line {number}")
    memory.add("assistant", "one two three four", "i-1")
    memory.add("assistant", " \n ")
    memory.cut(HeardSpan("i-1", 0, heard_ms=500, length_ms=1000, whole=False))
    lines = memory.lines()
    assert len(lines) == MEMORY_LINES
    assert lines[-1] == ("assistant", "one two t…")
    for _ in range(3):
        memory.add("user", "x" * (MEMORY_LENGTH // 2))
    assert len(memory.lines()) == 2
