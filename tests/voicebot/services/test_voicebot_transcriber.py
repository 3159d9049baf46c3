"""The transcriber in a fake lobby, with a Deepgram of our own: who said what, when, and what is missing. Virtual time."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from deepgram_server import KEY, DeepgramServer, open_deepgram, speech

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.bot import Assignment
from voicebot.errors import VoicebotError
from voicebot.services.api_key import ApiKey
from voicebot.services.deepgram import DeepgramSettings
from voicebot.services.errors import MissingKeyError
from voicebot.testing import FakeLobby, Person, RunningBot
from voicebot.transcriber import Transcriber, TranscriberSettings
from voicebot.transcript_file import transcript_path

SETTINGS = TranscriberSettings(DeepgramSettings(key=ApiKey(KEY), base_url="ws://deepgram.example"))
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


class Room:
    """A lobby with a transcriber in it."""

    def __init__(self, lobby: FakeLobby, server: DeepgramServer, settings: TranscriberSettings) -> None:
        self.lobby = lobby
        self.server = server
        self.settings = settings
        self.reports: list[str] = []
        self.running: RunningBot

    def make(self, assignment: Assignment) -> Transcriber:
        return Transcriber(
            assignment,
            settings=self.settings,
            breaker=CircuitBreaker("Deepgram"),
            open_stream=self.server.host.open_stream,
            report=self.reports.append,
            now=lambda: NEW_YEAR + timedelta(milliseconds=self.lobby.now_ms),
        )

    async def enter(self, **config) -> Transcriber:
        self.running = await self.lobby.start(self.make, name="Scribe", config={"notice": "", **config})
        await trio.sleep(0.1)
        assert isinstance(self.running.bot, Transcriber)
        return self.running.bot

    def lines(self) -> list[str]:
        return [line.text for line in self.lobby.chat if line.name == "Scribe"]

    async def wait_lines(self, count: int) -> list[str]:
        with trio.fail_after(60):
            await self.lobby.wait_for(lambda: len(self.lines()) >= count)
        return self.lines()


@asynccontextmanager
async def room(settings: TranscriberSettings = SETTINGS) -> AsyncIterator[Room]:
    async with open_deepgram() as server, FakeLobby() as lobby:
        yield Room(lobby, server, settings)
        lobby._tasks.cancel_scope.cancel()


def say(person: Person, text: str) -> None:
    person.say(speech(text, rate=16000), 16000)


async def test_speakers_who_talk_at_once_are_told_apart(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        await there.enter()
        ann, bob = there.lobby.add_participant("Ann"), there.lobby.add_participant("Bob")
        say(ann, "one two three . four")
        say(bob, "six seven eight nine .")
        lines = await there.wait_lines(3)
        assert sorted(lines) == ["Ann: four", "Ann: one two three", "Bob: six seven eight nine"]
        assert len(there.server.host.calls) == 2


async def test_people_are_told_that_they_are_written_down(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        await there.enter(notice="Ann, mind your words.")
        assert await there.wait_lines(1) == ["Ann, mind your words."]
    async with room() as there:
        there.running = await there.lobby.start(there.make, name="Scribe")
        assert await there.wait_lines(1) == ["What is said here is written down."]


async def test_turns_are_kept_in_a_file_with_their_times(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    directory = tmp_path / "kept"
    async with room(replace(SETTINGS, directory=directory)) as there:
        await there.enter(file=True, chat=False)
        ann = there.lobby.add_participant("Ann")
        began = []
        for text in ("one two .", "three ."):
            began.append(there.lobby.now_ms)
            say(ann, text)
            await trio.sleep(40)  # the room is silent, and Deepgram hears nothing of that
        path = transcript_path(directory, "l-1", "b-1")
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert [record["text"] for record in records] == ["one two", "three"]
        first, second = records
        assert first | {"at": "", "until": ""} == {
            "type": "turn",
            "participant_id": ann.participant_id,
            "name": "Ann",
            "at": "",
            "until": "",
            "text": "one two",
            "confidence": 0.9,
            "ended_by": "speech_final",
        }
        for record, since_ms, length_ms in ((first, began[0], 400), (second, began[1], 200)):
            at, until = (datetime.fromisoformat(record[key]) for key in ("at", "until"))
            assert (at - NEW_YEAR) / timedelta(milliseconds=1) == pytest.approx(since_ms, abs=60)
            assert (until - at) / timedelta(milliseconds=1) == pytest.approx(length_ms, abs=1)
        assert there.lines() == []
        assert path.stat().st_mode & 0o077 == 0
        # The 80 s of silence cost next to nothing.
        assert len(there.server.audio) < 2 * 16000 * 10


async def test_bots_are_not_written_down_unless_wanted(autojump_clock: trio.testing.MockClock) -> None:
    for wanted, expected in ((False, ["Ann: one"]), (True, ["Ann: one", "Robot: two"])):
        async with room() as there:
            await there.enter(bots=wanted)
            say(there.lobby.add_participant("Ann"), "one .")
            say(there.lobby.add_participant("Robot", is_bot=True), "two .")
            await there.lobby.wait_silence()
            await trio.sleep(3)
            assert sorted(there.lines()) == expected


async def test_speakers_beyond_the_limit_are_told_once(autojump_clock: trio.testing.MockClock) -> None:
    async with room(replace(SETTINGS, max_speakers=1)) as there:
        await there.enter()
        for name, text in (("Ann", "one ."), ("Bob", "two ."), ("Cat", "three .")):
            await there.lobby.add_participant(name).speak(speech(text))
        await trio.sleep(3)
        assert sorted(there.lines()) == [
            "Ann: one",
            "More than 1 people speak: not all of it is written down.",
        ]


async def test_last_words_of_who_leaves_are_written_down(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        bot = await there.enter()
        ann = there.lobby.add_participant("Ann")
        await ann.speak(speech("one two"))
        assert list(bot.statistics()) == [ann.participant_id]
        ann.leave()
        assert await there.wait_lines(1) == ["Ann: one two"]
        await trio.sleep(6)
        assert bot.statistics() == {}
        assert there.server.heard[-1] == "CloseStream"


async def test_outage_is_told_once_and_what_is_missing_after_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with room(replace(SETTINGS, directory=tmp_path)) as there:
        await there.enter(file=True)
        ann, bob = there.lobby.add_participant("Ann"), there.lobby.add_participant("Bob")
        say(ann, "one .")
        say(bob, "two .")
        await there.wait_lines(2)
        there.server.host.away = True
        for call in there.server.host.calls:
            await call.cut()
        say(ann, "three four . " * 20)  # 18 s
        say(bob, "five six . " * 20)
        await there.lobby.wait_silence()
        lines = await there.wait_lines(3)
        assert lines[2].startswith("Nothing is written down for now: Deepgram ")
        there.server.host.away = False
        lines = await there.wait_lines(4)
        assert lines[3].startswith("What is said is written down again; ")
        assert "s are missing." in lines[3]
        say(ann, "ten .")
        lines = await there.wait_lines(5)
        assert lines[4] == "Ann: ten"
        path = transcript_path(tmp_path, "l-1", "b-1")
        for _ in range(100):  # a thread writes them
            records = map(json.loads, path.read_text().splitlines())
            missing = [record for record in records if record["type"] == "missing"]
            if len(missing) == 2:
                break
            await trio.to_thread.run_sync(time.sleep, 0.05)
        assert {record["name"] for record in missing} == {"Ann", "Bob"}
        assert all(15_000 < record["lost_ms"] < 20_000 for record in missing)
        assert there.reports


async def test_short_outage_is_not_told(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        await there.enter()
        ann = there.lobby.add_participant("Ann")
        say(ann, "one .")
        await there.wait_lines(1)
        await there.server.host.calls[0].cut()
        await there.server.host.wait_calls(2)
        await trio.sleep(10)
        say(ann, "two .")
        assert await there.wait_lines(2) == ["Ann: one", "Ann: two"]


async def test_dead_service_holds_up_nobody_and_the_bot_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        there.server.host.away = True
        bot = await there.enter()
        ann = there.lobby.add_participant("Ann")
        began_ms = there.lobby.now_ms
        await ann.speak(speech("one two . " * 20))  # 18 s
        assert there.lobby.now_ms - began_ms == pytest.approx(18_000, abs=100)
        (statistics,) = bot.statistics().values()
        assert statistics.dropped_audio_ms > 15_000
        assert len(there.server.host.attempts) < 10
        ann.leave()
        await trio.sleep(3)
        assert bot.statistics() == {}


async def test_refused_key_ends_the_bot_and_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async def run() -> None:
        async with room() as there:
            there.server.host.authorization = "Token another"
            await there.enter()
            await there.lobby.add_participant("Ann").speak(speech("one ."))
            await trio.sleep(10)

    with pytest.raises(VoicebotError, match="Deepgram answered HTTP 401"):
        await run()


async def test_file_that_cannot_be_written_ends_the_bot(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    (tmp_path / "file").write_text("")

    async def run() -> None:
        async with room(replace(SETTINGS, directory=tmp_path / "file")) as there:
            await there.enter(file=True)
            await there.lobby.add_participant("Ann").speak(speech("one ."))
            await trio.sleep(10)

    with pytest.raises(OSError, match="exists"):
        await run()


async def test_long_turn_is_cut_to_a_line_of_chat(autojump_clock: trio.testing.MockClock) -> None:
    async with room() as there:
        await there.enter()
        ann = there.lobby.add_participant("A" * 60)
        ann.say(speech("seven eight " * 210 + ".", word_ms=20))
        (line,) = await there.wait_lines(1)
        assert line == f"{'A' * 60}: {'seven eight ' * 210}"[:2000].strip()


def test_config_decides_what_the_service_is_asked_for() -> None:
    config = {"language": "de", "keyterms": ["Trio"], "endpointing_ms": 500}
    bot = Transcriber(Assignment("b", "x", "l", "", "T", config), settings=SETTINGS)
    assert (bot._deepgram.language, bot._deepgram.keyterms, bot._deepgram.endpointing_ms) == (
        "de",
        ("Trio",),
        500,
    )
    with pytest.raises(ValueError, match="no transcripts are kept here"):
        Transcriber(Assignment("b", "x", "l", "", "T", {"file": True}), settings=SETTINGS)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = TranscriberSettings.from_environment(
        {"DEEPGRAM_API_KEY": "k", "RELAY_TRANSCRIPTS": str(tmp_path)}
    )
    assert settings.directory == tmp_path
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    with pytest.raises(MissingKeyError):
        Transcriber(Assignment("b", "x", "l", "", "T", {}))


def test_bot_that_nobody_asked_for_has_a_file_of_its_own(tmp_path: Path) -> None:
    settings = replace(SETTINGS, directory=tmp_path)
    bot = Transcriber(
        Assignment("", "my garden", "", "", "T", {"file": True}), settings=settings, now=lambda: NEW_YEAR
    )
    assert bot._file is not None
    assert bot._file.path == tmp_path / "my_garden-20260101-000000.jsonl"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "x" * 300, ".", "é\x00"])
def test_file_stays_in_its_directory_whatever_the_ids_are(name: str, tmp_path: Path) -> None:
    path = transcript_path(tmp_path, name, name)
    assert path.parent == tmp_path
    assert path.resolve().parent == tmp_path.resolve()
    assert len(path.name) < 200
