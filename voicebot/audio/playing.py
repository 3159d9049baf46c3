"""The speaking side of a connection: opens playouts, gives the relay their samples in good time, and clears them.

A playout is fed by a task in the connection's nursery; it keeps 10 s at most ahead of what has been heard. All that depends on the
order of messages is done in ``receive``, ``resumed`` and ``renewed``, which the connection calls as messages arrive.
"""

from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

import trio

from signaling.messages import (
    ErrorCode,
    PlayClear,
    PlayCleared,
    PlayGain,
    PlayOpen,
    PlayOpened,
    PlayProgress,
    ServerMessage,
    encode_audio_frame,
)
from voicebot.audio.carrier import AudioCarrier
from voicebot.audio.frame import BYTES_A_SAMPLE
from voicebot.audio.pcm import Sound, check_even, is_whole, relay_pieces_of, relay_rate, to_pcm
from voicebot.audio.playout import CLEARED, DONE, FAILED, LOST, Playout, PlayoutEnded, PlayoutError
from voicebot.errors import ConnectionLostError, ProtocolError, VoicebotError

#: What the playout that is heard may have under way and not heard yet. The relay refuses more than 60 s of one, and 120 s of all; 10 s
#: outlast any stall of a network that is worth being called one.
AHEAD_MS = 10_000
#: The same of those that wait behind it.
WAITING_AHEAD_MS = 2_000
#: Frames a second, and at once after a while without any. The relay takes 200, and 400 at once; some are on their way when it counts.
FRAMES_A_SECOND = 150
FRAME_BURST = 200


@dataclass(eq=False)
class _Job:
    """A playout that is not over."""

    playout: Playout
    sound: Sound
    #: Cancelled to stop feeding.
    feeding: trio.CancelScope = field(default_factory=trio.CancelScope)
    #: Decided: the relay has opened it, or has refused.
    opened: trio.Event = field(default_factory=trio.Event)
    number: int | None = None
    refusal: VoicebotError | None = None
    #: Given up before the relay opened it: it is to be told that there is nothing in it.
    abandoned: bool = False
    #: What the iterable raised; told when what came before is over.
    fault: PlayoutError | None = None


