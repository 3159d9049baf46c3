"""The bot that records: files that begin together, are whole at any time, and say why when they cannot be. Fake lobby, virtual time."""

import subprocess
import sys
import wave
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

import voicebot
from signaling.messages import AudioStreamEnded
from voicebot.recorder import RATE, Recorder
from voicebot.recording_files import OggFile, RecordingError, WavFile, write_at
from voicebot.testing import FakeLobby, RunningBot, threads_take_no_time, tone


@pytest.fixture(autouse=True)
def _timeless_threads() -> Iterator[None]:
    with threads_take_no_time():
        yield


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        assert file.getparams()[:3] == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def read_ogg(path: Path) -> np.ndarray:
    av = pytest.importorskip("av")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


async def start(lobby: FakeLobby, directory: Path, **config: object) -> RunningBot:
    recorder = partial(Recorder, directory=directory)
    return await lobby.start(recorder, name="Recorder", config=config)


async def record_two(directory: Path, **config: object) -> Path:
    """Let Ann speak from 1 s to 1.5 s, Ben from 6 s to 7 s, and stop at 8 s."""
    async with FakeLobby() as lobby:
        running = await start(lobby, directory, **config)
        ann, ben = lobby.add_participant("Ann"), lobby.add_participant("Ben / Söhne")
        await trio.sleep(1)
        await ann.speak(tone(440, 0.5))
        await trio.sleep(4.5)
        await ben.speak(tone(220, 1.0))
        await trio.sleep(1)
        await running.stop()
        assert isinstance(running.bot, Recorder)
        return running.bot.folder


def where(samples: np.ndarray) -> tuple[float, float]:
    """From when to when something is to be heard, in seconds."""
    heard = np.flatnonzero(np.abs(samples.astype(int)) > 500)
    return heard[0] / RATE, heard[-1] / RATE


