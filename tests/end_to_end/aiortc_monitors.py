"""What an aiortc peer receives in one section: watched at the packets, at the sender reports and at the decoded media."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtcpSrPacket
from pictures import Picture
from tones import RATE_HZ, dominant_hz, purity

#: Half a second resolves a few hertz even before interpolation.
WINDOW_SAMPLES = RATE_HZ // 2
#: A minute of audio at 50 packets a second.
PACKETS_KEPT = 3_000
LOUD = 1_000


@dataclass
class SenderReport:
    """Which moment of the sender's wall clock an RTP timestamp is."""

    ntp: float
    rtp_timestamp: int


class Monitor:
    """One receiving section. Anything awaited here is set off by media that arrives; nothing polls."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self.receiver = receiver
        #: Arrival by the monotonic clock of every RTP packet.
        self.arrivals_s: deque[float] = deque(maxlen=PACKETS_KEPT)
        self.ssrcs: set[int] = set()
        self.sender_reports: list[SenderReport] = []
        self.frames = 0
        self.first_loud_timestamp: int | None = None
        self._changed = asyncio.Event()
        self._pcm: deque[np.ndarray] = deque()
        self._pcm_samples = 0
        self._picture_frame: av.VideoFrame | None = None
        self._watch_packets()

    def _watch_packets(self) -> None:
        handle_rtp, handle_rtcp = self.receiver._handle_rtp_packet, self.receiver._handle_rtcp_packet

        async def rtp(packet: Any, arrival_time_ms: int) -> None:
            self.arrivals_s.append(time.monotonic())
            self.ssrcs.add(packet.ssrc)
            await handle_rtp(packet, arrival_time_ms=arrival_time_ms)

        async def rtcp(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                information = packet.sender_info
                self.sender_reports.append(
                    SenderReport(information.ntp_timestamp / 2**32, information.rtp_timestamp)
                )
                self._notify()
            await handle_rtcp(packet)

        self.receiver._handle_rtp_packet, self.receiver._handle_rtcp_packet = rtp, rtcp

    async def consume(self, track: MediaStreamTrack) -> None:
        """Take decoded media until the track ends."""
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.frames += 1
            if isinstance(frame, av.AudioFrame):
                self._take_audio(frame)
            else:
                self._picture_frame = frame
            self._notify()

    def _take_audio(self, frame: av.AudioFrame) -> None:
        samples = frame.to_ndarray()[0, :: len(frame.layout.channels)]
        if self.first_loud_timestamp is None:
            loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > LOUD)
            if len(loud):
                self.first_loud_timestamp = self.absolute_timestamp(frame.pts + int(loud[0]))
        self._pcm.append(samples)
        self._pcm_samples += len(samples)
        while self._pcm_samples - len(self._pcm[0]) >= WINDOW_SAMPLES:
            self._pcm_samples -= len(self._pcm.popleft())

    def absolute_timestamp(self, pts: int) -> int:
        """Return the RTP timestamp of a decoded frame: aiortc counts from the first one."""
        return int(self.receiver._RTCRtpReceiver__timestamp_mapper._origin) + pts

    def ntp_of(self, timestamp: int, clock_hz: int) -> float:
        """Return when the sender says a timestamp was: what lip sync goes by."""
        report = self.sender_reports[-1]
        distance = (timestamp - report.rtp_timestamp + 2**31) % 2**32 - 2**31
        return report.ntp + distance / clock_hz

    async def wait_sender_report(self) -> None:
        """Wait for one more sender report."""
        count = len(self.sender_reports)
        while len(self.sender_reports) == count:
            await self._wait()

    async def wait_tone(self, frequency_hz: float, tolerance_hz: float) -> tuple[float, float]:
        """Wait until a window that was received from now on is that tone; return its frequency and purity."""
        self._pcm.clear()
        self._pcm_samples = 0
        while True:
            await self._wait()
            if self._pcm_samples < WINDOW_SAMPLES:
                continue
            window = np.concatenate(self._pcm)[-WINDOW_SAMPLES:]
            heard_hz = dominant_hz(window)
            if abs(heard_hz - frequency_hz) <= tolerance_hz and np.abs(window).max() > LOUD:
                return heard_hz, purity(window, frequency_hz)
            # Start afresh rather than transform after every packet.
            self._pcm.clear()
            self._pcm_samples = 0

    async def wait_picture(self, picture: Picture, count: int) -> int:
        """Wait for that many frames of a picture from now on; return the RTP timestamp of the first."""
        first: int | None = None
        seen = 0
        while seen < count:
            self._picture_frame = None
            await self._wait()
            frame: av.VideoFrame | None = self._picture_frame
            if frame is not None and picture.matches(frame):
                seen += 1
                if first is None:
                    first = self.absolute_timestamp(frame.pts)
        assert first is not None
        return first

    @property
    def receiver_packets(self) -> int:
        """RTP packets received by now."""
        return sum(s.packets_received for s in self.receiver._RTCRtpReceiver__remote_streams.values())

    @property
    def receiver_lost(self) -> int:
        """RTP packets that sequence numbers say are missing."""
        return sum(s.packets_lost for s in self.receiver._RTCRtpReceiver__remote_streams.values())

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self) -> None:
        await self._changed.wait()
