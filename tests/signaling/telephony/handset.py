"""Phones in use: each says a tone, 20 ms at a time as a phone does, and hears what the lobby says to it."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

import numpy as np
import trio
from numpy.typing import NDArray
from phone_client import Phone, ask_twiml, connect_of, phone
from trio_websocket import ConnectionClosed

from signaling.server import RunningServer
from signaling.telephony.g711 import decode_mulaw
from signaling.telephony.line import Samples

AMPLITUDE = 8000
FRAME_SECONDS = 0.02
#: What is looked at: half a second, so that a hertz or two are told apart.
WINDOW_SECONDS = 0.5
#: Longer than anything takes on a busy machine.
PATIENCE_SECONDS = 60


def share(samples: NDArray[np.int16], hertz: float, rate: int) -> float:
    """Return which part of the energy is within 20 Hz of a frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size))) ** 2
    near = np.abs(np.fft.rfftfreq(samples.size, 1 / rate) - hertz) < 20
    return float(spectrum[near].sum() / max(spectrum.sum(), 1e-9))


def amplitude_of(samples: NDArray[np.int16]) -> float:
    """Return the amplitude of a tone."""
    return float(np.sqrt(2 * np.mean(samples.astype(float) ** 2)))


class Handset:
    """See the module."""

    def __init__(self, line: Phone, *, rate: int, hertz: float, linear: bool) -> None:
        self.line = line
        self.rate = rate
        self.hertz = hertz
        self.linear = linear
        self.heard = np.zeros(0, np.int16)
        self.cleared = 0
        #: Whether marks are sent back, as they are when all before them has been played.
        self.answers_marks = True
        self.marks: list[str] = []

    async def talk(self) -> None:
        """Say the tone, for ever."""
        size = round(self.rate * FRAME_SECONDS)
        began = trio.current_time()
        speak = self.line.speak_linear if self.linear else self.line.speak
        with suppress(ConnectionClosed):
            for number in count():
                times = np.arange(number * size, (number + 1) * size) / self.rate
                tone = AMPLITUDE * np.sin(2 * np.pi * self.hertz * times)
                await speak(np.round(tone).astype(np.int16))
                await trio.sleep_until(began + (number + 1) * FRAME_SECONDS)

    async def take(self) -> str:
        """Take a message; return which event it was."""
        message = json.loads(await self.line.socket.get_message())
        event: str = message["event"]
        if event == "media":
            payload = base64.b64decode(message["media"]["payload"])
            if self.linear:
                assert len(payload) >= 3200
                assert len(payload) % 320 == 0
            heard = np.frombuffer(payload, "<i2") if self.linear else decode_mulaw(payload)
            self.heard = np.concatenate((self.heard, heard))[-10 * self.rate :]
        elif event == "mark":
            self.marks.append(message["mark"]["name"])
            if self.answers_marks:
                await self.line.say(event="mark", mark=message["mark"])
        else:
            assert event == "clear"
            self.cleared += 1
        return event

    async def until(self, is_enough: Callable[[Samples], bool]) -> Samples:
        """Listen until what was heard last satisfies; return that."""
        size = int(WINDOW_SECONDS * self.rate)
        with trio.fail_after(PATIENCE_SECONDS):
            while self.heard.size < size or not is_enough(self.heard[-size:]):
                await self.take()
        return self.heard[-size:]

    async def until_tone(self, hertz: float) -> Samples:
        """Listen until there is this tone and nothing else."""
        return await self.until(lambda last: amplitude_of(last) > 50 and share(last, hertz, self.rate) > 0.99)

    async def until_silence(self) -> None:
        await self.until(lambda last: amplitude_of(last) < 50)

    def forget(self) -> None:
        """Listen anew."""
        self.heard = np.zeros(0, np.int16)


@asynccontextmanager
async def twilio_call(server: RunningServer, hertz: float, **form: str) -> AsyncIterator[Handset]:
    """Call by Twilio, the webhook first; say nothing yet."""
    call = {"CallSid": "CA1", "AccountSid": "AC1", "From": "+14158675309", "To": "+18005551212", **form}
    told = connect_of(await ask_twiml(server, call))
    async with phone(server) as line:
        await line.start_twilio(told.parameters, call["CallSid"])
        yield Handset(line, rate=8000, hertz=hertz, linear=False)


@asynccontextmanager
async def exotel_call(
    server: RunningServer, password: str, hertz: float, rate: int = 16_000
) -> AsyncIterator[Handset]:
    """Call by Exotel; say nothing yet."""
    basic = base64.b64encode(f"exotel:{password}".encode()).decode()
    async with phone(server, "/telephony/exotel", Authorization=f"Basic {basic}") as line:
        await line.say(event="connected")
        await line.say(
            event="start",
            stream_sid="s1",
            start={
                "stream_sid": "s1",
                "call_sid": "c1",
                "account_sid": "a1",
                "from": "+919876543210",
                "to": "+18005551212",
                "media_format": {"encoding": "base64", "sample_rate": str(rate)},
            },
        )
        yield Handset(line, rate=rate, hertz=hertz, linear=True)
