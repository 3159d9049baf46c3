"""The page and a bot in Python, which has no WebRTC, in one lobby."""

import math
import threading
from collections.abc import Iterator
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


@contextmanager
def run_singer(url: str, lobby: str) -> Iterator["Future[np.ndarray]"]:
    """Let a bot sing in a thread of its own, for the length of the scope; yields what it hears in the middle of it: one second."""
    heard: Future[np.ndarray] = Future()
    over = threading.Event()

    async def sing() -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            async with voicebot.connect(url, lobby=lobby, name="Singer", is_bot=True) as bot:
                await bot.play(repeat(tone(BOT_HZ, 1.0, rate=RATE)), rate=RATE)
                try:
                    heard.set_result(await hear_second(bot))
                except BaseException as error:
                    heard.set_exception(error)
                    raise
                await trio.to_thread.run_sync(over.wait, abandon_on_cancel=True)

    with ThreadPoolExecutor(1) as executor:
        singing = executor.submit(trio.run, sing)
        try:
            yield heard
        finally:
            over.set()
            singing.result()


async def hear_second(bot: voicebot.Connection) -> np.ndarray:
    """Return a second of what all but the bot say, when they have spoken for one."""
    frames: list[voicebot.AudioFrame] = []
    async for frame in bot.mixed(rate=RATE):
        frames = [*frames, frame] if frame.level < 60 else []
        if len(frames) == 100:
            break
    assert not any(frame.gap for frame in frames)
    return np.concatenate([frame.samples for frame in frames[50:]])