class Playing:
    """See the module."""

    def __init__(
        self, carrier: AudioCarrier, tasks: trio.Nursery, announce: Callable[[PlayoutEnded], None]
    ) -> None:
        self._carrier = carrier
        self._tasks = tasks
        self._announce = announce
        #: In the order of beginning.
        self._jobs: list[_Job] = []
        self._numbered: dict[int, _Job] = {}
        self._closed: VoicebotError | None = None
        self._knows_gain = True
        self._gain_db = 0.0
        #: Until when the frames that were sent would have taken, had they been sent evenly; by trio's clock.
        self._paid_until_s = float("-inf")

    @property
    def numbers(self) -> Collection[int]:
        """Of the streams that are open at the relay."""
        return self._numbered.keys()

    @property
    def playouts(self) -> tuple[Playout, ...]:
        """Those that are not over, in the order of beginning."""
        return tuple(job.playout for job in self._jobs)

    async def play(self, sound: Sound, *, rate: int, to: str | None) -> Playout:
        """See ``Connection.play``."""
        if is_whole(sound):
            sound = to_pcm(sound)  # type: ignore[arg-type] # as `is_whole` has seen
            check_even(len(sound))
        message = PlayOpen.model_validate({"rate": relay_rate(rate), "to": to})
        if self._closed is not None:
            raise self._closed
        job = _Job(Playout(rate, to, message.rate), sound)
        self._jobs.append(job)
        # In a task of its own: a request whose sender is cancelled takes effect all the same, and must be undone.
        self._tasks.start_soon(self._run, job, message)
        try:
            await job.opened.wait()
        except trio.Cancelled:
            self._abandon(job)
            raise
        if job.refusal is not None:
            raise job.refusal
        return job.playout

    async def clear(self) -> float:
        """See ``Connection.clear``."""
        jobs = list(self._jobs)
        for job in jobs:
            job.feeding.cancel()  # nothing may follow the request on its way
            job.abandoned = job.number is None
        try:
            await self._carrier.request(PlayClear(), on_reply=self._note_cleared)
        finally:
            # Whether the relay has answered or not, nothing of them is sent any more.
            for job in jobs:
                self._end(job, CLEARED)
        return jobs[0].playout.played_ms if jobs else 0.0

    async def set_gain(self, gain_db: float) -> bool:
        """See ``Connection.set_gain``."""
        message = PlayGain(gain_db=gain_db)
        self._gain_db = gain_db
        if self._knows_gain:
            try:
                await self._carrier.request(message)
            except ProtocolError as error:
                if error.code not in {ErrorCode.UNKNOWN_TYPE, ErrorCode.UNSUPPORTED}:
                    raise
                self._knows_gain = False
        return self._knows_gain

    def receive(self, message: ServerMessage) -> bool:
        """Do what a message says of our playouts; False: it says nothing of them."""
        if not isinstance(message, PlayProgress):
            return False
        job = self._numbered.get(message.stream)
        if job is not None:
            job.playout.note_played(message.played_ms)
            if message.state == "done":
                self._end(job, DONE)
            elif message.state == "cleared":
                self._end(job, message.reason or CLEARED)
        return True

    def resumed(self, streams: Collection[int]) -> None:
        """The session goes on, and these of its streams do; the others are over. Called before other messages follow."""
        for number, job in list(self._numbered.items()):
            if number not in streams:
                self._end(job, LOST)

    def renewed(self) -> None:
        """The session is a new one: what was under way is over, and the relay does not know how loud we are."""
        for job in list(self._numbered.values()):
            self._end(job, LOST)
        if self._gain_db:
            self._tasks.start_soon(self._restore_gain)

    def close(self, error: VoicebotError) -> None:
        """The connection is lost for good: what is begun from now on fails with this error."""
        self._closed = error
        for job in list(self._jobs):
            self._end(job, LOST)

    async def _restore_gain(self) -> None:
        try:
            await self.set_gain(self._gain_db)
        except VoicebotError:
            return  # lost again: that session does not know, either, and the next is told

    async def _run(self, job: _Job, message: PlayOpen) -> None:
        def adopt(reply: ServerMessage) -> None:
            assert isinstance(reply, PlayOpened)
            job.number = reply.stream
            if not job.playout.done:
                self._numbered[reply.stream] = job

        try:
            await self._carrier.request(message, on_reply=adopt)
        except VoicebotError as error:
            job.refusal = error
            self._end(job, FAILED)
            job.opened.set()
            return
        job.opened.set()
        try:
            with job.feeding:
                await self._feed(job)
            if job.abandoned:
                await self._send(job, b"", end=True)
        except ConnectionLostError:
            self._end(job, LOST)

    async def _feed(self, job: _Job) -> None:
        playout = job.playout
        try:
            async with aclosing(relay_pieces_of(job.sound, playout.rate)) as pieces:
                async for piece in pieces:
                    await playout.wait_ahead(partial(self._ahead_ms, job))
                    await self._send(job, piece)
        except ConnectionLostError as error:
            if self._carrier.ended:
                raise
            self._fail(job, error)  # of the iterable, which comes from a connection of its own
        except Exception as error:  # noqa: BLE001 - the caller's iterable: its faults are told to who waits for the playout
            self._fail(job, error)
        await self._send(job, b"", end=True)
        playout.note_sent_all()

    @staticmethod
    def _fail(job: _Job, error: Exception) -> None:
        job.fault = PlayoutError(f"the sound could not be read to its end: {type(error).__name__}: {error}")
        job.fault.__cause__ = error

    def _ahead_ms(self, job: _Job) -> float:
        first = next((each for each in self._jobs if each.playout.to == job.playout.to), None)
        return AHEAD_MS if first is job else WAITING_AHEAD_MS

    async def _send(self, job: _Job, pcm: bytes, *, end: bool = False) -> None:
        assert job.number is not None
        playout = job.playout
        frame = encode_audio_frame(job.number, pcm, timestamp=playout.sent_samples, end=end)
        now_s = trio.current_time()
        self._paid_until_s = (
            max(self._paid_until_s, now_s - FRAME_BURST / FRAMES_A_SECOND) + 1 / FRAMES_A_SECOND
        )
        if self._paid_until_s > now_s:
            await trio.sleep_until(self._paid_until_s)
        while True:
            try:
                await self._carrier.send_audio(frame)
            except ConnectionLostError:
                # Should the session go on, so does the playout; if it does not, feeding is cancelled.
                if self._carrier.ended:
                    raise
            else:
                break
        playout.note_sent(len(pcm) // BYTES_A_SAMPLE)

    def _abandon(self, job: _Job) -> None:
        """Nobody waits for the playout to be opened any more: it is over before it began."""
        job.abandoned = True
        job.feeding.cancel()
        self._end(job, CLEARED)

    def _note_cleared(self, reply: ServerMessage) -> None:
        assert isinstance(reply, PlayCleared)
        for number, played_ms in reply.played_ms.items():
            job = self._numbered.get(number)
            if job is not None:
                job.playout.note_played(played_ms)
                self._end(job, CLEARED)

    def _end(self, job: _Job, reason: str) -> None:
        if job not in self._jobs:
            return
        self._jobs.remove(job)
        for each in self._jobs:
            each.playout.notify()  # one may be the first now
        if job.number is not None:
            self._numbered.pop(job.number, None)
        job.feeding.cancel()
        if job.refusal is None:
            fault = job.fault if reason == DONE else None
            job.playout.note_end(FAILED if fault else reason, fault)
            self._announce(PlayoutEnded(job.playout))
