"""Who speaks while a bot does makes it quieter, then silent. Fake lobby, virtual time."""

from collections.abc import Sequence

import numpy as np
import pytest
import trio
import trio.testing

import voicebot
from voicebot.audio.barge_in import Speech
from voicebot.testing import FakeLobby, silence, tone

RATE = 16000
LOUD = np.full(5 * RATE, 10_000, np.int16)


async def heard_levels(lobby: FakeLobby) -> list[int]:
    """How loud the bot was, in the order of change."""
    await lobby.wait_silence()
    samples = lobby.heard("Bot")[0].samples
    return [int(samples[0]), *(int(each) for each in samples[1:][np.diff(samples) != 0])]


async def test_who_speaks_long_enough_ducks_the_bot_and_then_clears_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        playout = await bot.play(LOUD, rate=RATE, interruptible=voicebot.BargeIn(min_ms=300, duck_ms=100))
        behind = await bot.play(LOUD, rate=RATE)
        await trio.sleep(1)
        ann.say(tone(440, 1.0))
        assert not await playout.wait()
        assert not await behind.wait()
        assert (playout.reason, playout.interrupted_by) == ("cleared", ann.participant_id)
        assert (behind.reason, behind.played_ms) == ("cleared", 0)
        # The last frame that counts ends at 1300 ms; the bot hears it then, and is heard until the tick of that moment is over.
        assert playout.played_ms == lobby.heard(bot)[0].played_ms == 1320
        # What it says next is as loud as ever.
        assert await (await bot.play(LOUD[:320], rate=RATE)).wait()
        assert set(lobby.heard(bot)[-1].samples) == {10_000}
        assert await heard_levels(lobby) == [10_000, round(10_000 * 10 ** (-12 / 20))]


async def test_who_says_little_only_ducks_the_bot_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        playout = await bot.play(LOUD, rate=RATE, interruptible=True)
        await trio.sleep(1)
        ann.say(tone(440, 0.2))
        assert await playout.wait()
        assert playout.interrupted_by is None
        assert await heard_levels(lobby) == [10_000, 2512, 10_000]


@pytest.mark.parametrize(
    ("terms", "interrupted"),
    [
        ({}, True),
        ({"min_ms": 1500}, False),
        ({"after_ms": 1600}, True),
        ({"after_ms": 1900}, False),
        ({"pause_ms": 50, "min_ms": 600}, False),
        ({"duck_db": 0}, True),
        ({"predicate": lambda frames: len(frames) >= 45}, True),
        ({"predicate": lambda _: False}, False),
        ({"predicate": lambda _: 1 / 0}, False),
    ],
)
async def test_terms_say_what_an_interruption_is(
    autojump_clock: trio.testing.MockClock, terms: dict[str, object], interrupted: bool
) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        playout = await bot.play(LOUD, rate=RATE, interruptible=voicebot.BargeIn(**terms))
        await trio.sleep(1)
        ann.say(tone(440, 0.5) + silence(0.1) + tone(440, 0.5))
        await playout.wait()
        assert playout.interrupted is interrupted
        if terms.get("duck_db") == 0:
            assert await heard_levels(lobby) == [10_000]


async def test_predicate_may_take_its_time_and_sees_what_was_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    asked: list[Sequence[voicebot.AudioFrame]] = []

    async def is_stop(frames: Sequence[voicebot.AudioFrame]) -> bool:
        asked.append(frames)
        await trio.sleep(0.1)
        return len(asked) == 3

    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        terms = voicebot.BargeIn(predicate=is_stop, rate=8000)
        playout = await bot.play(LOUD, rate=RATE, interruptible=terms)
        await trio.sleep(1)
        said = tone(440, 1.0, rate=8000)
        ann.say(said, 8000)
        assert not await playout.wait()
        assert {frame.participant for frame in asked[-1]} == {ann.participant_id}
        assert b"".join(frame.pcm for frame in asked[-1]) == said[: 2 * 160 * len(asked[-1])]
        assert len(asked[0]) == 15


