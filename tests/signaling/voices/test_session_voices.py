"""Bots that hear and speak over their connection, in lobbies with a mixer of the tests. In virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
import trio
import trio.testing
from connection_parts import Line, Parts, open_parts
from fake_mix import FakeMix, FakeTrack
from voice_client import Fate, Mixes, errors, fates, give, heard, join, level, listen, play_open

from signaling.auth.grants import Grants
from signaling.messages import (
    AudioListen,
    AudioStreamEnded,
    AudioStreamStarted,
    AudioUnlisten,
    ChatSend,
    ChatSent,
    Dtmf,
    ErrorReply,
    Leave,
    Left,
    Ok,
    PlayClear,
    PlayCleared,
    PlayGain,
    PlayOpen,
    PlayProgress,
    Press,
    PrivateAudio,
    Resume,
    Resumed,
    ServerMessage,
    Subscribe,
    TrackPublished,
    TrackUnpublished,
    Welcome,
    encode_audio_frame,
)
from signaling.moderation import Moderation
from signaling.voices.hearing import MAX_LISTENING, MAX_SUBSCRIPTIONS
from signaling.voices.playouts import MAX_PLAYOUTS, REMEMBERED
from signaling.voices.speakers import MAX_SPEAKERS, PRELUDE_FRAMES
from signaling.voices.stream import MAX_FRAMES


@asynccontextmanager
async def bots(*names: str, mixes: Mixes | None = None) -> AsyncIterator[tuple[Parts, Mixes, list[Line]]]:
    """Have bots in the lobby `garden`."""
    made = Mixes() if mixes is None else mixes
    async with open_parts(open_mix=made) as parts:
        lines = [parts.connect() for _ in names]
        for line, name in zip(lines, names, strict=True):
            await join(line, name)
        for line in lines:
            await line.settle()
        yield parts, made, lines


@asynccontextmanager
async def ticking(mix: FakeMix, sounds: dict[object, int] | None = None) -> AsyncIterator[None]:
    """Let the mixer go on by itself."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mix.run, sounds)
        yield
        nursery.cancel_scope.cancel()


def identity(parts: Parts, name: str) -> str:
    """Return the participant's id."""
    lobby = parts.lobbies.open["garden"]
    (found,) = [each.participant_id for each in lobby.participants.values() if each.name == name]
    return found


def publish(parts: Parts, name: str, source: str = "microphone") -> FakeTrack:
    """Let a participant publish a track, as if over WebRTC."""
    lobby = parts.lobbies.open["garden"]
    participant = lobby.participants[identity(parts, name)]
    track = FakeTrack(f"track-{name}-{len(participant.tracks)}")
    lobby.publish(participant, track, source)
    return track


def unpublish(parts: Parts, name: str, track: FakeTrack) -> None:
    lobby = parts.lobbies.open["garden"]
    track.closed = True
    lobby.unpublish(lobby.participants[identity(parts, name)], track.id)


def started(messages: list[ServerMessage]) -> dict[str, int]:
    """Return participant -> stream, of all that was told."""
    return {each.participant_id: each.stream for each in messages if isinstance(each, AudioStreamStarted)}


def ended(messages: list[ServerMessage]) -> list[tuple[int, str]]:
    return [(each.stream, each.reason) for each in messages if isinstance(each, AudioStreamEnded)]


# Hearing everybody.


