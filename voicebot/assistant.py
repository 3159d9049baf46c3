"""A bot that one can talk to: OpenAI's Realtime API, or what speaks its dialect, hears the lobby and answers by voice.

How interruption works. The model's audio comes faster than it is played, so that what it believes to have said and what was heard are
two things. When somebody begins to speak the bot is cleared, which says how much was really heard; what was not is cut off the
model's memory, item by item, and what it was still saying is cancelled. What of that is on its way to us is thrown away.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import trio

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.audio.barge_in import BargeIn
from voicebot.audio.playout import Playout
from voicebot.bot import Assignment, Bot
from voicebot.connection import Connection
from voicebot.errors import VoicebotError
from voicebot.nursery import open_bare_nursery
from voicebot.services.openai_realtime import (
    SERVICE,
    AudioDelta,
    ErrorEvent,
    Listened,
    RealtimeEvent,
    RealtimeSettings,
    ResponseCreated,
    ResponseDone,
    SpeechStarted,
    SpeechStopped,
    Spoken,
    cancel_response,
    create_response,
    text_item,
    truncate_item,
)
from voicebot.services.realtime_session import Connected, Lost, RealtimeSession, SessionStatistics
from voicebot.speech import HeardSpan, Speech
from voicebot.stream import OpenStream
from voicebot.voice_memory import VoiceMemory

#: The model's turn detection is the finer the sooner it hears; 40 ms are 25 messages a second.
FRAME_MS = 40
#: What may wait to be heard: who talks longer than that is not listened to any more, and is cancelled.
MAX_SPEECH_S = 120.0
#: How long the relay may take to clear; after that the model is not told what was heard.
CLEAR_S = 2.0
#: What comes of telling the model what it has found out by itself: there is nothing to cancel, or it is cut already.
TOLERATED_ERRORS = frozenset({"response_cancel_not_active", "invalid_value", "item_truncate_invalid_item_id"})
#: Responses that were interrupted and may still send audio.
MAX_CUT_RESPONSES = 64
#: Who speaks makes it quieter at once; whether that is an interruption the model decides, which takes it some 300 ms longer.
#: A cough is none, and after it the bot goes on as it was.
DUCK = BargeIn(min_ms=float("inf"))
INSTRUCTIONS = (
    "You are a friendly voice assistant in a conference call with one or more people. Be brief: one to three sentences. "
    "Speak the language that you are spoken to in."
)
GREETING = "Greet the people in the call in one short sentence."


@dataclass(frozen=True, slots=True)
class AssistantStatistics:
    """Counters of an assistant; all only grow."""

    session: SessionStatistics
    responses: int
    interruptions: int
    #: Audio that came after an interruption, or beyond ``MAX_SPEECH_S``.
    dropped_speech_ms: float


class Assistant(Bot):
    """See the module.

    ``config``: ``instructions``, ``voice``, ``language``; whether it greets (``greet``), and is
    quieter while somebody else speaks (``duck``).
    """

    title: ClassVar[str] = "Assistant"
    description: ClassVar[str] = "Listens, answers by voice, and lets itself be interrupted."
    capabilities: ClassVar[tuple[str, ...]] = ("voice", "assistant")
    config_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "instructions": {"type": "string", "maxLength": 8000},
            "voice": {"type": "string", "minLength": 1, "maxLength": 64},
            "language": {"type": "string", "maxLength": 20},
            "greet": {"type": "boolean"},
            "duck": {"type": "boolean"},
        },
        "additionalProperties": False,
    }

    def __init__(
        self,
        assignment: Assignment,
        *,
        settings: RealtimeSettings | None = None,
        breaker: CircuitBreaker | None = None,
        open_stream: OpenStream | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take ``settings`` from the environment if left out.

        Bots of one provider should share a ``breaker``. ``report`` is told what an operator may want to know.

        Raises: MissingKeyError, ValueError.
        """
        super().__init__(assignment)
        config = assignment.config
        settings = settings or RealtimeSettings.from_environment(os.environ)
        self._settings = replace(
            settings,
            instructions=config.get("instructions") or settings.instructions or INSTRUCTIONS,
            voice=config.get("voice") or settings.voice,
            language=config.get("language") or settings.language,
        )
        self._duck: BargeIn | bool = DUCK if config.get("duck", True) else False
        self._greet: bool = config.get("greet", False)
        self._session = RealtimeSession(
            self._settings,
            breaker=breaker or CircuitBreaker(SERVICE),
            handle=self.handle,
            recall=self._recall,
            open_stream=open_stream,
        )
        self._report = report
        self._memory = VoiceMemory()
        #: What is being said or waits to be, in order; with how it is played once that has begun.
        self._speeches: list[_Utterance] = []
        self._to_play, self._played_next = trio.open_memory_channel[_Utterance](16)
        #: The response that the model is making.
        self._response: str | None = None
        self._cut: OrderedDict[str, None] = OrderedDict()
        self._conversation = 0
        self._responses = 0
        self._interruptions = 0
        self._dropped_ms = 0.0
        self._connection: Connection

    def statistics(self) -> AssistantStatistics:
        """Return the counters as they are now."""
        return AssistantStatistics(
            self._session.statistics(), self._responses, self._interruptions, self._dropped_ms
        )

    async def run(self, connection: Connection) -> None:
        """See ``Bot``.

        Raises: ServiceRefusedError when the service does not want us; ConnectionLostError.
        """
        self._connection = connection
        async with open_bare_nursery() as nursery:
            nursery.start_soon(self._session.run)
            nursery.start_soon(self._play)
            async with connection.mixed(rate=self._settings.rate, frame_ms=FRAME_MS) as heard:
                async for frame in heard:
                    self._session.feed(frame.pcm, frame.timestamp)

    async def handle(self, event: RealtimeEvent | Connected | Lost) -> None:
        """Do what an event of the model says; they come in their order."""
        match event:
            case AudioDelta():
                self._speak(event)
            case SpeechStarted():
                await self._interrupt()
            case ResponseCreated(response_id=response_id):
                self._responses += 1
                self._response = response_id
                self._cut.pop(response_id, None)  # some give no ids
            case ResponseDone(response_id=response_id, status=status, reason=reason):
                self._finish(response_id)
                if status in {"failed", "incomplete"}:
                    self._report(f"{SERVICE} could not answer: {reason or status}")
            case SpeechStopped():
                self._cut.pop("", None)
            case Spoken(item_id=item_id, text=text):
                self._memory.add("assistant", text, item_id)
            case Listened(text=text):
                self._memory.add("user", text)
            case Connected(again=again):
                self._conversation += 1
                if self._greet and not again:
                    self._session.say(create_response(GREETING))
            case ErrorEvent(message=message) if not self._tolerable(event):
                self._report(f"{SERVICE} says: {message[:300]}")
            case Lost(error=error):
                self._report(str(error))
                self._finish(None)
                self._cut.clear()

    @staticmethod
    def _tolerable(error: ErrorEvent) -> bool:
        """Cancelling and truncating cross with what the model does by itself at the same moment."""
        return error.code in TOLERATED_ERRORS

    def _speak(self, delta: AudioDelta) -> None:
        if delta.response_id in self._cut:
            self._dropped_ms += len(delta.pcm) * 500 / self._settings.rate
            return
        utterance = self._speeches[-1] if self._speeches else None
        if utterance is None or utterance.speech.name != delta.response_id or utterance.speech.finished:
            utterance = self._begin(delta.response_id)
            if utterance is None:
                return
        if not utterance.speech.append(delta.item_id, delta.content_index, delta.pcm):
            self._dropped_ms += len(delta.pcm) * 500 / self._settings.rate
            # It talks and talks: what it has said so far is heard, the rest is not made.
            utterance.speech.finish()
            self._forbid(delta.response_id)
            self._session.say(cancel_response(self._response or None))

    def _begin(self, response_id: str) -> "_Utterance | None":
        self._settle()
        speech = Speech(response_id, self._settings.rate, limit_s=MAX_SPEECH_S)
        utterance = _Utterance(speech, self._conversation)
        try:
            self._to_play.send_nowait(utterance)
        except trio.WouldBlock:  # the relay does not answer, and sixteen wait already
            self._forbid(response_id)
            return None
        self._speeches.append(utterance)
        return utterance

    def _finish(self, response_id: str | None) -> None:
        """The model has said all of this response, or (None) says nothing more at all."""
        for utterance in self._speeches:
            if response_id in {None, utterance.speech.name}:
                utterance.speech.finish()
        if response_id in {None, self._response}:
            self._response = None

    def _forbid(self, response_id: str) -> None:
        """Let nothing more of a response be heard. One without an id is forbidden until the next begins."""
        self._cut[response_id] = None
        if len(self._cut) > MAX_CUT_RESPONSES:
            self._cut.popitem(last=False)

    async def _interrupt(self) -> None:
        """Be silent, and let the model know what was heard before that."""
        self._settle()
        interrupted, self._speeches = self._speeches, []
        if self._response is not None:
            self._forbid(self._response)
        if interrupted:
            self._interruptions += 1
            for utterance in interrupted:
                if not utterance.speech.finished:
                    self._forbid(utterance.speech.name)
                utterance.speech.cut()
            await self._clear()
            for utterance in interrupted:
                self._tell_heard(utterance)
        if self._response is not None:
            self._session.say(cancel_response(self._response or None))

    def _settle(self) -> None:
        """Forget what is over; what our own connection has cut off was heard in part, too."""
        for utterance in self._speeches:
            if utterance.over and (utterance.playout is None or utterance.playout.interrupted):
                self._tell_heard(utterance)
        self._speeches = [each for each in self._speeches if not each.over]

    async def _clear(self) -> None:
        # If our own connection is in trouble they are over with it, and were heard as far as it last told.
        with suppress(VoicebotError), trio.move_on_after(CLEAR_S):
            await self._connection.clear()

    def _tell_heard(self, utterance: "_Utterance") -> None:
        for span in utterance.heard():
            if not span.whole:
                if utterance.conversation == self._conversation:
                    self._session.say(truncate_item(span.item_id, span.content_index, span.heard_ms))
                self._memory.cut(span)

    async def _play(self) -> None:
        """Begin to play one utterance after the other; the relay lets them be heard in this order."""
        async for utterance in self._played_next:
            if utterance.speech.was_cut:
                continue
            try:
                utterance.playout = await self._connection.play(
                    utterance.speech, rate=self._settings.rate, interruptible=self._duck
                )
            except VoicebotError as error:
                # Should the connection be lost for good, what hears with it says so.
                self._report(f"an answer could not be played: {error}")
                utterance.failed = True
                utterance.speech.cut()

    def _recall(self) -> list[dict[str, Any]]:
        return [text_item(role, text) for role, text in self._memory.lines()]


@dataclass(slots=True, eq=False)
class _Utterance:
    """A speech, and how it is played."""

    speech: Speech
    #: In which it was said: the model of another knows nothing of it.
    conversation: int
    playout: Playout | None = None
    failed: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing more of it will be heard."""
        return self.failed or (self.playout is not None and self.playout.done)

    def heard(self) -> list[HeardSpan]:
        return self.speech.heard(0.0 if self.playout is None else self.playout.played_ms)