async def test_files_of_all_begin_at_the_same_instant_with_silence_for_gaps(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    folder = await record_two(tmp_path / "deep" / "down")
    assert folder.parent == tmp_path / "deep" / "down"
    files = {path.name: read_wav(path) for path in folder.iterdir()}
    assert sorted(files) == ["Ann-p-2.wav", "Ben___Söhne-p-3.wav", "mixed.wav"]
    mixed, ann, ben = files["mixed.wav"], files["Ann-p-2.wav"], files["Ben___Söhne-p-3.wav"]
    assert {len(each) for each in files.values()} == {len(mixed)}
    assert len(mixed) / RATE == pytest.approx(8, abs=0.1)
    assert where(ann) == pytest.approx((1, 1.5), abs=0.03)
    assert where(ben) == pytest.approx((6, 7), abs=0.03)
    begin = int(np.flatnonzero(ann)[0])
    assert np.array_equal(ann[begin - 1 : begin + 7999], np.frombuffer(tone(440, 0.5), "<i2"))
    # They are in step: the mix is their sum, but for the ms that telling of a stream takes.
    shifts = [where(mixed)[0] - where(ann)[0], where(mixed)[1] - where(ben)[1]]
    assert np.abs(shifts).max() < 0.03


async def test_opus_files_are_as_long_and_in_step(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    folder = await record_two(tmp_path, format="opus", mixed=False)
    files = {path.name: read_ogg(path) for path in folder.iterdir()}
    assert sorted(files) == ["Ann-p-2.ogg", "Ben___Söhne-p-3.ogg"]
    assert where(files["Ann-p-2.ogg"]) == pytest.approx((1, 1.5), abs=0.05)
    assert where(files["Ben___Söhne-p-3.ogg"]) == pytest.approx((6, 7), abs=0.05)
    for samples in files.values():
        assert len(samples) / RATE == pytest.approx(8, abs=0.1)


async def test_people_are_told_and_only_the_mix_is_recorded_if_so_wished(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with FakeLobby() as lobby:
        running = await start(lobby, tmp_path, participants=False, notice="Careful!")
        await lobby.wait_for(lambda: bool(lobby.chat))
        assert lobby.chat[0].text == "Careful!"
        await lobby.add_participant("Ann").speak(tone(440, 0.5))
        await running.stop()
        assert [path.name for path in running.bot.folder.iterdir()] == ["mixed.wav"]


async def test_who_left_stays_recorded_and_recordings_do_not_mix(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with FakeLobby() as lobby:
        first = await start(lobby, tmp_path, notice="")
        ann = lobby.add_participant("Ann")
        await ann.speak(tone(440, 0.5))
        ann.leave()
        await trio.sleep(3)
        path = first.bot.folder / f"Ann-{ann.participant_id}.wav"
        assert where(read_wav(path)) == pytest.approx((0, 0.5), abs=0.03)
        second = await start(lobby, tmp_path)
        await trio.sleep(1)
        assert second.bot.folder != first.bot.folder
        await first.stop()
        await second.stop()


async def test_who_is_heard_through_one_stream_after_another_has_one_file(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with FakeLobby() as lobby:
        running = await start(lobby, tmp_path, mixed=False)
        ann = lobby.add_participant("Ann")
        await ann.speak(tone(440, 0.5))
        await trio.sleep(3)
        # As a relay does in a crowd: it has other ears to open.
        (session,) = lobby._sessions
        stream = session._brought.pop((1, ann.participant_id))
        del session._ears[stream]
        session.send(AudioStreamEnded(stream=stream, reason="silent"))
        await trio.sleep(1)
        await ann.speak(tone(440, 0.5))
        await trio.sleep(1)
        await running.stop()
        (path,) = running.bot.folder.iterdir()
        samples = read_wav(path)
        assert where(samples[: 2 * RATE]) == pytest.approx((0, 0.5), abs=0.03)
        assert where(samples[2 * RATE :]) == pytest.approx((2.5, 3.0), abs=0.03)


async def test_frames_of_the_future_are_not_believed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with FakeLobby() as lobby:
        running = await start(lobby, tmp_path, participants=False)
        ann = lobby.add_participant("Ann")
        await ann.speak(tone(440, 0.5))
        (session,) = lobby._sessions
        (ear,) = session._ears.values()
        ear.skip_ticks(3600 * 50)
        await ann.speak(tone(440, 0.5))
        ear.skip_ticks(-3600 * 50)
        await ann.speak(tone(440, 0.5))
        await trio.sleep(2)
        await running.stop()
        samples = read_wav(running.bot.folder / "mixed.wav")
        assert len(samples) / RATE == pytest.approx(3.5, abs=0.1)
        assert where(samples) == pytest.approx((0, 1.5), abs=0.03)


async def test_files_can_be_played_while_they_are_written(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with FakeLobby() as lobby:
        running = await start(lobby, tmp_path, participants=False)
        lobby.add_participant("Ann").say(tone(440, 30.0))
        lengths = []
        for _ in range(3):
            await trio.sleep(5)
            path = running.bot.folder / "mixed.wav"
            lengths.append(len(read_wav(path)) / RATE)
            assert path.stat().st_size == 44 + 2 * round(lengths[-1] * RATE)
        # A second or two wait to be written; threads take their time, which the clock of this test does not know.
        assert lengths == sorted(set(lengths))
        assert lengths[0] > 1
        await running.stop()


async def test_a_disk_that_is_full_ends_the_recording_with_its_reason(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    class Small(Recorder):
        def _open(self, name: str) -> WavFile:
            (tmp_path / "full.wav").symlink_to("/dev/full")
            return WavFile(tmp_path / "full.wav", RATE)

    async def record() -> None:
        async with FakeLobby() as lobby:
            await lobby.start(partial(Small, directory=tmp_path), config={"participants": False})
            lobby.add_participant("Ann").say(tone(440, 30.0))
            await trio.sleep(60)

    with pytest.raises(RecordingError, match=r"full.wav cannot be written: the disk is full"):
        await record()


DYING = """
import os, sys
from pathlib import Path
import numpy as np
from voicebot.recording_files import OggFile, WavFile
from voicebot.testing import tone
for kind in (WavFile, OggFile):
    file = kind(Path(sys.argv[1]) / kind.__name__, 16000)
    for _ in range(20):
        file.write(np.frombuffer(tone(440, 0.5), "<i2"))
os._exit(3)  # without closing anything
"""


def test_what_was_written_is_there_when_the_program_dies(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False)
    assert done.returncode == 3
    for name, read in (("WavFile", read_wav), ("OggFile", read_ogg)):
        samples = read(tmp_path / name)
        assert len(samples) / RATE == pytest.approx(10, abs=1.1)
        assert where(samples)[1] > 8.5


@pytest.mark.parametrize("kind", [WavFile, OggFile])
def test_a_full_disk_is_told_at_every_step(tmp_path: Path, kind: type) -> None:
    (tmp_path / "a").symlink_to("/dev/full")
    noise = np.random.default_rng(1).integers(-9999, 9999, RATE).astype(np.int16)

    def write() -> None:
        file = kind(tmp_path / "a", RATE)
        try:
            for _ in range(100):
                file.write(noise)
        finally:
            with pytest.raises(RecordingError, match="the disk is full"):
                file.close()

    with pytest.raises(RecordingError, match="the disk is full"):
        write()


def test_silence_fills_gaps_and_what_is_written_stays(tmp_path: Path) -> None:
    file = WavFile(tmp_path / "a.wav", RATE)
    write_at(file, 600_000, np.full(320, 7, np.int16))
    write_at(file, 600_160, np.full(320, 9, np.int16))
    write_at(file, 100, np.full(320, 11, np.int16))
    file.close()
    samples = read_wav(tmp_path / "a.wav")
    assert len(samples) == 600_480
    assert (samples[:600_000].any(), set(samples[600_000:600_320]), set(samples[600_320:])) == (
        False,
        {7},
        {9},
    )


def test_a_wav_file_does_not_outgrow_its_header(tmp_path: Path) -> None:
    file = WavFile(tmp_path / "a.wav", RATE)
    file.length = 2**31
    with pytest.raises(RecordingError, match="no more than 4 GiB; record as opus"):
        file.write(np.zeros(1, np.int16))
    file.close()


def assignment(**config: object) -> voicebot.Assignment:
    return voicebot.Assignment("b-1", "garden", "l-1", "", "Recorder", config)


def test_a_recording_of_nothing_is_refused() -> None:
    with pytest.raises(RecordingError, match="there is nothing to record"):
        Recorder(assignment(mixed=False, participants=False))


def test_opus_without_pyav_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RecordingError, match="PyAV is needed: pip install av; or record as wav"):
        Recorder(assignment(format="opus"))


async def test_a_place_that_cannot_be_recorded_to_is_told_of(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    async def record() -> None:
        async with FakeLobby() as lobby:
            await start(lobby, tmp_path / "file" / "deeper")
            await trio.sleep(10)

    with pytest.raises(RecordingError, match="cannot be recorded to: Not a directory"):
        await record()
