"""What is heard in one lobby, mixed: tracks and mouths go in, ears and WebRTC sections take it out.

A mix lives on one mixer thread. It costs nothing but rows while all are silent. Everybody's mix leaves out what is his own:
that is what the `without` of a listener says, and it is asked again whenever voices come and go.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from media.mixer.operations import MixerOperation
from media.mixer.tables import MAX_OWN_INPUTS, MAX_WHISPERS
from media.operations import Operation
from media.tables import AUDIO, CNAME_BYTES, NONE
from relay.command_port import Row
from relay.ear import Ear
from relay.errors import CapacityError, LocalProtocolError
from relay.mirror import MIRROR_ROWS, TAP_ROWS
from relay.mixer import Mixer
from relay.mouth import Mouth
from relay.source import Kind
from relay.track import Track
from relay.worker import Worker

SAMPLE_RATE: Final = 48_000

Voice = Track | Mouth
Without = Callable[[], Iterable[Voice]]
"""Whom a listener does not hear: itself."""


def _nobody() -> tuple[Voice, ...]:
    return ()


class Mix:
    """See the module; made by `Router.open_mix`."""

    def __init__(self, mixer: Mixer, workers: tuple[Worker, ...], *, forget: "Callable[[Mix], None]") -> None:
        self.closed = False
        self._mixer = mixer
        self._workers = workers
        self._forget = forget
        self._row = mixer.open_row(MixerOperation.OPEN_MIX, MixerOperation.CLOSE_MIX, (secrets.randbits(15),))
        self._taps: dict[Track, _Tap] = {}
        self._mouths: dict[Mouth, str | None] = {}
        self._ears: dict[Ear, _Hearing] = {}
        self._legs: dict[tuple[Worker, int], _Leg] = {}
        self._places: dict[Worker, _Stream] = {}

    def add(self, track: Track) -> None:
        """Let a track be heard in the mix until it ends. The track of a mouth of this mix is heard already.

        Raises: LocalProtocolError when it has ended or is not audio; CapacityError when a table is full.
        """
        self._require_open()
        if track in self._taps:
            return
        if any(mouth.track is track for mouth in self._mouths):
            self._settle()  # whose it is may only be known now
            return
        if track.closed or track.kind != "audio":
            raise LocalProtocolError(f"track {track.id} cannot be mixed: it has to be audio, and live")
        self._mixer.require({MixerOperation.CLOSE_INPUT: 1})
        track.worker.require(TAP_ROWS)
        self._taps[track] = _Tap.open(self._mixer, self._row, track)
        track.mixes.add(self)
        self._settle()

    def remove(self, track: Track) -> None:
        """Undo `add`; ears that hear it alone are closed. Does nothing when the track is not in the mix."""
        tap = self._taps.pop(track, None)
        if tap is None:
            return
        track.mixes.discard(self)
        for ear in [ear for ear, hearing in self._ears.items() if hearing.voice is track]:
            ear.close()
        tap.close(self._mixer, track.worker)
        self._settle()

    def open_ear(
        self,
        *,
        rate: int,
        track: Voice | None = None,
        without: Without | None = None,
        listener: str | None = None,
    ) -> Ear:
        """Hear one `track` (or mouth) alone, or else everybody but `without`.

        `rate`: 8000, 16000, 24000, 32000 or 48000 Hz. `listener`: for whom; it hears what is said to this one alone, too.
        Raises: CapacityError when a table is full; LocalProtocolError when what it is to hear is not in the mix.
        """
        self._require_open()
        source = None
        if track is not None:
            source = self._input_of(track)
            if source is None:
                raise LocalProtocolError(f"{track.id} is not in the mix")
        hearing = _Hearing(track, without or _nobody, listener)
        ear = Ear(
            self._mixer,
            self._row,
            rate=rate,
            source=source,
            # What the mix was a moment ago is there for those who are not in it.
            at_once=track is not None or not any(True for _ in hearing.without()),
            forget=self._forget_ear,
        )
        self._ears[ear] = hearing
        self._settle()
        return ear

    def open_mouth(self, *, rate: int, live: bool = False, to: str | None = None) -> Mouth:
        """Speak to all, or to the listener of this name alone. `live`: what would wait for more than 200 ms is dropped.

        Raises: CapacityError when a table is full, or too many speak to this listener alone.
        """
        self._require_open()
        if to is not None and sum(each == to for each in self._mouths.values()) >= MAX_WHISPERS:
            raise CapacityError(f"{MAX_WHISPERS} speak to {to} alone already; try again when one has ended")
        self._mixer.require({MixerOperation.CLOSE_INPUT: 1})
        track = None
        if to is None:
            worker = min(self._workers, key=lambda each: each.load)
            worker.require(MIRROR_ROWS)
            name = secrets.token_hex(CNAME_BYTES // 2)
            track = Track(
                track_id=f"voice-{name}",
                kind="audio",
                label="voice",
                peer=None,
                worker=worker,
                stream_id=name,
            )
        mouth = Mouth(
            self._mixer,
            self._row,
            rate=rate,
            live=live,
            private=to is not None,
            track=track,
            forget=self._forget_mouth,
        )
        self._mouths[mouth] = to
        self._settle()
        return mouth

    def listen(self, without: Without, *, listener: str | None = None) -> "MixListening":
        """Return the mix of everybody but `without` as a source that WebRTC sections carry."""
        self._require_open()
        return MixListening(self, without, listener)

    def close(self) -> None:
        """End the mix with all its ears and mouths; the tracks go on. Idempotent."""
        if self.closed:
            return
        for ear in tuple(self._ears):
            ear.close()
        for mouth in tuple(self._mouths):
            mouth.close()
        for track in tuple(self._taps):
            self.remove(track)
        for worker, outbound in tuple(self._legs):
            worker.post(Operation.SET_SOURCE, outbound, (NONE,))
            self._close_leg(worker, outbound)
        self.closed = True
        self._mixer.retire_row(MixerOperation.CLOSE_MIX, self._row)
        self._forget(self)

    # What `MixListening` is made of.

    def rows_to_attach(self, worker: Worker) -> Mapping[Worker, Mapping[Operation, int]]:
        """See `Feed`: a stream of its own, and one for all on this worker when it is the first."""
        self._mixer.require({MixerOperation.CLOSE_OUTPUT: 1})
        streams = 1 if worker in self._places else 2
        return {worker: {operation: rows * streams for operation, rows in MIRROR_ROWS.items()}}

    def require_attachable(self, worker: Worker) -> None:
        """See `Source`."""
        self._require_open()
        for each, rows in self.rows_to_attach(worker).items():
            each.require(rows)

    def attach(self, listening: "MixListening", worker: Worker, outbound: Row) -> None:
        """Feed an outbound stream. There must be room for it."""
        shared = self._places.get(worker)
        if shared is None:
            shared = self._places[worker] = _Stream.open(worker)
            link = (worker.index, shared.inbound.index, shared.inbound.generation)
            self._mixer.post(MixerOperation.SET_LINK, self._row.index, link)
        own = _Stream.open(worker)
        worker.post(Operation.SET_SOURCE, outbound.index, (shared.track.index,))
        values = (
            self._row.index,
            worker.index,
            outbound.index,
            outbound.generation,
            own.inbound.index,
            own.inbound.generation,
        )
        output = self._mixer.open_row(MixerOperation.OPEN_RTP_OUTPUT, MixerOperation.CLOSE_OUTPUT, values)
        hearing = _Hearing(None, listening.without, listening.listener)
        self._legs[worker, outbound.index] = _Leg(output, own, hearing)
        self._settle()

    def detach(self, worker: Worker, outbound: Row) -> None:
        """Undo `attach`."""
        worker.post(Operation.SET_SOURCE, outbound.index, (NONE,))
        if (worker, outbound.index) in self._legs:
            self._close_leg(worker, outbound.index)

    def _close_leg(self, worker: Worker, outbound: int) -> None:
        leg = self._legs.pop((worker, outbound))
        self._mixer.retire_row(MixerOperation.CLOSE_OUTPUT, leg.output)
        leg.own.close(worker)
        if not any(place is worker for place, _ in self._legs):
            self._mixer.post(MixerOperation.SET_LINK, self._row.index, (worker.index, NONE, 0))
            self._places.pop(worker).close(worker)

    def _forget_ear(self, ear: Ear) -> None:
        del self._ears[ear]

    def _forget_mouth(self, mouth: Mouth) -> None:
        del self._mouths[mouth]
        for ear in [ear for ear, hearing in self._ears.items() if hearing.voice is mouth]:
            ear.close()
        self._settle()

    def _require_open(self) -> None:
        if self.closed:
            raise LocalProtocolError("the mix is closed")

    def _input_of(self, voice: Voice) -> Row | None:
        if isinstance(voice, Mouth):
            return voice.row if voice in self._mouths else None
        tap = self._taps.get(voice)
        if tap is not None:
            return tap.input
        return next((mouth.row for mouth in self._mouths if mouth.track is voice), None)

    def _settle(self) -> None:
        """Tell the mixer who leaves out what, where that has changed."""
        for ear, hearing in self._ears.items():
            if hearing.voice is None:
                self._settle_output(ear.row, hearing)
        for leg in self._legs.values():
            self._settle_output(leg.output, leg.hearing)

    def _settle_output(self, output: Row, hearing: "_Hearing") -> None:
        inputs = (self._input_of(voice) for voice in hearing.without())
        own = [row.index for row in inputs if row is not None][:MAX_OWN_INPUTS]
        own += [NONE] * (MAX_OWN_INPUTS - len(own))
        whispers = [
            mouth.row.index for mouth, to in self._mouths.items() if to is not None and to == hearing.listener
        ][:MAX_WHISPERS]
        whispers += [NONE] * (MAX_WHISPERS - len(whispers))
        wanted = (*own, *whispers)
        if wanted != hearing.told:
            hearing.told = wanted
            self._mixer.post(MixerOperation.SET_OWN, output.index, wanted)


class MixListening:
    """The mix as one participant hears it; see `Source`."""

    kind: Kind = "audio"

    def __init__(self, mix: Mix, without: Without, listener: str | None) -> None:
        self.without = without
        self.listener = listener
        self.stream_id = secrets.token_hex(CNAME_BYTES // 2)
        self.id = f"mix-{self.stream_id}"
        self._mix = mix

    @property
    def closed(self) -> bool:
        """See `Source`."""
        return self._mix.closed

    @property
    def feed(self) -> "MixListening":
        """See `Source`: each listener has a stream of its own."""
        return self

    def rows_to_attach(self, worker: Worker) -> Mapping[Worker, Mapping[Operation, int]]:
        """See `Feed`."""
        return self._mix.rows_to_attach(worker)

    def require_attachable(self, worker: Worker) -> None:
        """See `Source`."""
        self._mix.require_attachable(worker)

    def attach_outbound(self, worker: Worker, outbound: Row) -> None:
        """See `Source`."""
        self.require_attachable(worker)
        self._mix.attach(self, worker, outbound)

    def detach_outbound(self, worker: Worker, outbound: Row) -> None:
        """See `Source`."""
        self._mix.detach(worker, outbound)


@dataclass
class _Hearing:
    """What a listener hears: one voice, or all but some."""

    voice: Voice | None
    without: Without
    listener: str | None
    told: tuple[int, ...] = (NONE,) * (MAX_OWN_INPUTS + MAX_WHISPERS)


@dataclass(frozen=True)
class _Tap:
    """A track's way into the mix."""

    input: Row
    tap: Row

    @classmethod
    def open(cls, mixer: Mixer, mix: Row, track: Track) -> "_Tap":
        row = mixer.open_row(MixerOperation.OPEN_RTP_INPUT, MixerOperation.CLOSE_INPUT, (mix.index,))
        link = (NONE, 0, 0, 0, SAMPLE_RATE, mixer.index, row.index, row.generation)
        tap = track.worker.open_row(Operation.OPEN_OUTBOUND, Operation.CLOSE_OUTBOUND, link)
        track.worker.post(Operation.SET_SOURCE, tap.index, (track.row.index,))
        return cls(row, tap)

    def close(self, mixer: Mixer, worker: Worker) -> None:
        worker.retire_row(Operation.CLOSE_OUTBOUND, self.tap)
        mixer.retire_row(MixerOperation.CLOSE_INPUT, self.input)


@dataclass(frozen=True)
class _Stream:
    """A track and a stream on a worker that the mixer feeds."""

    track: Row
    inbound: Row

    @classmethod
    def open(cls, worker: Worker) -> "_Stream":
        track = worker.open_row(Operation.OPEN_TRACK, Operation.CLOSE_TRACK, (AUDIO,))
        values = (NONE, track.index, 0, SAMPLE_RATE, NONE, 0, NONE, NONE, 0)
        return cls(track, worker.open_row(Operation.OPEN_INBOUND, Operation.CLOSE_INBOUND, values))

    def close(self, worker: Worker) -> None:
        worker.retire_row(Operation.CLOSE_INBOUND, self.inbound)
        worker.retire_row(Operation.CLOSE_TRACK, self.track)


@dataclass(frozen=True)
class _Leg:
    """A subscriber of the mix."""

    output: Row
    own: _Stream
    hearing: _Hearing
