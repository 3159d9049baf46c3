"""A Realtime API of our own: it hears speech wherever samples are not 0, and answers every utterance with a voice of its own.

It checks what it is told as the real one does: a truncation beyond the end of the audio, a cancellation of nothing and a
format it does not have are errors. Audio comes as fast as it can be sent.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import numpy as np
import trio
from websocket_host import Call, WebSocketHost, open_host

KEY = "sk-realtime"
RATE = 24000
SILENCE_SAMPLES = RATE // 2


@dataclass
class Item:
    """Something the model said."""

    item_id: str
    samples: int = 0
    truncated_ms: int | None = None


@dataclass
class Conversation:
    """One connection: what was said both ways."""

    call: Call
    settings: dict = field(default_factory=dict)
    #: Types of what the client said, appends left out.
    heard: list[str] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    items: dict[str, Item] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    response: str | None = None
    answering: trio.CancelScope = field(default_factory=trio.CancelScope)
    speaking: bool = False
    silent: int = 0
    voiced: int = 0

    async def send(self, kind: str, **more: object) -> None:
        await self.call.send(json.dumps({"type": kind, "event_id": "e", **more}))


class RealtimeServer:
    """Attributes are what a test may change, and read."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.host: WebSocketHost
        self.conversations: list[Conversation] = []
        #: Lengths of the items of each answer, in seconds.
        self.answer_s: tuple[float, ...] = (2.0,)
        #: The answer waits this long before it ends, after its audio was sent.
        self.linger_s = 0.0
        self.level = 8000
        #: Said before anything else in each answer.
        self.noise: list[str | bytes] = []
        #: Names events as the beta did.
        self.old_names = False
        #: Takes so much voice for speech, and less for a cough.
        self.start_samples = 0
        #: Interrupts its response by itself when somebody speaks.
        self.interrupts = True
        #: Says nothing at the beginning.
        self.mute = False
        #: The error that session.update leads to.
        self.update_error: str | None = None
        self._count = 0

    async def talk(self, call: Call) -> None:
        assert parse_qs(urlsplit(call.path).query)["model"], call.path
        assert urlsplit(call.path).path == "/v1/realtime"
        conversation = Conversation(call)
        self.conversations.append(conversation)
        if self.mute:
            await trio.sleep_forever()
        await conversation.send("session.created", session={"id": "s", "type": "realtime"})
        while True:
            event = json.loads(await call.receive())
            kind = event["type"]
            if kind != "input_audio_buffer.append":
                conversation.heard.append(kind)
            await self._take(conversation, kind, event)

    async def _take(self, talk: Conversation, kind: str, event: dict) -> None:
        if kind == "session.update":
            talk.settings = event["session"]
            formats = talk.settings["audio"]
            for each in (formats["input"], formats["output"]):
                assert each["format"] == {"type": "audio/pcm", "rate": RATE}
            if self.update_error is not None:
                await self._complain(talk, event, self.update_error)
            else:
                await talk.send("session.updated", session=talk.settings)
        elif kind == "input_audio_buffer.append":
            await self._listen(talk, base64.b64decode(event["audio"], validate=True))
        elif kind == "conversation.item.create":
            content = event["item"]["content"][0]
            talk.texts.append((event["item"]["role"], content["text"]))
            await talk.send("conversation.item.added", item=event["item"])
        elif kind == "response.create":
            self._nursery.start_soon(self._answer, talk)
        elif kind == "response.cancel":
            if talk.response is None or event.get("response_id", talk.response) != talk.response:
                await self._complain(talk, event, "response_cancel_not_active")
            else:
                talk.answering.cancel()
        elif kind == "conversation.item.truncate":
            item = talk.items.get(event["item_id"])
            if (
                item is None
                or event["audio_end_ms"] * RATE > item.samples * 1000
                or event["content_index"] != 0
            ):
                await self._complain(talk, event, "invalid_value")
            else:
                item.truncated_ms = event["audio_end_ms"]
                await talk.send("conversation.item.truncated", item_id=item.item_id)
        else:
            await self._complain(talk, event, "unknown_event")

    async def _complain(self, talk: Conversation, event: dict, code: str) -> None:
        talk.errors.append(code)
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": f"no: {code}",
            "event_id": event.get("event_id"),
        }
        await talk.send("error", error=error)

    async def _listen(self, talk: Conversation, pcm: bytes) -> None:
        talk.audio += pcm
        samples = np.frombuffer(pcm, "<i2")
        if samples.any():
            talk.silent = 0
            talk.voiced += len(samples)
            if not talk.speaking and talk.voiced >= self.start_samples:
                talk.speaking = True
                await talk.send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")
                if self.interrupts:
                    talk.answering.cancel()
            return
        talk.voiced = 0
        if talk.speaking:
            talk.silent += len(samples)
            if talk.silent >= SILENCE_SAMPLES:
                talk.speaking = False
                await talk.send("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="u")
                await talk.send("input_audio_buffer.committed", item_id="u")
                await talk.send(
                    "conversation.item.input_audio_transcription.completed",
                    item_id="u",
                    content_index=0,
                    transcript="What did you say?",
                )
                self._nursery.start_soon(self._answer, talk)

    async def _answer(self, talk: Conversation) -> None:
        try:
            await self._say(talk)
        except trio.ClosedResourceError:
            pass
        except Exception as error:
            if type(error).__name__ != "ConnectionClosed":
                raise

    async def _say(self, talk: Conversation) -> None:
        self._count += 1
        response = talk.response = f"r-{self._count}"
        talk.answering = trio.CancelScope()
        for each in self.noise:
            await talk.call.send(each)
        await talk.send("response.created", response={"id": response, "status": "in_progress"})
        with talk.answering:
            for number, seconds in enumerate(self.answer_s):
                await self._speak(talk, response, f"{response}-i{number}", seconds)
            await trio.sleep(self.linger_s)
        talk.response = None
        cut = talk.answering.cancelled_caught
        if cut:
            talk.cancelled.append(response)
        await talk.send(
            "response.done",
            response={"id": response, "status": "cancelled" if cut else "completed", "status_details": None},
        )

    async def _speak(self, talk: Conversation, response: str, item_id: str, seconds: float) -> None:
        names = "response.audio" if self.old_names else "response.output_audio"
        item = talk.items[item_id] = Item(item_id)
        await talk.send("response.output_item.added", response_id=response, item={"id": item_id})
        about = {"response_id": response, "item_id": item_id, "output_index": 0, "content_index": 0}
        left = round(seconds * RATE)
        while left:
            size = min(left, RATE // 5)
            left -= size
            item.samples += size
            pcm = np.full(size, self.level, "<i2").tobytes()
            await talk.send(f"{names}.delta", **about, delta=base64.b64encode(pcm).decode())
            await trio.lowlevel.checkpoint()
        await talk.send(f"{names}.done", **about)
        await talk.send(f"{names}_transcript.done", **about, transcript=f"This is {item_id} speaking.")


@asynccontextmanager
async def open_realtime() -> AsyncIterator[RealtimeServer]:
    async with trio.open_nursery() as nursery:
        server = RealtimeServer(nursery)
        async with open_host(server.talk) as server.host:
            server.host.authorization = f"Bearer {KEY}"
            yield server
        nursery.cancel_scope.cancel()
