"""A Deepgram of our own: it understands speech in which each word is a run of samples of one value.

Word n is the value n * 100; silence is 0. As the real one does it sends results that are interim and final, ends a turn after
``endpointing`` ms of silence, closes with NET-0001 after 10 s without audio or KeepAlive, and flushes for Finalize and CloseStream.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import numpy as np
import trio
from websocket_host import Call, WebSocketHost, open_host

WORDS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
STEP = 100
KEY = "dg-secret"
SILENCE_LIMIT_S = 10.0


def speech(text: str, *, rate: int = 16000, word_ms: int = 200, pause_ms: int = 0) -> bytes:
    """Return a voice that says these words; a dot is half a second of silence, and so is ``pause_ms`` at the end."""
    samples = [
        np.zeros(rate // 2, "<i2")
        if word == "."
        else np.full(rate * word_ms // 1000, WORDS.index(word) * STEP, "<i2")
        for word in text.split()
    ]
    samples.append(np.zeros(rate * pause_ms // 1000, "<i2"))
    return np.concatenate(samples).tobytes()


class Recognizer:
    """What one connection has heard."""

    def __init__(self, rate: int, endpointing_ms: int) -> None:
        self.rate = rate
        self.endpointing = endpointing_ms * rate // 1000
        self.position = 0
        self.words: list[dict[str, object]] = []
        self._value = 0
        self._silent = 0
        self._left = b""

    def hear(self, pcm: bytes) -> bool:
        """Take audio; True when an utterance has just ended."""
        ended = False
        step = self.rate // 100  # nothing changes within 10 ms
        self._left += pcm
        whole = len(self._left) // (2 * step) * step
        numbers = np.round(np.frombuffer(self._left[: 2 * whole], "<i2")[::step] / STEP).astype(int)
        numbers[(numbers < 0) | (numbers >= len(WORDS))] = 0  # what is no word is noise
        for value in numbers:
            if value and value != self._value:
                word = {"word": WORDS[value], "start": self.position / self.rate, "confidence": 0.9}
                self.words.append(word)
            self._value = value
            self.position += step
            if value and self.words:
                self.words[-1]["end"] = self.position / self.rate
            if value:
                self._silent = 0
            elif self.words:
                self._silent += step
                ended |= self._silent == self.endpointing
        self._left = self._left[2 * whole :]
        return ended

    def results(self, *, final: bool, **more: bool) -> str:
        words, start = self.words, self.words[0]["start"] if self.words else self.position / self.rate
        if final:
            self.words = []
        text = " ".join(str(each["word"]) for each in words)
        return json.dumps(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "start": start,
                "duration": self.position / self.rate - float(start),
                "is_final": final,
                "speech_final": False,
                "from_finalize": False,
                **more,
                "channel": {
                    "alternatives": [{"transcript": text, "confidence": 0.9 if words else 0, "words": words}]
                },
                "metadata": {"request_id": "r", "model_info": {"name": "ours"}},
            }
        )


class DeepgramServer:
    """Attributes are what a test may change, and read."""

    def __init__(self) -> None:
        self.host: WebSocketHost
        #: Texts of control messages, in order; "audio" for a run of audio.
        self.heard: list[str] = []
        self.audio = bytearray()
        self.recognizers: list[Recognizer] = []
        #: Said by the server before each of its results.
        self.noise: list[str | bytes] = []
        #: Cut the connection after so many bytes of audio, once.
        self.cut_after: int | None = None
        #: Freeze after so many bytes of audio, once.
        self.freeze_after: int | None = None
        #: Never say anything.
        self.mute = False
        #: Ends turns with UtteranceEnd, as with noise in the background, instead of speech_final.
        self.noisy_room = False

    async def talk(self, call: Call) -> None:
        query = parse_qs(urlsplit(call.path).query)
        recognizer = Recognizer(int(query["sample_rate"][0]), int(query["endpointing"][0]))
        self.recognizers.append(recognizer)
        while True:
            with trio.move_on_after(SILENCE_LIMIT_S) as patience:
                message = await call.receive()
            if patience.cancelled_caught:
                await call.websocket.aclose(1011, "Deepgram did not receive audio data (NET-0001)")
                return
            if isinstance(message, bytes):
                await self._listen(call, recognizer, message)
                continue
            kind = json.loads(message)["type"]
            self.heard.append(kind)
            if kind == "Finalize":
                await self._say(call, recognizer.results(final=True, from_finalize=True))
            elif kind == "CloseStream":
                await self._say(call, recognizer.results(final=True))
                await self._say(
                    call, json.dumps({"type": "Metadata", "request_id": "r", "duration": 1.0, "channels": 1})
                )
                await call.websocket.aclose(1000)
                return

    async def _listen(self, call: Call, recognizer: Recognizer, pcm: bytes) -> None:
        if not self.heard or self.heard[-1] != "audio":
            self.heard.append("audio")
        self.audio += pcm
        if self.cut_after is not None and len(self.audio) >= self.cut_after:
            self.cut_after = None
            await call.cut()
            return
        if self.freeze_after is not None and len(self.audio) >= self.freeze_after:
            self.freeze_after = None
            call.freeze()
            return
        began = not recognizer.words
        ended = recognizer.hear(pcm)
        if began and recognizer.words:
            await self._say(
                call,
                json.dumps(
                    {"type": "SpeechStarted", "channel": [0], "timestamp": recognizer.words[0]["start"]}
                ),
            )
        if ended and self.noisy_room:
            end = recognizer.words[-1]["end"]
            await self._say(call, recognizer.results(final=True))
            await self._say(
                call, json.dumps({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": end})
            )
        elif ended:
            await self._say(call, recognizer.results(final=True, speech_final=True))
        elif recognizer.words:
            await self._say(call, recognizer.results(final=False))

    async def _say(self, call: Call, text: str) -> None:
        if self.mute:
            return
        for each in self.noise:
            await call.send(each)
        await call.send(text)


@asynccontextmanager
async def open_deepgram() -> AsyncIterator[DeepgramServer]:
    server = DeepgramServer()
    async with open_host(server.talk) as server.host:
        server.host.authorization = f"Token {KEY}"
        yield server
