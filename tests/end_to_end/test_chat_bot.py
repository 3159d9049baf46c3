"""`relay bot chat` in a lobby, as a user starts it."""

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
async def test_chat_bot_greets_answers_and_leaves_when_told(
    service: RelayService, lobby: str, number: signal.Signals
) -> None:
    where = ["--url", service.url, "--lobby", lobby, "--name", "Jeeves"]
    command = [sys.executable, "-m", "signaling", "bot", "chat", *where]
    with trio.fail_after(30):
        async with voicebot.connect(service.url, lobby=lobby, name="Ada") as ada:
            bot = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
            assert bot.stderr is not None
            try:
                async with bot.stderr:
                    while not ada.lobby.others:
                        await anext(ada.events())
                    assert (ada.lobby.others[0].name, ada.lobby.others[0].is_bot) == ("Jeeves", True)
                    assert lobby.encode() in await bot.stderr.receive_some()
                    async with voicebot.connect(service.url, lobby=lobby, name="Grace"):
                        assert await next_line(ada) == "Welcome, Grace!"
                        await ada.chat("hello")
                        assert (await next_line(ada)).startswith("Hello, Ada! ")
                        await ada.chat("time?")
                        assert re.fullmatch(r"It is \d\d:\d\d UTC\.", await next_line(ada))
                    bot.send_signal(number)
                    with trio.fail_after(3):
                        while ada.lobby.others:
                            await anext(ada.events())
                    assert await bot.wait() == 0
                    assert await bot.stderr.receive_some() == b""
            finally:
                bot.kill()
