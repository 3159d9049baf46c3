"""The bot that says a file or a text, and goes: what it plays, and what it says of what it cannot. Fake lobby, virtual time."""

import sys
import wave
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

import voicebot
from voicebot.announcer import AnnouncementError, Announcer
from voicebot.espeak import EspeakError, speak
from voicebot.sound_files import SoundFileError, open_sound_file
from voicebot.testing import FakeLobby, threads_take_no_time, tone

RATE = 16000


@pytest.fixture(autouse=True)
def _timeless_threads() -> Iterator[None]:
    with threads_take_no_time():
        yield


def write_wav(path: Path, frames: bytes, *, rate: int = RATE, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(frames)
    return path


def program(path: Path, body: str) -> str:
    """A program that takes the place of espeak-ng."""
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(0o755)
    return str(path)


def assignment(**config: object) -> voicebot.Assignment:
    return voicebot.Assignment("b-1", "garden", "l-1", "", "Bot", config)


async def test_it_plays_a_file_as_often_as_it_is_told_and_goes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    write_wav(tmp_path / "bell.wav", tone(440, 2.5))
    async with FakeLobby() as lobby:
        config = {"file": "bell.wav", "times": 2, "pause_s": 3}
        running = await lobby.start(partial(Announcer, directory=tmp_path), config=config)
        await running.wait()
        first, second = lobby.heard("Bot")
        assert first.samples.tobytes() == second.samples.tobytes() == tone(440, 2.5)
        assert second.began_ms - first.began_ms == pytest.approx(5500, abs=40)


async def test_it_says_a_text_by_espeak(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    # As espeak-ng does it: the sizes in the header are not known yet when it is written.
    body = (
        "text, voice = sys.stdin.read(), sys.argv[sys.argv.index('-v') + 1]\n"
        "header = b'RIFF\\xff\\xff\\xff\\x7fWAVEfmt \\x10\\0\\0\\0\\1\\0\\1\\0'\n"
        "header += (22050).to_bytes(4, 'little') + (44100).to_bytes(4, 'little')\n"
        "header += b'\\2\\0\\x10\\0data\\xff\\xff\\xff\\x7f'\n"
        "sys.stdout.buffer.write(header + bytes(2205 * 2 * len(f'{voice}: {text}')))"
    )
    fake = program(tmp_path / "speech", body)
    assert await speak("-v help", voice="de", program=fake) == (bytes(4410 * 11), 22050)
    async with FakeLobby() as lobby:
        bot = partial(Announcer, program=fake)
        running = await lobby.start(bot, config={"text": "hello"})
        await running.wait()
        (heard,) = lobby.heard("Bot")
        assert (heard.played_ms, heard.rate) == (900, 24000)


async def test_an_announcement_that_is_cut_off_has_failed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    write_wav(tmp_path / "bell.wav", tone(440, 5.0))

    async def announce() -> None:
        async with FakeLobby() as lobby:
            bot = partial(Announcer, directory=tmp_path)
            running = await lobby.start(bot, config={"file": "bell.wav"})
            await trio.sleep(1)
            with suppress(voicebot.ConnectionLostError):  # it goes as soon as it knows
                await running.connection.clear()
            await trio.sleep(1)

    with pytest.raises(AnnouncementError, match="not heard to its end: cleared"):
        await announce()


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({}, "expected either `text` or `file`"),
        ({"text": "a", "file": "b"}, "expected either `text` or `file`"),
        ({"file": "../secret.wav"}, "the name of a file within the announcer's directory"),
        ({"file": "link.wav"}, "the name of a file within the announcer's directory"),
        ({"text": "a", "voice": "-x"}, "expected a voice such as en or de"),
        ({"text": "a", "voice": "../x"}, "expected a voice such as en or de"),
    ],
)
def test_what_it_cannot_say_is_refused_at_once(tmp_path: Path, config: dict[str, str], fault: str) -> None:
    (tmp_path / "link.wav").symlink_to("/etc/hostname")
    with pytest.raises(AnnouncementError, match=fault):
        Announcer(assignment(**config), directory=tmp_path)


def test_it_plays_no_files_without_a_directory() -> None:
    with pytest.raises(AnnouncementError, match="no directory"):
        Announcer(assignment(file="bell.wav"))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("sys.exit('no voice is called so')", "could not speak: no voice is called so"),
        ("sys.exit(3)", "could not speak: it ended with 3"),
        ("print('hello')", "said nothing: expected a WAV file, received 6 bytes"),
    ],
)
async def test_what_espeak_fails_at_is_told(tmp_path: Path, body: str, fault: str) -> None:
    with pytest.raises(EspeakError, match=fault):
        await speak("hello", program=program(tmp_path / "speech", body))


async def test_a_program_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(EspeakError, match="is not installed: install it"):
        await speak("hello", program=str(tmp_path / "nothing"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(EspeakError, match="cannot be run"):
        await speak("hello", program=str(tmp_path / "text"))


async def read(path: Path) -> tuple[int, bytes]:
    file = await open_sound_file(path)
    return file.rate, b"".join([piece async for piece in file.pieces])


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
async def test_wav_files_of_every_kind_are_read(tmp_path: Path, width: int, channels: int) -> None:
    samples = np.arange(-30000, 30001, 3000, dtype=np.int16)
    parts = {
        1: ((samples >> 8) + 128).astype(np.uint8).tobytes(),
        2: samples.tobytes(),
        3: b"".join(b"\x55" + each.tobytes() for each in samples),
        4: b"".join(b"\x55\xaa" + each.tobytes() for each in samples),
    }
    frames = np.frombuffer(parts[width], np.uint8).reshape(-1, width)
    path = write_wav(
        tmp_path / "a.wav",
        frames.repeat(channels, axis=0).tobytes(),
        rate=44100,
        channels=channels,
        width=width,
    )
    rate, pcm = await read(path)
    expected = samples if width > 1 else samples >> 8 << 8
    assert (rate, np.frombuffer(pcm, "<i2").tolist()) == (44100, expected.tolist())


async def test_other_files_are_read_by_pyav(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.ogg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48000)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(
            np.frombuffer(tone(440, 1.0, rate=48000), "<i2").repeat(2)[None, :], format="s16", layout="stereo"
        )
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    rate, pcm = await read(path)
    samples = np.frombuffer(pcm, "<i2")
    assert rate == 48000
    assert len(samples) == pytest.approx(48000, abs=1000)
    spectrum = np.abs(np.fft.rfft(samples[:48000]))
    assert spectrum.argmax() * 48000 / min(48000, len(samples)) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be opened: No such file"),
        (b"hello", "no file with sound"),
        (b"", "no file with sound"),
        (b"RIFF\x00\x00\x00\x00WAVE", "no file with sound"),
    ],
)
async def test_files_that_cannot_be_played_are_told_of(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SoundFileError, match=fault):
        await open_sound_file(path)


async def test_without_pyav_other_files_are_told_to_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3 is how they begin")
    with pytest.raises(SoundFileError, match="for other kinds install PyAV: pip install av"):
        await open_sound_file(path)


async def test_a_file_that_was_cut_off_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, 3.0), channels=2)
    path.write_bytes(path.read_bytes()[:-10_001])
    _, pcm = await read(path)
    assert len(pcm) == (len(tone(440, 3.0)) - 10_004) // 2