async def test_the_mix_is_heard_without_oneself(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ada", "Ear") as (parts, mixes, (_, ear)):
        voice, own, music = (
            publish(parts, "Ada"),
            publish(parts, "Ear"),
            publish(parts, "Ada", "screen_audio"),
        )
        stream = await listen(ear)
        mix = mixes.only
        assert mix.tracks == [voice, own]
        mix.tick({voice: 3, own: 50})
        mix.tick()
        late, own_too = publish(parts, "Ada", "bot"), publish(parts, "Ear")
        assert mix.tracks == [voice, own, late, own_too]
        mix.tick({late: 5, own: 50, own_too: 60, music: 0})
        await trio.testing.wait_all_tasks_blocked()
        frames = heard(ear)
        assert [level(each) for each in frames] == [3, 0, 5]
        assert [each.timestamp for each in frames] == [0, 320, 640]
        assert [(each.voiced, each.level_dbov) for each in frames] == [(True, 30), (False, 127), (True, 30)]
        assert {each.stream for each in frames} == {stream}
        assert mix.ears[0].listener == identity(parts, "Ear")
        assert parts.lobbies.sound.sent == 3


@pytest.mark.parametrize(("rate", "frame_ms"), [(8000, 20), (24000, 40), (32000, 60), (48000, 100)])
async def test_frames_have_the_rate_and_length_asked_for(
    autojump_clock: trio.testing.MockClock, rate: int, frame_ms: int
) -> None:
    async with bots("Ear") as (_, mixes, (ear,)):
        await listen(ear, rate=rate, frame_ms=frame_ms)
        for _ in range(15):
            mixes.only.tick()
        await trio.testing.wait_all_tasks_blocked()
        frames = heard(ear)
        samples = rate * frame_ms // 1000
        assert {each.samples for each in frames} == {samples}
        assert [each.timestamp for each in frames] == [place * samples for place in range(300 // frame_ms)]


async def test_streams_are_apart_and_end_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ear") as (_, mixes, (ear,)):
        streams = [await listen(ear, rate=rate) for rate in (8000, 16000)]
        mixes.only.tick()
        await trio.testing.wait_all_tasks_blocked()
        assert {each.stream: each.samples for each in heard(ear)} == dict(
            zip(streams, (160, 320), strict=True)
        )
        await ear.expect(AudioUnlisten(stream=streams[0]), Ok)
        mixes.only.tick()
        assert ended(await ear.settle()) == [(streams[0], "closed")]
        assert [each.stream for each in heard(ear)] == [streams[1]]
        assert [each.rate for each in mixes.only.open_ears] == [16000]
        assert await ear.refused(AudioUnlisten(stream=streams[0])) == ("unknown_stream", "stream")


async def test_who_is_too_slow_misses_the_oldest_and_keeps_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Ear", "Quick") as (parts, mixes, (ear, quick)):
        for line in (ear, quick):
            await listen(line)
        ear.socket.deaf = True
        for _ in range(MAX_FRAMES + 10):
            mixes.only.tick()
            await trio.testing.wait_all_tasks_blocked()
        ear.socket.deaf = False
        mixes.only.tick()
        await trio.testing.wait_all_tasks_blocked()
        frames = heard(ear)
        assert [each.timestamp // 320 for each in frames] == list(range(11, MAX_FRAMES + 11))
        assert [each.gap for each in frames] == [True] + [False] * (MAX_FRAMES - 1)
        assert parts.lobbies.sound.dropped == 11
        assert [each.timestamp // 320 for each in heard(quick)] == list(range(MAX_FRAMES + 11))
        assert not any(each.gap for each in heard(quick))
        assert ear.socket.ended is None


# Hearing one.


async def test_one_participant_is_heard_alone_whatever_they_are_heard_through(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Ada", "Eve", "Ear") as (parts, mixes, (_, _, ear)):
        stream = await listen(ear, "participant", participant_id=identity(parts, "Ada"))
        mix = mixes.only
        assert mix.ears == []  # there is nothing to hear yet
        await trio.sleep(2)
        eve, first = publish(parts, "Eve"), publish(parts, "Ada")
        mix.tick({eve: 50, first: 1})
        await trio.testing.wait_all_tasks_blocked()
        unpublish(parts, "Ada", first)
        await trio.sleep(1)
        second = publish(parts, "Ada")
        mix.tick({eve: 50, second: 2})
        await trio.testing.wait_all_tasks_blocked()
        frames = heard(ear)
        assert [level(each) for each in frames] == [1, 2]
        assert [each.timestamp for each in frames] == [2 * 16000, 3 * 16000]
        assert {each.stream for each in frames} == {stream}
        assert len(mix.open_ears) == 1


async def test_timestamps_never_run_backwards_however_quickly_voices_change(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Ada", "Ear") as (parts, mixes, (_, ear)):
        await listen(ear, "participant", participant_id=identity(parts, "Ada"))
        for _ in range(3):
            track = publish(parts, "Ada")
            for _ in range(5):
                mixes.only.tick()
            await trio.testing.wait_all_tasks_blocked()
            unpublish(parts, "Ada", track)
        assert [each.timestamp for each in heard(ear)] == [320 * place for place in range(15)]


async def test_a_stream_ends_when_its_participant_leaves(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ada", "Ear") as (parts, mixes, (ada, ear)):
        publish(parts, "Ada")
        stream = await listen(ear, "participant", participant_id=identity(parts, "Ada"))
        await ada.expect(Leave(), Left)
        assert ended(await ear.settle()) == [(stream, "left")]
        assert mixes.only.open_ears == []


async def test_another_bot_is_heard_by_the_samples_it_plays(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth", "Ear") as (parts, mixes, (mouth, ear)):
        await listen(ear, "participant", participant_id=identity(parts, "Mouth"))
        give(mouth, await play_open(mouth), 0.1)
        await trio.testing.wait_all_tasks_blocked()
        mixes.only.tick({mixes.only.mouths[0].track: 7})
        await trio.testing.wait_all_tasks_blocked()
        assert [level(each) for each in heard(ear)] == [7]


# Hearing each.


async def test_speakers_have_a_stream_each_from_just_before_their_first_word(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Ada", "Eve", "Ear") as (parts, mixes, (_, _, ear)):
        ada, own = publish(parts, "Ada"), publish(parts, "Ear")
        subscription = await listen(ear, "speakers")
        mix = mixes.only
        for _ in range(30):
            mix.tick({own: 50})
            await trio.testing.wait_all_tasks_blocked()
        assert heard(ear) == []
        mix.tick({ada: 3})
        told = await ear.settle()
        frames = heard(ear)
        ((participant_id, stream),) = started(told).items()
        assert participant_id == identity(parts, "Ada")
        assert [each.subscription for each in told if isinstance(each, AudioStreamStarted)] == [subscription]
        assert {each.stream for each in frames} == {stream}
        assert [level(each) for each in frames] == [0] * (PRELUDE_FRAMES - 1) + [3]
        assert [each.timestamp for each in frames] == [320 * place for place in range(PRELUDE_FRAMES)]
        eve = publish(parts, "Eve")
        mix.tick({ada: 3, eve: 4})
        other = started(await ear.settle())[identity(parts, "Eve")]
        assert [(each.stream, level(each)) for each in heard(ear)] == [(stream, 3), (other, 4)]
        assert len({subscription, stream, other}) == 3


async def test_the_prelude_is_not_from_before_a_silence(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ada", "Ear") as (parts, mixes, (_, ear)):
        ada = publish(parts, "Ada")
        await listen(ear, "speakers")
        for _ in range(5):
            mixes.only.tick()
        mixes.only.tick(skip=500)
        mixes.only.tick({ada: 3})
        await trio.testing.wait_all_tasks_blocked()
        assert [(each.timestamp, level(each)) for each in heard(ear)] == [(0, 0), (320, 3)]


async def test_a_speakers_stream_ends_when_they_leave_and_others_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Ada", "Eve", "Ear") as (parts, mixes, (ada_line, _, ear)):
        ada, eve = publish(parts, "Ada"), publish(parts, "Eve")
        await listen(ear, "speakers")
        mixes.only.tick({ada: 1, eve: 1})
        streams = started(await ear.settle())
        gone = streams[identity(parts, "Ada")]
        await ada_line.expect(Leave(), Left)
        assert ended(await ear.settle()) == [(gone, "left")]
        heard(ear)
        mixes.only.tick({eve: 1})
        await trio.testing.wait_all_tasks_blocked()
        assert [each.stream for each in heard(ear)] == [streams[identity(parts, "Eve")]]


async def test_unlistening_ends_the_streams_of_a_subscription(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ada", "Ear") as (parts, mixes, (_, ear)):
        ada = publish(parts, "Ada")
        subscription = await listen(ear, "speakers")
        mixes.only.tick({ada: 1})
        (stream,) = started(await ear.settle()).values()
        await ear.expect(AudioUnlisten(stream=subscription), Ok)
        assert ended(await ear.settle()) == [(stream, "closed")]
        assert mixes.only.open_ears == []


async def test_whoever_is_not_wanted_is_not_heard_again(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ada", "Eve", "Ear") as (parts, mixes, (_, __, ear)):
        ada, eve = publish(parts, "Ada"), publish(parts, "Eve")
        await listen(ear, "speakers")
        mixes.only.tick({ada: 1})
        (stream,) = started(await ear.settle()).values()
        await ear.expect(AudioUnlisten(stream=stream), Ok)
        assert ended(await ear.settle()) == [(stream, "closed")]
        lobby = parts.lobbies.open["garden"]
        speaker = lobby.participants[identity(parts, "Ada")]
        lobby.set_speaking(speaker, speaking=True, level_dbov=30)
        mixes.only.tick({ada: 1, eve: 1})
        assert list(started(await ear.settle())) == [identity(parts, "Eve")]


async def test_who_speaks_in_a_crowd_gets_the_ear_of_who_was_silent_longest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    names = [f"P{number}" for number in range(MAX_SPEAKERS + 2)]
    async with bots("Ear", *names) as (parts, mixes, (ear, *_)):
        tracks = {name: publish(parts, name) for name in names}
        await listen(ear, "speakers")
        mix = mixes.only
        assert len(mix.open_ears) == MAX_SPEAKERS
        for name in names[:MAX_SPEAKERS]:
            mix.tick({tracks[name]: 1})
            await trio.sleep(0.5)
        streams = started(await ear.settle())
        assert len(streams) == MAX_SPEAKERS
        lobby = parts.lobbies.open["garden"]
        late = lobby.participants[identity(parts, names[-1])]
        lobby.set_speaking(late, speaking=True, level_dbov=30)
        mix.tick({tracks[names[-1]]: 1})
        told = await ear.settle()
        assert ended(told) == [(streams[identity(parts, names[0])], "silent")]
        assert list(started(told)) == [late.participant_id]
        assert len(mix.open_ears) == MAX_SPEAKERS
        # All are lively now: nobody loses an ear.
        mix.tick(dict.fromkeys(tracks.values(), 1))
        await ear.settle()
        other = lobby.participants[identity(parts, names[0])]
        lobby.set_speaking(other, speaking=True, level_dbov=30)
        assert ended(await ear.settle()) == []


# Speaking.


async def test_a_playout_is_heard_and_told_of(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth") as (parts, mixes, (line,)):
        stream = await play_open(line, 24000)
        give(line, stream, 1.5, level=9, rate=24000)
        async with ticking(mixes.only):
            await trio.sleep(2)
        (mouth,) = mixes.only.mouths
        assert mouth.heard == [9] * 36000
        told = await line.settle()
        assert fates(told) == [Fate(stream, 1500, "done", None)]
        assert sum(isinstance(each, PlayProgress) for each in told) in {15, 16}
        assert parts.lobbies.sound.received == 15


async def test_what_is_played_to_all_is_a_track_of_the_bot(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth", "Ada") as (parts, mixes, (line, ada)):
        ear = await listen(line)
        await play_open(line)
        (event,) = await ada.settle()
        assert isinstance(event, TrackPublished)
        assert (event.participant_id, event.track.source) == (identity(parts, "Mouth"), "bot")
        assert event.track.in_slots
        # It does not hear itself.
        (mouth,) = mixes.only.mouths
        assert not mixes.only.ears[0].hears(mouth.track)
        assert mixes.only.tracks == []
        await line.expect(AudioUnlisten(stream=ear), Ok)


async def test_clear_says_what_was_heard_and_silences(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth") as (_, mixes, (line,)):
        first, second = await play_open(line), await play_open(line)
        for stream in (first, second):
            give(line, stream, 2)
        async with ticking(mixes.only):
            await trio.sleep(0.99)
            cleared = await line.expect(PlayClear(), PlayCleared)
            (mouth,) = mixes.only.mouths
            heard_ms = len(mouth.heard) / 16
            await trio.sleep(1)
            assert len(mouth.heard) / 16 == heard_ms
        assert cleared.played_ms == {first: heard_ms, second: 0}
        assert 980 <= heard_ms <= 1000
        assert fates(await line.settle()) == [
            Fate(first, heard_ms, "cleared", "cleared"),
            Fate(second, 0, "cleared", "cleared"),
        ]
        assert (await line.expect(PlayClear(), PlayCleared)).played_ms == {}


async def test_clear_silences_all_targets_within_the_same_tick(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Mouth", "Ada", "Grace") as (parts, mixes, (line, _, __)):
        streams = [
            await play_open(line, to=to) for to in (None, identity(parts, "Ada"), identity(parts, "Grace"))
        ]
        for stream in streams:
            give(line, stream, 2)
        async with ticking(mixes.only):
            await trio.sleep(0.99)
            cleared = await line.expect(PlayClear(), PlayCleared)
        assert len({len(mouth.heard) for mouth in mixes.only.mouths}) == 1
        assert set(cleared.played_ms) == set(streams)
        assert len(set(cleared.played_ms.values())) == 1


async def test_frames_of_what_was_cleared_are_dropped_without_a_word(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Mouth") as (parts, mixes, (line,)):
        stream = await play_open(line)
        async with ticking(mixes.only):
            await line.expect(PlayClear(), PlayCleared)
            await line.settle()
            give(line, stream, 2)
            assert errors(await line.settle()) == []
        assert parts.lobbies.sound.late == 20
        assert mixes.only.mouths[0].heard == []
        assert line.socket.ended is None


async def test_what_is_said_to_one_is_said_through_another_mouth(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Mouth", "Ada") as (parts, mixes, (line, ada)):
        ada_id = identity(parts, "Ada")
        for to, sound in ((None, 1), (ada_id, 2), (ada_id, 3)):
            give(line, await play_open(line, to=to), 0.1, sound)
        async with ticking(mixes.only):
            await trio.sleep(1)
        assert [(each.to, each.heard) for each in mixes.only.mouths] == [
            (None, [1] * 1600),
            (ada_id, [2] * 1600 + [3] * 1600),
        ]
        assert [each.state for each in fates(await line.settle())] == ["done"] * 3
        # Nobody else is told of a whisper, and the mouth for it is not kept.
        assert [each.closed for each in mixes.only.mouths] == [False, True]
        heard = await ada.settle()
        assert len([each for each in heard if isinstance(each, TrackPublished)]) == 1
        told = [each.participant_ids for each in heard if isinstance(each, PrivateAudio)]
        assert told == [(identity(parts, "Mouth"),), ()]


async def test_a_whisper_ends_when_whom_it_is_for_leaves(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth", "Ada") as (parts, mixes, (line, ada)):
        public, private = await play_open(line), await play_open(line, to=identity(parts, "Ada"))
        for stream in (public, private):
            give(line, stream, 1)
        async with ticking(mixes.only):
            await trio.sleep(0.505)
            await ada.expect(Leave(), Left)
            await trio.sleep(1)
        assert fates(await line.settle()) == [
            Fate(private, 500, "cleared", "left"),
            Fate(public, 1000, "done", None),
        ]


async def test_another_rate_is_another_track(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth", "Ada") as (_, mixes, (line, ada)):
        for rate in (16000, 24000):
            give(line, await play_open(line, rate), 0.1, rate=rate)
        async with ticking(mixes.only):
            await trio.sleep(1)
        told = [type(each) for each in await ada.settle()]
        assert told == [TrackPublished, TrackUnpublished, TrackPublished]


async def test_more_than_a_minute_is_refused_and_the_playout_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Mouth") as (_, mixes, (line,)):
        stream = await play_open(line, 8000)
        second = np.zeros(8000, "<i2").tobytes()
        for _ in range(62):
            line.socket.say(encode_audio_frame(stream, second))
        told = await line.settle()
        assert errors(told) == ["play_overflow"]  # and not once more for what is under way
        async with ticking(mixes.only):
            await trio.sleep(10)
        (fate,) = fates(await line.settle())
        assert (fate.state, fate.reason) == ("cleared", "play_overflow")
        assert fate.played_ms == len(mixes.only.mouths[0].heard) / 8
        assert line.socket.ended is None
        await play_open(line)


async def test_all_playouts_together_are_bounded_too(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth") as (_, __, (line,)):
        second = np.zeros(8000, "<i2").tobytes()
        for count in (50, 50, 20):
            stream = await play_open(line, 8000)
            for _ in range(count):
                line.socket.say(encode_audio_frame(stream, second))
        assert errors(await line.settle()) == []
        line.socket.say(encode_audio_frame(stream, second))
        assert errors(await line.settle()) == ["play_overflow"]


async def test_the_gain_is_for_what_is_said_now_and_later(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth", "Ada") as (parts, mixes, (line, _)):
        await play_open(line)
        assert mixes.only.mouths[0].gain == 1
        await line.expect(PlayGain(gain_db=-20), Ok)
        assert mixes.only.mouths[0].gain == pytest.approx(0.1)
        await play_open(line, to=identity(parts, "Ada"))
        assert mixes.only.mouths[1].gain == pytest.approx(0.1)
        await line.expect(PlayGain(gain_db=0), Ok)
        assert [each.gain for each in mixes.only.mouths] == [1, 1]


async def test_who_is_muted_by_an_administrator_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth") as (parts, mixes, (line,)):
        stream = await play_open(line)
        give(line, stream, 1)
        moderation = Moderation(lobbies=parts.lobbies, sessions=parts.sessions)
        lobby = parts.lobbies.open["garden"]
        async with ticking(mixes.only):
            await trio.sleep(0.505)
            moderation.mute(lobby, identity(parts, "Mouth"))
            await trio.sleep(1)
            assert fates(await line.settle()) == [Fate(stream, 500, "cleared", "muted")]
            assert (await line.refused(PlayOpen(rate=16000)))[0] == "forbidden"
            moderation.mute(lobby, identity(parts, "Mouth"), muted=False)
            give(line, await play_open(line), 0.1)
            await trio.sleep(1)
        assert [each.state for each in fates(await line.settle())] == ["done"]


# What is refused.


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"", "too short"),
        (b"\x01" * 15, "too short"),
        (b"\x02" + bytes(15), "version"),
        (encode_audio_frame(1, b"\0\0") + b"\0", "even number"),
        (encode_audio_frame(1, b"\0\0") + b"\0\0", "1 samples"),
        (encode_audio_frame(0, b""), "no stream 0"),
        (encode_audio_frame(9, b""), "no stream 9"),
        (encode_audio_frame(1, bytes(2 * 8001)), "more than a second"),
        (encode_audio_frame(2, b""), "you listen to"),
        (encode_audio_frame(3, b""), "last frame"),
    ],
)
async def test_a_bad_frame_is_answered_with_what_was_wrong(
    autojump_clock: trio.testing.MockClock, message: bytes, fault: str
) -> None:
    async with bots("Mouth") as (_, __, (line,)):
        assert await play_open(line, 8000) == 1
        assert await listen(line) == 2
        assert await play_open(line, 8000) == 3
        line.socket.say(encode_audio_frame(3, b"\0\0", end=True))
        line.socket.say(message)
        (error,) = [each for each in await line.settle() if isinstance(each, ErrorReply)]
        assert error.code == "invalid_audio"
        assert fault in error.error
        assert await line.expect(ChatSend(text="still here"), ChatSent)


async def test_ten_bad_frames_in_a_row_end_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth") as (_, __, (line,)):
        stream = await play_open(line)
        for _ in range(9):
            line.socket.say(b"bad")
        line.socket.say(encode_audio_frame(stream, b"\0\0"))
        for _ in range(9):
            line.socket.say(b"bad")
        assert errors(await line.settle()) == ["invalid_audio"] * 18
        await trio.sleep(11)
        for _ in range(9):
            line.socket.say(b"bad")
        assert line.socket.ended is None
        await line.settle()
        line.socket.say(b"bad")
        await trio.testing.wait_all_tasks_blocked()
        assert line.socket.ended is not None
        assert line.socket.ended.code == 1008


async def test_a_flood_of_frames_is_refused_and_then_shown_the_door(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Mouth", "Ada") as (_, mixes, (line, ada)):
        stream = await play_open(line)
        frame = encode_audio_frame(stream, bytes(640))
        for _ in range(400):
            line.socket.say(frame)
        assert errors(await line.settle()) == []
        for _ in range(201):
            line.socket.say(frame)
        await trio.testing.wait_all_tasks_blocked()
        assert line.socket.ended is not None
        assert line.socket.ended.code == 1008
        assert await ada.expect(ChatSend(text="undisturbed"), ChatSent)
        assert mixes.only.mouths[0].queued <= 3 * 16000


async def test_frames_have_an_allowance_of_their_own(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Mouth") as (_, mixes, (line,)):
        stream = await play_open(line)
        async with ticking(mixes.only):
            for _ in range(20):
                for _ in range(200):
                    line.socket.say(encode_audio_frame(stream, bytes(2 * 80)))
                await trio.sleep(1)
            told = await line.settle()
            assert errors(told) == []
            assert line.socket.ended is None


@pytest.mark.parametrize(
    ("request_", "refused"),
    [
        (
            AudioListen(what="participant", participant_id="p-x", rate=16000),
            ("unknown_participant", "participant_id"),
        ),
        (PlayOpen(rate=16000, to="p-x"), ("unknown_participant", "to")),
        (AudioUnlisten(stream=7), ("unknown_stream", "stream")),
    ],
)
async def test_what_is_not_there_is_refused_by_name(
    autojump_clock: trio.testing.MockClock, request_: AudioListen, refused: tuple[str, str]
) -> None:
    async with bots("Ear") as (_, __, (line,)):
        assert await line.refused(request_) == refused


EVERYTHING = (
    AudioListen(what="mixed", rate=16000),
    AudioListen(what="speakers", rate=16000),
    PlayOpen(rate=16000),
)


async def test_without_a_lobby_everything_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(open_mix=Mixes()) as parts:
        line = parts.connect()
        await line.settle()
        for request in (
            *EVERYTHING,
            AudioUnlisten(stream=1),
            PlayClear(),
            PlayGain(gain_db=-12),
            Press(digit="1"),
        ):
            assert (await line.refused(request))[0] == "not_in_lobby"
        line.socket.say(encode_audio_frame(1, b"\0\0"))
        assert errors(await line.settle()) == ["invalid_audio"]


async def test_what_the_token_does_not_grant_is_forbidden(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Bot") as (parts, _, (line,)):
        (session,) = parts.sessions
        assert session.membership is not None
        session.membership = replace(
            session.membership, grants=Grants(can_publish=False, can_subscribe=False)
        )
        for request in (*EVERYTHING, Press(digit="1"), Subscribe(mid="1", mix=True)):
            assert (await line.refused(request))[0] == "forbidden"


async def test_without_a_mixer_it_is_unsupported(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as parts:
        line = parts.connect()
        await join(line)
        for request in (*EVERYTHING, Subscribe(mid="1", mix=True)):
            assert (await line.refused(request))[0] == "unsupported"
        assert (await line.expect(PlayClear(), PlayCleared)).played_ms == {}


async def test_without_room_it_is_at_capacity_and_nothing_is_left_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with bots("Ear", mixes=Mixes(max_ears=1, max_mouths=0)) as (_, mixes, (line,)):
        assert (await line.refused(PlayOpen(rate=16000)))[0] == "at_capacity"
        stream = await listen(line)
        assert (await line.refused(AudioListen(what="mixed", rate=8000)))[0] == "at_capacity"
        await line.expect(AudioUnlisten(stream=stream), Ok)
        mixes.only.max_mouths = 1
        await listen(line)
        await play_open(line)


async def test_how_much_one_may_ask_for_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ear") as (_, __, (line,)):
        for _ in range(MAX_SUBSCRIPTIONS):
            await listen(line, "speakers")
        assert (await line.refused(AudioListen(what="speakers", rate=8000)))[0] == "at_capacity"
        for _ in range(MAX_LISTENING - MAX_SUBSCRIPTIONS):
            await listen(line)
        assert (await line.refused(AudioListen(what="mixed", rate=8000)))[0] == "at_capacity"
        for _ in range(MAX_PLAYOUTS):
            await play_open(line)
        assert (await line.refused(PlayOpen(rate=8000)))[0] == "at_capacity"


@pytest.mark.parametrize("request_", [AudioListen(what="mixed", rate=16000), PlayClear(), Press(digit="1")])
async def test_requests_are_limited(autojump_clock: trio.testing.MockClock, request_: AudioListen) -> None:
    async with bots("Ear") as (_, __, (line,)):
        for _ in range(33):
            reply = await line.ask(request_)
        assert reply.code == "rate_limited"


# The end, and what goes on.


async def test_everything_ends_with_the_stay_in_the_lobby(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Bot", "Ada") as (parts, mixes, (line, _)):
        ada = publish(parts, "Ada")
        mixed, subscription, playout = (
            await listen(line),
            await listen(line, "speakers"),
            await play_open(line),
        )
        give(line, playout, 1)
        await line.settle()
        mixes.only.tick({ada: 1})
        await line.settle()
        await line.expect(Leave(), Left)
        told = await line.settle()
        assert {number for number, reason in ended(told) if reason == "left"} >= {mixed}
        assert fates(told) == [Fate(playout, 20, "cleared", "left")]
        assert (mixes.only.open_ears, mixes.only.open_mouths) == ([], [])
        # What was under way is nobody's fault, in the next lobby neither.
        for _ in range(20):
            line.socket.say(encode_audio_frame(playout, b"\0\0"))
        await join(line, lobby="attic")
        for _ in range(20):
            line.socket.say(encode_audio_frame(playout, b"\0\0"))
        assert errors(await line.settle()) == []
        assert await listen(line) > max(mixed, subscription, playout)


async def test_the_mixer_ends_with_its_lobby_and_is_made_anew(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Bot") as (_, mixes, (line,)):
        await listen(line)
        await line.expect(Leave(), Left)
        assert mixes.only.closed
        await join(line)
        assert len(mixes.made) == 1
        await listen(line)
        assert [each.closed for each in mixes.made] == [True, False]


async def test_a_closed_lobby_ends_everything_in_it(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Bot", "Ada") as (parts, mixes, (line, ada)):
        for each in (line, ada):
            await listen(each)
            give(each, await play_open(each), 1)
        await trio.testing.wait_all_tasks_blocked()
        await parts.lobbies.close(parts.lobbies.open["garden"], "the lesson is over")
        await trio.testing.wait_all_tasks_blocked()
        assert mixes.only.closed
        for each in (line, ada):
            assert [fate.reason for fate in fates(await each.settle())] == ["left"]
        await join(line)
        await listen(line)


async def test_a_mixer_that_ends_is_told_of(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Bot") as (_, mixes, (line,)):
        stream, playout = await listen(line), await play_open(line)
        give(line, playout, 1)
        await trio.testing.wait_all_tasks_blocked()
        mixes.only.close()
        told = await line.settle()
        assert ended(told) == [(stream, "closed")]
        assert [each.reason for each in fates(told)] == ["failed"]


async def test_streams_and_playouts_survive_a_lost_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Ada", "Eve") as (parts, mixes, _):
        ada, eve = publish(parts, "Ada"), publish(parts, "Eve")
        line = parts.connect()
        (welcome,) = await line.settle()
        assert isinstance(welcome, Welcome)
        joined = await join(line)
        mixed, subscription = await listen(line), await listen(line, "speakers")
        over, playout = await play_open(line), await play_open(line)
        give(line, over, 0.2)
        give(line, playout, 5)
        await trio.testing.wait_all_tasks_blocked()
        mix = mixes.only
        mix.tick({ada: 1})
        streams = started(await line.settle())
        heard(line)
        line.socket.lose()
        await trio.testing.wait_all_tasks_blocked()
        async with ticking(mix, {ada: 1, eve: 1}):
            await trio.sleep(1.01)
        # Of two streams, and of a third that began meanwhile, with what was heard just before.
        assert parts.lobbies.sound.dropped == 50 + 50 + 50 + 1
        assert mix.mouths[0].played == 51 * 320
        back = parts.connect()
        await back.settle()
        resumed = await back.expect(
            Resume(
                resume_token=welcome.resume_token, participant_id=joined.participant_id, last_seq=joined.seq
            ),
            Resumed,
        )
        told, back.heard = back.heard, []  # before the reply
        assert list(started(told)) == [identity(parts, "Eve")]
        streams |= started(told)
        assert streams.keys() == {identity(parts, "Ada"), identity(parts, "Eve")}
        assert resumed.audio_streams == tuple(sorted((mixed, subscription, playout, *streams.values())))
        assert fates(told) == [Fate(over, 200, "done", None)]
        assert PlayProgress(stream=playout, played_ms=820, state="playing") in told
        mix.tick()
        mix.tick()
        await trio.testing.wait_all_tasks_blocked()
        frames = sorted(heard(back), key=lambda each: (each.stream, each.timestamp))
        assert {each.stream for each in frames} == {mixed, *streams.values()}
        assert [each.gap for each in frames] == [True, False] * 3
        give(back, playout, 0.1)
        assert errors(await back.settle()) == ["invalid_audio"]  # it had its end before


async def test_how_playouts_ended_is_remembered_within_bounds(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(open_mix=(mixes := Mixes())) as parts:
        line = parts.connect()
        (welcome,) = await line.settle()
        assert isinstance(welcome, Welcome)
        await join(line)
        for _ in range(REMEMBERED + 5):
            give(line, await play_open(line), 0)
            await trio.sleep(0.2)
        line.socket.lose()
        await trio.testing.wait_all_tasks_blocked()
        back = parts.connect()
        await back.settle()
        await back.expect(Resume(resume_token=welcome.resume_token), Resumed)
        assert [each.stream for each in fates(await back.settle())] == list(range(6, REMEMBERED + 6))
        assert len(mixes.only.mouths) == 1


async def test_a_session_taken_over_is_heard_by_the_new_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts(open_mix=(mixes := Mixes())) as parts:
        line = parts.connect()
        (welcome,) = await line.settle()
        assert isinstance(welcome, Welcome)
        await join(line)
        await listen(line)
        line.socket.deaf = True
        mixes.only.tick()
        await trio.testing.wait_all_tasks_blocked()
        back = parts.connect()
        await back.settle()
        await back.expect(Resume(resume_token=welcome.resume_token), Resumed)
        mixes.only.tick()
        await trio.testing.wait_all_tasks_blocked()
        assert [each.timestamp for each in heard(back)] == [0, 320]
        assert line.socket.ended is not None


async def test_keys_pressed_are_heard_by_all(autojump_clock: trio.testing.MockClock) -> None:
    async with bots("Phone", "Ada") as (parts, _, (phone, ada)):
        with parts.bus.subscribe("test") as subscription:
            await phone.expect(Press(digit="#"), Ok)
            (stamped,) = subscription.take(10)
        assert type(stamped.event).__name__ == "DtmfPressed"
        wanted = Dtmf(participant_id=identity(parts, "Phone"), digit="#")
        assert await ada.settle() == [wanted]
        assert await phone.settle() == [wanted]
