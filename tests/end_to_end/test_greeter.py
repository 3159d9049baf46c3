"""The example bot, as a user starts it."""

import os
import re
import signal
import subprocess
import sys

import pytest
import trio
from relay_service import RelayService

import voicebot
from signaling.messages import ChatPosted


async def next_line(connection: voicebot.Connection) -> str:
    async for event in connection.events():
        if isinstance(event, ChatPosted) and event.message.participant_id != connection.participant_id:
            return event.message.text
    raise AssertionError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_greeter_greets_answers_and_leaves_when_told(
    service: RelayService, lobby: str, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "voicebot.greeter", service.url, "--lobby", lobby, "--name", "Jeeves"]
    with trio.fail_after(30):
        async with voicebot.connect(service.url, lobby=lobby, name="Ada") as ada:
            bot = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert bot.stdout is not None
            assert bot.stderr is not None
            try:
                async with bot.stdout, bot.stderr:
                    while not ada.lobby.others:
                        await anext(ada.events())
                    assert (ada.lobby.others[0].name, ada.lobby.others[0].is_bot) == ("Jeeves", True)
                    assert lobby.encode() in await bot.stdout.receive_some()
                    async with voicebot.connect(service.url, lobby=lobby, name="Grace"):
                        assert await next_line(ada) == "Welcome, Grace!"
                        await ada.chat("hello, Jeeves")
                        assert await next_line(ada) == "Hello! Ask me for the time."
                        await ada.chat("What time is it?")
                        assert re.fullmatch(r"It is \d\d:\d\d UTC\.", await next_line(ada))
                    bot.send_signal(number)
                    with trio.fail_after(3):
                        while ada.lobby.others:
                            await anext(ada.events())
                    assert await bot.wait() == 0
                    assert await bot.stderr.receive_some() == b""
            finally:
                bot.kill()


async def test_greeter_tells_when_nobody_listens() -> None:
    completed = await trio.run_process(
        [sys.executable, "-m", "voicebot.greeter", "ws://127.0.0.1:9/ws"], capture_stderr=True, check=False
    )
    assert completed.returncode == 1
    assert completed.stderr.startswith(b"greeter: cannot connect to 127.0.0.1:9")
    assert b"Traceback" not in completed.stderr


def test_greeter_explains_itself() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "voicebot.greeter", "--help"],
        capture_output=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert b"--lobby" in completed.stdout
