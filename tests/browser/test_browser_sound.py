"""The page and a bot in Python, which has no WebRTC, in one lobby."""

import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat

import numpy as np
import pytest
import trio
from browser_tones import TOLERANCE_HZ, oscillator_microphone

import voicebot
from voicebot.testing import tone

PAGE_HZ = 1320
GRACE_HZ = 2200
BOT_HZ = 700
RATE = 16_000
#: What `oscillator_microphone` gives to Chromium, against full scale: a sine of half of it.
PAGE_DB = 20 * math.log10(0.5 / math.sqrt(2))
PATIENCE_SECONDS = 60


def test_page_and_bot_hear_each_other(open_tab, server, lobby):
    ada = open_tab(scripts=(oscillator_microphone(PAGE_HZ),))
    ada.page.click("#preview-camera")
    ada.enter("Ada", lobby)
    ada.wait_state("Connected")
    with run_singer(f"ws://127.0.0.1:{server.port}/ws", lobby) as heard:
        ada.wait_tile("Singer", speaking="true", muted="false")
        ada.wait_tones([BOT_HZ], TOLERANCE_HZ)
        ada.wait(heard.done, "a second of what Ada says")
        samples = heard.result()
        ada.wait_tile("Ada (you)", speaking="true")
    ada.wait_no_tile("Singer")
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / RATE) - PAGE_HZ) < 30
    assert np.argmax(spectrum) == pytest.approx(PAGE_HZ, abs=1)  # a second: 1 Hz is a bin
    assert spectrum[near].sum() / spectrum.sum() > 0.99
    assert 20 * np.log10(np.sqrt(np.mean((samples / 32768) ** 2))) == pytest.approx(PAGE_DB, abs=1)


def test_what_a_bot_says_to_one_alone_is_heard_by_that_one_beside_the_others(open_tab, server, lobby):
    ada = open_tab(scripts=(oscillator_microphone(PAGE_HZ),))
    grace = open_tab(scripts=(oscillator_microphone(GRACE_HZ),))
    for tab, name in ((ada, "Ada"), (grace, "Grace")):
        tab.page.click("#preview-camera")
        tab.enter(name, lobby)
        tab.wait_state("Connected")
    ada.wait_tones([GRACE_HZ], TOLERANCE_HZ)

    async def whisper(bot: voicebot.Connection) -> None:
        (listener,) = (each for each in bot.lobby.others if each.name == "Ada")
        await bot.play(repeat(tone(BOT_HZ, 1.0, rate=RATE)), rate=RATE, to=listener.participant_id)

    with run_bot(f"ws://127.0.0.1:{server.port}/ws", lobby, whisper):
        ada.wait_mixed_tones([GRACE_HZ, BOT_HZ])
        grace.wait_tones([PAGE_HZ], TOLERANCE_HZ)
    ada.wait_tones([GRACE_HZ], TOLERANCE_HZ)


@contextmanager
def run_singer(url: str, lobby: str) -> Iterator["Future[np.ndarray]"]:
    """Let a bot sing for the length of the scope; yields what it hears in the middle of it: one second."""
    heard: Future[np.ndarray] = Future()

    async def sing(bot: voicebot.Connection) -> None:
        await bot.play(repeat(tone(BOT_HZ, 1.0, rate=RATE)), rate=RATE)
        try:
            heard.set_result(await hear_second(bot))
        except BaseException as error:
            heard.set_exception(error)
            raise

    with run_bot(url, lobby, sing):
        yield heard


@contextmanager
def run_bot(url: str, lobby: str, begin: Callable[[voicebot.Connection], Awaitable[None]]) -> Iterator[None]:
    """Let a bot be in a lobby for the length of the scope, in a thread of its own; `begin`: what it does first."""
    over = threading.Event()

    async def stay() -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            async with voicebot.connect(url, lobby=lobby, name="Singer", is_bot=True) as bot:
                await begin(bot)
                await trio.to_thread.run_sync(over.wait, abandon_on_cancel=True)

    with ThreadPoolExecutor(1) as executor:
        staying = executor.submit(trio.run, stay)
        try:
            yield
        finally:
            over.set()
            staying.result()


async def hear_second(bot: voicebot.Connection) -> np.ndarray:
    """Return a second of what all but the bot say, when they have spoken for one."""
    frames: list[voicebot.AudioFrame] = []
    async for frame in bot.mixed(rate=RATE):
        frames = [*frames, frame] if frame.level < 60 else []
        if len(frames) == 100:
            break
    assert not any(frame.gap for frame in frames)
    return np.concatenate([frame.samples for frame in frames[50:]])
