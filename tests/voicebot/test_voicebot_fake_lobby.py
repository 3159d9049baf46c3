"""The lobby for tests is one that tests can trust: what is heard, when, and by whom. Virtual time."""

import numpy as np
import pytest
import trio
import trio.testing

import voicebot
from signaling.messages import ChatPosted, Dtmf, ParticipantJoined, ParticipantLeft, Speaking
from voicebot.testing import FakeLobby, silence, tone

RATE = 16000


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2")


async def next_of(connection: voicebot.Connection, kind: type):
    async for event in connection.events():
        if isinstance(event, kind):
            return event
    raise AssertionError


async def test_bot_hears_what_people_say_sample_by_sample(autojump_clock: trio.testing.MockClock) -> None:
    said = tone(440, 1.0)
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        async with bot.mixed(rate=RATE) as everybody, bot.participant(ann.participant_id, rate=RATE) as alone:
            ann.say(said)
            for stream in (everybody, alone):
                frames = [await anext(stream) for _ in range(50)]
                assert b"".join(frame.pcm for frame in frames) == said
                assert [frame.timestamp for frame in frames] == list(range(0, RATE, RATE // 50))
                assert all(frame.voiced and not frame.gap and frame.level < 20 for frame in frames)
            assert (everybody.participant, alone.participant) == (None, ann.participant_id)


async def test_mix_is_the_sum_of_the_others(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot("One") as one, lobby.bot("Two") as two:
        ann, ben = lobby.add_participant("Ann"), lobby.add_participant("Ben")
        async with one.mixed(rate=RATE) as heard_by_one, two.mixed(rate=RATE, frame_ms=40) as heard_by_two:
            ann.say(np.full(RATE, 20_000, np.int16))
            ben.say(np.full(RATE, 10_000, np.int16))
            await one.play(np.full(RATE, 5_000, np.int16), rate=RATE)
            first = await anext(heard_by_one)
            assert set(first.samples) == {30_000}  # without its own
            first = await anext(heard_by_two)
            assert (first.duration_ms, set(first.samples)) == (40, {32_767})


async def test_what_a_bot_plays_is_recorded_with_its_times(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        await trio.sleep(1)
        first = await bot.play(tone(440, 1.0, rate=24000), rate=24000)
        second = await bot.play(silence(0.5), rate=RATE)
        assert await second.wait()
        assert await first.wait()
        assert lobby.now_ms == pytest.approx(2500, abs=0.1)
        assert (first.played_ms, second.played_ms) == (1000, 500)
        one, two = lobby.heard(bot)
        assert (one.began_ms, one.played_ms, one.ended, one.rate) == (1000, 1000, "done", 24000)
        assert one.samples.tobytes() == tone(440, 1.0, rate=24000)
        assert (two.began_ms, two.ended_ms) == (2000, 2500)


async def test_clear_tells_exactly_what_was_heard(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        current = await bot.play(tone(440, 5.0), rate=RATE)
        waiting = await bot.play(tone(440, 5.0), rate=RATE)
        await trio.sleep(1.5)
        assert await bot.clear() == 1500
        assert [each.played_ms for each in lobby.heard("Bot")] == [1500, 0]
        assert not await current.wait()
        assert (waiting.done, waiting.interrupted, waiting.reason) == (True, True, "cleared")
        assert await bot.clear() == 0
        await lobby.wait_silence()
        assert lobby.now_ms == pytest.approx(1500, abs=0.1)


async def test_one_alone_is_spoken_to_and_others_hear_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        FakeLobby() as lobby,
        lobby.bot("One") as one,
        lobby.bot("Two") as two,
        lobby.bot("Three") as three,
        two.mixed(rate=RATE) as meant,
        three.mixed(rate=RATE) as other,
    ):
        playout = await one.play(tone(440, 0.1), rate=RATE, to=two.participant_id)
        assert (await anext(meant)).voiced
        assert not (await anext(other)).voiced
        assert await playout.wait()
        assert lobby.heard("One")[0].to == two.participant_id


async def test_frames_stop_in_silence_and_timestamps_do_not(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot, bot.mixed(rate=8000) as stream:
        ann = lobby.add_participant("Ann")
        ann.say(tone(440, 0.1))
        frames = []
        with trio.move_on_after(60):
            while True:
                frames.append(await anext(stream))
        assert len(frames) == 5 + 100  # and then silence of two seconds
        ann.say(tone(440, 0.1))
        frame = await anext(stream)
        assert (frame.timestamp, frame.time_s, frame.voiced) == (60 * 8000, 60, True)
        assert not any(frame.gap for frame in frames)


async def test_speakers_are_told_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot, bot.speakers(rate=RATE) as speakers:
        ann, ben = lobby.add_participant("Ann"), lobby.add_participant("Ben")
        await trio.sleep(1)
        ben.say(tone(440, 0.2))
        stream = await anext(speakers)
        assert stream.participant == ben.participant_id
        assert (await anext(stream)).pcm == tone(440, 0.2)[:640]
        ann.say(tone(220, 0.2))
        other = await anext(speakers)
        assert other.participant == ann.participant_id
        # Ben was heard just before, and so was that Ann said nothing: it begins a little before her first word.
        frames = [await anext(other)]
        while not frames[-1].voiced:
            frames.append(await anext(other))
        assert 2 <= len(frames) <= 11
        assert [frame.timestamp for frame in frames] == [320 * number for number in range(len(frames))]
        await trio.sleep(0.1)
        ben.leave()
        assert {frame.participant async for frame in stream} == {ben.participant_id}
        assert (stream.ended, other.ended) == ("left", None)


async def test_stream_of_a_speaker_that_was_closed_is_not_brought_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot, bot.speakers(rate=RATE) as speakers:
        ann, ben = lobby.add_participant("Ann"), lobby.add_participant("Ben")
        ann.say(tone(440, 0.2))
        stream = await anext(speakers)
        await stream.aclose()
        await trio.sleep(1)
        await ann.speak(tone(440, 0.2))
        ben.say(tone(440, 0.2))
        assert (await anext(speakers)).participant == ben.participant_id
        assert bot._listening.stray_frames < 5  # those that were under way


async def test_events_chat_and_keys_are_those_of_a_lobby(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot:
        ann = lobby.add_participant("Ann")
        assert (await next_of(bot, ParticipantJoined)).participant.name == "Ann"
        ann.write("hello")
        assert (await next_of(bot, ChatPosted)).message.text == "hello"
        assert (await bot.chat("hello, Ann")).seq == 2
        assert [line.text for line in (await bot.chat_history()).messages] == ["hello", "hello, Ann"]
        ann.press("5")
        assert (await next_of(bot, Dtmf)).digit == "5"
        await bot.press("#")
        assert lobby.pressed == [(ann.participant_id, "5"), (bot.participant_id, "#")]
        ann.say(tone(440, 0.5))
        began = await next_of(bot, Speaking)
        assert (began.participant_id, began.speaking) == (ann.participant_id, True)
        assert not (await next_of(bot, Speaking)).speaking
        ann.leave()
        assert (await next_of(bot, ParticipantLeft)).participant_id == ann.participant_id
        await bot.set_name("Bob")
        assert bot.lobby.me.name == lobby.participants[bot.participant_id].name == "Bob"


class Patient(voicebot.Bot):
    async def run(self, connection: voicebot.Connection) -> None:
        await connection.chat(f"{self.assignment.name}: {self.assignment.config.get('word')}")
        await trio.sleep_forever()


async def test_bots_run_in_it_unchanged_and_are_stopped(autojump_clock: trio.testing.MockClock) -> None:
    async with FakeLobby() as lobby:
        running = await lobby.start(Patient, name="Patient", config={"word": "hush"})
        await lobby.wait_for(lambda: bool(lobby.chat))
        assert lobby.chat[0].text == "Patient: hush"
        assert [each.name for each in lobby.participants.values()] == ["Patient"]
        await running.stop()
        await trio.testing.wait_all_tasks_blocked()
        assert lobby.participants == {}


async def test_what_a_bot_raises_comes_out_of_the_lobby(autojump_clock: trio.testing.MockClock) -> None:
    class Fragile(voicebot.Bot):
        async def run(self, connection: voicebot.Connection) -> None:
            await trio.sleep(1)
            raise KeyError("mine")

    async def wait_for_it() -> None:
        async with FakeLobby() as lobby:
            await lobby.start(Fragile)
            await trio.sleep(10)

    with pytest.raises(KeyError, match="mine"):
        await wait_for_it()


async def test_a_bot_whose_connection_is_cut_comes_back_and_hears_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with FakeLobby() as lobby, lobby.bot() as bot, bot.mixed(rate=RATE) as stream:
        ann = lobby.add_participant("Ann")
        ann.say(tone(440, 0.02))
        assert (await anext(stream)).timestamp == 0
        playout = await bot.play(tone(440, 30.0), rate=RATE)
        await trio.sleep(1)
        former = bot.participant_id
        await lobby.cut(bot)
        assert (await next_of(bot, voicebot.PlayoutEnded)).playout is playout
        assert playout.reason == "lost"
        assert bot.participant_id != former
        await trio.sleep(10)
        ann.say(tone(440, 0.02))
        frames = [await anext(stream)]
        while not frames[-1].voiced:
            frames.append(await anext(stream))
        assert any(frame.gap for frame in frames)
        assert frames[-1].time_s == pytest.approx(lobby.now_ms / 1000, abs=0.05)
        assert await (await bot.play(tone(440, 0.1), rate=RATE)).wait()
