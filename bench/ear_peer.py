"""A person who talks and listens by WebRTC, in Python: sends Opus of its own making and times what it hears of the mix.

Sound is 20 ms at a time. What is sent is silence but for the clicks that are asked for; what is heard is decoded as it
arrives, without a jitter buffer, and kept with its times.
"""

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from time import monotonic_ns
from typing import Any, Final

import numpy as np
import pylibsrtp
import trio

from bench.errors import BenchError
from bench.joiner import is_rtp
from bench.lean_websocket import open_lean_session
from bench.mix_sound import BROWSER
from bench.offer import PAYLOAD_TYPES, write_speaking_offer
from bench.payload import PayloadKind
from bench.peer import DATAGRAM_BYTES, Connected, PeerSettings, connect_media, local_transport, open_srtp
from media.audio.opus import (
    MAX_PACKET_SAMPLES,
    decode_frame,
    encode_frame,
    new_decoder_template,
    new_encoder_template,
)
from media.audio.samples import FRAME_SAMPLES, SAMPLE_RATE
from media.srtp import SrtpDirection

Samples = np.ndarray[Any, np.dtype[np.float32]]
Heard = Callable[[int, Samples], None]
"""Told of every packet: when it arrived (ns, CLOCK_MONOTONIC), and its sound."""

FRAME_S: Final = 0.02
LATE_S: Final = 0.005
CONSENT_S: Final = 5.0
CLICK_SAMPLES: Final = 480
_PACKET_BYTES: Final = 400


def click(samples: int = CLICK_SAMPLES) -> Samples:
    """Return 10 ms of a tone of 1 kHz that begins at once: float32 at 48 kHz."""
    moments = np.arange(samples) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * 1_000 * moments)).astype(np.float32)


class EarPeer:
    """Made by `open_ear_peer`."""

    def __init__(self, connected: Connected, ssrc: int, owned: ExitStack) -> None:
        self._media = trio.socket.from_stdlib_socket(connected.socket)
        self._consent = connected.consent
        self._outbound = owned.enter_context(open_srtp(connected.keys, SrtpDirection.OUTBOUND))
        self._inbound = owned.enter_context(open_srtp(connected.keys, SrtpDirection.INBOUND))
        self._ssrc = ssrc
        self._encoder = new_encoder_template(**BROWSER)
        self._decoder = new_decoder_template()
        self._clicks: list[Callable[[int], None]] = []
        self.heard: Heard = lambda _at_ns, _samples: None
        """Set to be told of what is heard."""
        self.packets = 0
        self.sent = 0
        self.sent_late = 0

    async def click(self) -> int:
        """Let the next packet carry a click at its beginning; return when it was sent."""
        sent = trio.Event()
        at_ns = 0

        def note(now_ns: int) -> None:
            nonlocal at_ns
            at_ns = now_ns
            sent.set()

        self._clicks.append(note)
        await sent.wait()
        return at_ns

    async def talk(self) -> None:
        """Send a packet every 20 ms until cancelled."""
        due_s = trio.current_time() + secrets.randbelow(20) / 1e3
        output = np.zeros(_PACKET_BYTES, np.uint8)
        sequence = 0
        while True:
            await trio.sleep_until(due_s)
            self.sent += 1
            self.sent_late += trio.current_time() - due_s > LATE_S
            due_s += FRAME_S
            frame = np.zeros(FRAME_SAMPLES, np.float32)
            told, self._clicks = self._clicks, []
            if told:
                frame[:CLICK_SAMPLES] = click()
            length = encode_frame(self._encoder.ctypes.data, frame, output)
            assert length > 0
            packet = self._outbound.protect(self._packet(sequence, output[:length].tobytes()))
            now_ns = monotonic_ns()
            with suppress(OSError):
                await self._media.send(packet)
            for note in told:
                note(now_ns)
            sequence += 1

    async def listen(self) -> None:
        """Decode what comes, and tell of it, until cancelled."""
        output = np.zeros(MAX_PACKET_SAMPLES, np.float32)
        while True:
            datagram = await self._media.recv(DATAGRAM_BYTES)
            now_ns = monotonic_ns()
            if not is_rtp(datagram):
                continue
            try:
                packet = self._inbound.unprotect(datagram)
            except pylibsrtp.Error:
                continue
            payload = np.frombuffer(packet, np.uint8)[_header_length(packet) :].copy()
            count = decode_frame(self._decoder.ctypes.data, payload, output)
            if count > 0:
                self.packets += 1
                self.heard(now_ns, output[:count].copy())

    async def keep_consent(self) -> None:
        """Renew consent (RFC 7675) until cancelled."""
        while True:
            await trio.sleep(CONSENT_S)
            with suppress(OSError):
                await self._media.send(self._consent)

    def _packet(self, sequence: int, payload: bytes) -> bytes:
        header = bytes([0x80, PAYLOAD_TYPES[PayloadKind.AUDIO]]) + (sequence & 0xFFFF).to_bytes(2)
        timestamp = sequence * FRAME_SAMPLES & 0xFFFFFFFF
        return header + timestamp.to_bytes(4) + self._ssrc.to_bytes(4) + payload


def _header_length(packet: bytes) -> int:
    """Bytes before the payload (RFC 3550 section 5.1). The relay pads no audio."""
    length = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        length += 4 + 4 * int.from_bytes(packet[length + 2 : length + 4])
    return length


@asynccontextmanager
async def open_ear_peer(settings: PeerSettings, name: str) -> AsyncGenerator[EarPeer]:
    """Be a person in the lobby, with a microphone and the mix of the others, as long as the scope is open.

    Raises: BenchError.
    """
    with ExitStack() as owned:
        async with open_lean_session(settings.url) as session:
            await session.request("join", lobby=settings.lobby, name=name)
            local, ssrc = local_transport(settings), secrets.randbelow(2**32 - 1) + 1
            answer = await session.request(
                "offer",
                sdp=write_speaking_offer(local, settings.kind, ssrc, 1),
                publish=[{"mid": "0", "source": "microphone"}],
                subscribe=[{"mid": "1", "mix": True}],
            )
            for refused in answer["refused"]:
                raise BenchError(f"the relay refused a section: {refused['error']}")
            connected = await connect_media(settings, local, answer["sdp"], owned)
            peer = EarPeer(connected, ssrc, owned)
            async with trio.open_nursery() as nursery:
                for task in (peer.talk, peer.listen, peer.keep_consent):
                    nursery.start_soon(task)
                yield peer
                nursery.cancel_scope.cancel()
