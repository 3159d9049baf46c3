"""docs/voicebots.md says what the code does: its examples run, its tables are complete, its figures are true."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import voicebot
from voicebot.audio import inbox, playing
from voicebot.audio.pcm import HIGHEST_RATE, LOWEST_RATE, RATES
from voicebot.command import app
from voicebot.testing import FakeLobby, tone

PAGE = (Path(__file__).parents[2] / "docs/voicebots.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def block(containing: str) -> str:
    (found,) = [each for each in BLOCKS if containing in each]
    return found


def first_column(after: str) -> set[str]:
    """The names in the first column of the table that follows these words."""
    table = PAGE.split(after, 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    return set(
        re.findall(
            r"`(\w+)`", " ".join(row.split("|")[0 if row[0] != "|" else 1] for row in table.split("\n"))
        )
    )


async def run_snippet(code: str, **names: Any) -> dict[str, Any]:
    """Run code that may `await`, as it is on the page."""
    compiled = compile(code, "docs/voicebots.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names |= {"voicebot": voicebot, "trio": trio}
    running = eval(compiled, names)
    if running is not None:
        await running
    return names


async def test_first_bot_and_its_test_work(autojump_clock: trio.testing.MockClock) -> None:
    names = await run_snippet(block("class Parrot") + block("def test_parrot"))
    assert issubclass(names["Parrot"], voicebot.Bot)
    await names["test_parrot_repeats_what_ann_said"](autojump_clock)


async def test_script_without_a_class_works(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeLobby() as lobby:
        connect = voicebot.connect
        monkeypatch.setattr(
            voicebot, "connect", lambda *a, **more: connect(*a, **more, open_stream=lobby.open_stream)
        )
        code = block('name="Reader"')
        await run_snippet(code, url="ws://fake.lobby/ws", pcm=tone(440, 1.0, rate=24000))
        assert lobby.heard("Reader")[0].played_ms == 1000


async def test_interruption_is_told_as_shown(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        ann.say(bytes(32000) + tone(440, 1.0))
        await run_snippet(block("BargeIn(min_ms=400)"), bot=bot, pcm=tone(220, 9.0, rate=24000))
        assert re.fullmatch(r"p-\d+ interrupted after 14\d0 ms\n", capsys.readouterr().out)


def test_every_block_is_tried() -> None:
    assert len(BLOCKS) == 4


def test_terms_of_interruptions_are_complete_and_right() -> None:
    terms = inspect.signature(voicebot.BargeIn).parameters
    assert first_column("is silent for `pause_ms`, lets it") == set(terms)
    for name in ("min_ms", "pause_ms", "after_ms", "by_bots", "rate"):
        assert f"| `{name}` | {terms[name].default} |" in PAGE
    assert f"| `duck_ms`, `duck_db` | {terms['duck_ms'].default}, {terms['duck_db'].default} |" in PAGE


def test_figures_are_those_of_the_code() -> None:
    assert f"{inbox.CAPACITY} frames wait for a reader" in PAGE
    assert f"at most {playing.AHEAD_MS // 1000} s ahead" in PAGE
    assert f"({playing.WAITING_AHEAD_MS // 1000} s, while it waits" in PAGE
    assert f"Any rate from {LOWEST_RATE:,} to {HIGHEST_RATE:,}" in PAGE
    assert f"{', '.join(map(str, RATES[:-1]))} or {RATES[-1]}" in PAGE
    play = inspect.signature(voicebot.Connection.play).parameters
    shown = ", ".join(f"{name}={play[name].default}" for name in ("rate", "to", "interruptible"))
    assert f"`bot.play(sound, {shown})`" in PAGE


def test_commands_on_the_page_are_there() -> None:
    commands = {command.callback.__name__ for command in app.registered_commands}
    named = set(re.findall(r"relay bot (\w+)", PAGE))
    assert named <= commands
    assert {"echo", "announce", "record", "run", "chat"} <= named


def test_names_on_the_page_are_there() -> None:
    for owner, name in (("bot", voicebot.Connection), ("playout", voicebot.Playout), ("lobby", FakeLobby)):
        source = inspect.getsource(name)
        used = set(re.findall(rf"`?\b{owner}\.(\w+)", PAGE))
        assert used
        for each in used:
            assert hasattr(name, each) or f"self.{each}" in source, (owner, each)