async def test_only_people_who_hear_it_interrupt(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann, ben = lobby.add_participant("Ann"), lobby.add_participant("Ben")
        robot = lobby.add_participant("Robot", is_bot=True)
        to_ann = await bot.play(LOUD, rate=RATE, to=ann.participant_id, interruptible=True)
        await trio.sleep(0.5)
        ben.say(tone(440, 0.5))
        robot.say(tone(440, 0.5))
        assert await to_ann.wait()
        for terms, interrupted in ((voicebot.BargeIn(), False), (voicebot.BargeIn(by_bots=True), True)):
            playout = await bot.play(LOUD, rate=RATE, interruptible=terms)
            await trio.sleep(0.5)
            robot.say(tone(440, 0.5))
            await playout.wait()
            assert playout.interrupted is interrupted


async def test_bot_with_all_its_subscriptions_is_interrupted_by_the_mix(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        FakeLobby() as lobby,
        lobby.bot() as bot,
        bot.speakers() as first,
        bot.speakers(rate=8000) as second,
    ):
        ann = lobby.add_participant("Ann")
        playout = await bot.play(LOUD, rate=RATE, interruptible=True)
        await trio.sleep(1)
        ann.say(tone(440, 1.0))
        assert not await playout.wait()
        assert (playout.reason, playout.interrupted_by) == ("cleared", None)
        assert (await anext(first)).participant == (await anext(second)).participant == ann.participant_id
        with pytest.raises(voicebot.ProtocolError, match="at_capacity"):
            await anext(bot.speakers())


async def test_a_playout_that_is_not_interruptible_protects_what_comes_after(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        notice = await bot.play(LOUD[:RATE], rate=RATE)
        answer = await bot.play(LOUD, rate=RATE, interruptible=True)
        await trio.sleep(0.2)
        ann.say(tone(440, 0.5))
        assert await notice.wait()
        await trio.sleep(0.5)
        assert not answer.done
        ann.say(tone(440, 0.5))
        assert not await answer.wait()


async def test_nobody_is_listened_to_when_nothing_can_be_interrupted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        for _ in range(2):
            playout = await bot.play(LOUD[:RATE], rate=RATE, interruptible=True)
            await trio.sleep(0.5)
            (session,) = lobby._sessions
            assert len(session._subscriptions) == 1
            ann.say(tone(440, 0.1))
            await playout.wait()
            await trio.testing.wait_all_tasks_blocked()
            assert (session._subscriptions, session._ears) == ({}, {})


@pytest.mark.parametrize(
    ("terms", "fault"),
    [({"min_ms": -1}, "min_ms must be at least 0"), ({"duck_db": 3}, "duck_db must be between -60 and 0")],
)
def test_terms_that_make_no_sense_are_refused(terms: dict[str, float], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        voicebot.BargeIn(**terms)


def test_speech_ends_with_a_pause_also_with_one_that_was_not_sent() -> None:
    def frame(index: int, *, voiced: bool = True, gap: bool = False) -> voicebot.AudioFrame:
        return voicebot.AudioFrame(bytes(640), RATE, 320 * index, voiced=voiced, gap=gap)

    speech = Speech(pause_ms=100)
    for index in range(5):
        speech.hear(frame(index))
    for index in range(5, 9):
        speech.hear(frame(index, voiced=False))
    assert (speech.voiced_ms, len(speech.frames)) == (100, 9)
    speech.hear(frame(20, gap=True))  # lost is not silent
    assert speech.voiced_ms == 120
    speech.hear(frame(30))
    assert (speech.voiced_ms, len(speech.frames)) == (20, 1)
    for index in range(31, 36):
        speech.hear(frame(index, voiced=False))
    assert (speech.voiced_ms, speech.frames) == (0, ())
