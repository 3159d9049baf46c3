"""A seeded network for audio packets, and a listener with a jitter buffer behind it, in virtual time.

Times are seconds of the listener's clock. The sender's clock is faster by `drift`.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from opus_streams import FRAME, RATE, Codec

from media.audio.jitter import JITTER_COUNTERS, FrameKind, insert_packet, new_jitter_buffers, play_frame
from media.audio.opus import new_decoder_template

TICK = FRAME / RATE
START = 1000.0
"""The listener's clock need not begin at zero."""


@dataclass
class Packet:
    payload: np.ndarray
    sequence_number: int
    timestamp: int
    ssrc: int
    sent: float
    arrival: float = 0.0


def send(
    payloads,
    *,
    samples=FRAME,
    ssrc=0xC0FFEE,
    first_sequence=65_500,
    first_timestamp=2**32 - 48_000,
    start=0.0,
    drift=0.0,
):
    """Packets of consecutive frames, each sent when its last sample was recorded."""
    duration = samples / RATE / (1 + drift)
    return [
        Packet(
            payload,
            (first_sequence + index) & 0xFFFF,
            (first_timestamp + index * samples) & 0xFFFFFFFF,
            ssrc,
            start + (index + 1) * duration,
        )
        for index, payload in enumerate(payloads)
    ]


@dataclass
class Network:
    """What happens to packets on their way. Applied in the order of the fields."""

    seed: int = 1
    delay: float = 0.040
    loss: float = 0.0
    burst: float = 1.0
    """Mean length of a burst of losses, in packets (Gilbert's model); 1 is independent loss."""
    jitter: float = 0.0
    """Packets take up to this much longer, evenly distributed, each for itself: they overtake each other."""
    duplicates: float = 0.0
    stalls: tuple = ()
    """(from, until): what would arrive in between arrives at the end, all at once."""

    def carry(self, packets):
        rng = np.random.default_rng(self.seed)
        arrived = []
        losing = False
        for packet in packets:
            losing = rng.random() < (1 - 1 / self.burst if losing and self.burst > 1 else self._begin_loss())
            if losing:
                continue
            arrival = packet.sent + self.delay + rng.uniform(0, self.jitter)
            for stall_from, stall_until in self.stalls:
                if stall_from <= arrival <= stall_until + 1e-5:
                    arrival = stall_until + (arrival - stall_from) * 1e-6
            arrived.append(replace(packet, arrival=arrival))
            if rng.random() < self.duplicates:
                arrived.append(replace(packet, arrival=arrival + rng.uniform(0, 0.1)))
        return sorted(arrived, key=lambda packet: packet.arrival)

    def _begin_loss(self):
        """Probability of a loss after no loss, so that `loss` of all are lost."""
        return self.loss if self.burst <= 1 else self.loss / ((1 - self.loss) * self.burst)


@dataclass
class Playout:
    sound: np.ndarray
    kinds: list
    delays: np.ndarray
    """Seconds from the arrival of the fastest packets, per tick, as the buffer says."""
    targets: np.ndarray
    verdicts: list = field(default_factory=list)

    def share(self, kind, start=0.0, end=None):
        kinds = self.kinds[round(start / TICK) : None if end is None else round(end / TICK)]
        return sum(one == kind for one in kinds) / len(kinds)

    def part(self, start, end):
        return self.sound[round(start * RATE) : round(end * RATE)]


class Listener:
    """One row among three, and its decoder."""

    ROW = 1

    def __init__(self, phase=0.0, insert=insert_packet, play=play_frame):
        self.jitters = new_jitter_buffers(3)
        if insert is not insert_packet:  # interpreted code needs records with attributes
            self.jitters = self.jitters.view(np.recarray)
        self._insert = insert
        self._play = play
        self._codec = Codec(new_decoder_template())
        self._phase = phase
        self._ticks = 0
        self.verdicts = []

    @property
    def buffer(self):
        return self.jitters[self.ROW]

    @property
    def now(self):
        """When the next tick is."""
        return self._ticks * TICK + self._phase

    def counters(self):
        return {name: int(self.buffer[name]) for name in JITTER_COUNTERS}

    def insert(self, packet):
        arrival_ns = round((START + packet.arrival) * 1e9)
        verdict = self._insert(
            self.jitters,
            self.ROW,
            packet.payload,
            packet.sequence_number,
            packet.timestamp,
            packet.ssrc,
            arrival_ns,
        )
        self.verdicts.append(verdict)
        return verdict

    def tick(self):
        output = np.full(FRAME, np.nan, np.float32)
        kind = self.play(round((START + self.now) * 1e9), output)
        self._ticks += 1
        assert np.isfinite(output).all()
        if kind == FrameKind.SILENCE:
            assert not output.any()
        return FrameKind(kind), output

    def play(self, now_ns, output):
        template = self._codec.template
        return self._play(
            self.jitters, self.ROW, self._codec.address, template.ctypes.data, template.size, now_ns, output
        )

    def listen(self, packets, seconds):
        """Play until `seconds` after its start, with packets in order of arrival."""
        waiting = iter(packets)
        packet = next(waiting, None)
        sound, kinds, delays, targets = [], [], [], []
        while self.now < seconds - 1e-9:
            while packet is not None and packet.arrival <= self.now:
                self.insert(packet)
                packet = next(waiting, None)
            kind, output = self.tick()
            kinds.append(kind)
            sound.append(output)
            delays.append(self.buffer["delay_samples"] / RATE)
            targets.append(self.buffer["target_samples"] / RATE)
        return Playout(np.concatenate(sound), kinds, np.array(delays), np.array(targets), self.verdicts)
