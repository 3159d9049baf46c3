"""The bot that repeats what it hears. Fake lobby, virtual time."""

import numpy as np
import pytest
import trio
import trio.testing

from voicebot.echo_bot import EchoBot
from voicebot.testing import FakeLobby, silence, tone

RATE = 16000


async def test_it_repeats_what_somebody_said_once_they_have_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    said = tone(440, 0.5) + silence(0.3) + tone(220, 0.5)
    async with FakeLobby() as lobby:
        await lobby.start(EchoBot)
        ann = lobby.add_participant("Ann")
        await trio.sleep(1)
        ann.say(said)
        await trio.sleep(10)
        (echo,) = lobby.heard("Bot")
        assert echo.samples.tobytes()[: len(said)] == said
        assert not echo.samples[len(said) // 2 :].any()
        # It has heard enough of the pause 0.6 s after the last word, at the end of that frame.
        assert echo.began_ms == pytest.approx(1000 + 1300 + 600, abs=20)


async def test_it_lets_itself_be_interrupted_and_repeats_that_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with FakeLobby() as lobby:
        await lobby.start(EchoBot)
        ann = lobby.add_participant("Ann")
        await ann.speak(tone(440, 5.0))
        await trio.sleep(2)
        await ann.speak(tone(220, 1.0))
        await trio.sleep(5)
        first, second = lobby.heard("Bot")
        assert (first.ended, second.ended) == ("cleared", "done")
        assert first.played_ms < 2000
        assert second.samples.tobytes()[:32000] == tone(220, 1.0)


async def test_each_is_repeated_by_themselves_and_bots_are_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with FakeLobby() as lobby:
        await lobby.start(EchoBot)
        people = [lobby.add_participant(name) for name in ("Ann", "Ben")]
        robot = lobby.add_participant("Robot", is_bot=True)
        for person, frequency in zip([*people, robot], (220, 440, 880), strict=True):
            person.say(tone(frequency, 0.5))
        await trio.sleep(5)
        said = {each.samples.tobytes()[:16000] for each in lobby.heard("Bot")}
        assert said == {tone(220, 0.5), tone(440, 0.5)}


async def test_with_a_delay_it_speaks_while_they_do(autojump_clock: trio.testing.MockClock) -> None:
    said = tone(440, 3.0)
    async with FakeLobby() as lobby:
        await lobby.start(EchoBot, config={"delay_ms": 400})
        ann = lobby.add_participant("Ann")
        ann.say(said)
        await trio.sleep(10)
        ann.say(said)
        await trio.sleep(0.5)
        ann.leave()
        await trio.sleep(5)
        first, second = lobby.heard("Bot")
        assert first.samples.tobytes()[: len(said)] == said
        assert first.began_ms == pytest.approx(420, abs=20)
        assert second.began_ms == pytest.approx(10_420, abs=20)
        assert second.samples.tobytes() == said[: 2 * len(second.samples)]
        assert second.played_ms == pytest.approx(500, abs=20)


async def test_who_leaves_in_the_middle_of_a_word_is_repeated(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby:
        await lobby.start(EchoBot)
        ann = lobby.add_participant("Ann")
        ann.say(tone(440, 3.0))
        await trio.sleep(0.5)
        ann.leave()
        await trio.sleep(3)
        (echo,) = lobby.heard("Bot")
        assert echo.played_ms == pytest.approx(500, abs=20)
        assert np.abs(echo.samples).max() > 9000
