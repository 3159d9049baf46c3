"""Listens to people while interruptible playouts are heard, and interrupts them: barge-in, as it is done."""

import inspect
from collections.abc import Callable

import trio

from voicebot.audio.barge_in import BargeIn, Speech
from voicebot.audio.frame import AudioFrame
from voicebot.audio.listening import Listening
from voicebot.audio.playing import Playing
from voicebot.audio.playout import Playout
from voicebot.audio.stream import AudioStream
from voicebot.errors import ProtocolError, VoicebotError


class Guard:
    """Of one connection. One subscription to the speakers is open while there is anything to be interrupted."""

    def __init__(
        self, listening: Listening, playing: Playing, tasks: trio.Nursery, is_bot: Callable[[str], bool]
    ) -> None:
        self._listening = listening
        self._playing = playing
        self._tasks = tasks
        self._is_bot = is_bot
        self._terms: dict[Playout, BargeIn] = {}
        #: By participant: the playout they speak over, and what they say.
        self._speech: dict[str | None, tuple[Playout, Speech]] = {}
        self._ducked = False
        self._running = False
        #: What predicates raised; each counts as False.
        self.faults = 0

    def add(self, playout: Playout, terms: BargeIn) -> None:
        """Let this one be interrupted."""
        if playout.done:
            return
        self._terms[playout] = terms
        if not self._running:
            self._running = True
            self._tasks.start_soon(self._run)

    async def settle(self) -> None:
        """Be as loud as ever before something is begun, should somebody just have interrupted."""
        if all(playout.done for playout in self._terms):
            await self._rise()

    async def _run(self) -> None:
        try:
            while self._terms:
                rate = next(iter(self._terms.values())).rate
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen, nursery, rate)
                    while self._terms:
                        playout, terms = next(iter(self._terms.items()))
                        if terms.rate != rate:
                            break
                        await playout.wait_over()
                        del self._terms[playout]
                        self._forget_speech(playout)
                        await self._rise()
                    nursery.cancel_scope.cancel()
        finally:
            self._running = False

    async def _listen(self, nursery: trio.Nursery, rate: int) -> None:
        try:
            async with self._listening.speakers(rate=rate, frame_ms=20) as speakers:
                async for stream in speakers:
                    nursery.start_soon(self._hear_stream, stream)
        except ProtocolError:
            # The bot has as many subscriptions as it may. Then it cannot be told who it is that speaks, but that somebody does.
            await self._hear_stream(self._listening.mixed(rate=rate, frame_ms=20))
        except VoicebotError:
            return  # the playout goes on, and is told how the connection does

    async def _hear_stream(self, stream: AudioStream) -> None:
        try:
            async for frame in stream:
                await self._hear(stream.participant, frame)
        except VoicebotError:
            return
        finally:
            self._speech.pop(stream.participant, None)

    async def _hear(self, participant: str | None, frame: AudioFrame) -> None:
        playout = self._spoken_over(participant)
        if playout is None:
            self._speech.pop(participant, None)
            return
        terms = self._terms[playout]
        former = self._speech.get(participant)
        if former is None or former[0] is not playout:
            former = self._speech[participant] = (playout, Speech(terms.pause_ms))
        speech = former[1]
        speech.hear(frame)
        if speech.voiced_ms >= terms.duck_ms and frame.voiced:
            await self._duck(terms.duck_db)
        elif not any(each.voiced_ms for _, each in self._speech.values()):
            await self._rise()
        if (
            speech.voiced_ms >= terms.min_ms
            and frame.voiced
            and await self._is_interruption(terms, speech)
            and not playout.done
        ):
            playout.interrupted_by = participant
            try:
                await self._playing.clear()
            except VoicebotError:
                return

    def _spoken_over(self, participant: str | None) -> Playout | None:
        """Return what this participant may interrupt by speaking now; None: somebody."""
        for playout in self._playing.playouts:
            if playout.started and playout.to in {None, participant}:
                terms = self._terms.get(playout)
                if terms is None or playout.played_ms < terms.after_ms:
                    return None
                is_bot = participant is not None and self._is_bot(participant)
                return None if is_bot and not terms.by_bots else playout
        return None

    async def _is_interruption(self, terms: BargeIn, speech: Speech) -> bool:
        if terms.predicate is None:
            return True
        try:
            verdict = terms.predicate(speech.frames)
            return bool(await verdict if inspect.isawaitable(verdict) else verdict)
        except Exception:  # noqa: BLE001 - a bot author's code: its fault must not silence the bot, nor end its connection
            self.faults += 1
            return False

    async def _duck(self, gain_db: float) -> None:
        if gain_db and not self._ducked:
            self._ducked = True
            await self._set_gain(gain_db)

    async def _rise(self) -> None:
        if self._ducked:
            self._ducked = False
            await self._set_gain(0.0)

    async def _set_gain(self, gain_db: float) -> None:
        try:
            await self._playing.set_gain(gain_db)
        except VoicebotError:
            return

    def _forget_speech(self, playout: Playout) -> None:
        for participant, (over, _) in list(self._speech.items()):
            if over is playout:
                del self._speech[participant]
