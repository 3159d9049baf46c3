"""A process full of aiortc peers, commanded over its standard input.

aiortc needs asyncio, the tests run on Trio: so the peers live here, and ``aiortc_remote.py`` is their remote control. One JSON
object a line in (``id``, ``op`` and the op's arguments), one a line out (``id`` and ``result`` or ``error``); requests run
concurrently. The process ends when its input does.
"""

import argparse
import asyncio
import json
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import aioice.ice
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80
from aiortc_monitors import Monitor
from aiortc_sources import PackedToneTrack, PictureTrack, ToneTrack
from pictures import Picture

#: name -> what aiortc offers when told to use only this one
PROFILES = {"gcm": SRTP_AEAD_AES_128_GCM, "cm_sha1_80": SRTP_AES128_CM_SHA1_80}
#: A started source begins this much later, so that sound and picture of one peer begin together.
LEAD_S = 1.0


class HostedPeer:
    """One RTCPeerConnection. Sections are named by the order in which they were added."""

    def __init__(self, profile: str | None) -> None:
        self.connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._profile = profile
        self._monitors: dict[int, Monitor] = {}
        self._consumers: set[asyncio.Task[None]] = set()
        self._start_s = time.monotonic() + LEAD_S
        self._connected = asyncio.Event()
        self.connection.on("track", self._on_track)
        self.connection.on("connectionstatechange", self._on_state)

    @property
    def sections(self) -> list[RTCRtpTransceiver]:
        return self.connection.getTransceivers()

    def _on_state(self) -> None:
        if self.connection.connectionState == "connected":
            self._connected.set()

    def _on_track(self, track: Any) -> None:
        section = next(i for i, t in enumerate(self.sections) if t.receiver.track is track)
        task = asyncio.ensure_future(self._monitors[section].consume(track))
        self._consumers.add(task)
        task.add_done_callback(self._consumers.discard)

    def _add(self, kind_or_track: Any, direction: str, codec: str | None = None) -> int:
        section = self.connection.addTransceiver(kind_or_track, direction)
        if codec is not None:
            capabilities = RTCRtpSender.getCapabilities("video").codecs
            wanted = {f"video/{codec}".lower(), "video/rtx"}
            section.setCodecPreferences([c for c in capabilities if c.mimeType.lower() in wanted])
        if self._profile is not None:
            section.sender.transport._srtp_profiles = [PROFILES[self._profile]]
        number = len(self.sections) - 1
        if direction != "sendonly":
            self._monitors[number] = Monitor(section.receiver)
        return number

    # What can be asked for from outside; results are JSON.

    async def publish_tone(self, hz: int, silent_s: float | None = None, packed: bool = False) -> int:
        if packed:
            return self._add(PackedToneTrack(hz), "sendonly")
        if silent_s is None:
            return self._add(ToneTrack(hz), "sendonly")
        return self._add(ToneTrack(hz, silent_s=silent_s, start_s=self._start_s), "sendonly")

    async def publish_picture(
        self, picture: list[Any], codec: str, first: list[Any] | None = None, first_s: float | None = None
    ) -> int:
        if first is None or first_s is None:
            return self._add(PictureTrack(_picture(picture)), "sendonly", codec)
        track = PictureTrack(_picture(picture), first=_picture(first), first_s=first_s, start_s=self._start_s)
        return self._add(track, "sendonly", codec)

    async def exchange_tone(self, hz: int) -> int:
        """Add one section that sends a tone and receives another track."""
        return self._add(ToneTrack(hz), "sendrecv")

    async def receive(self, kind: str) -> int:
        return self._add(kind, "recvonly")

    async def stop(self, section: int) -> None:
        transceiver = self.sections[section]
        transceiver.direction = "inactive"
        if transceiver.sender.track is not None:
            transceiver.sender.track.stop()
            transceiver.sender.replaceTrack(None)

    async def offer(self) -> dict[str, Any]:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return {"sdp": self.connection.localDescription.sdp, "mids": [t.mid for t in self.sections]}

    async def accept(self, sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def wait_connected(self) -> str:
        await self._connected.wait()
        return self.sections[0].sender.transport._ssl.get_selected_srtp_profile().decode()

    async def wait_tone(self, section: int, hz: float, tolerance_hz: float) -> tuple[float, float]:
        return await self._monitors[section].wait_tone(hz, tolerance_hz)

    async def wait_voice(self, sections: list[int], hz: float, tolerance_hz: float) -> int:
        """Wait for a tone in any of these sections; return which."""
        waiting = {
            asyncio.ensure_future(self._monitors[section].wait_tone(hz, tolerance_hz)): section
            for section in sections
        }
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return waiting[done.pop()]

    async def wait_picture(self, section: int, picture: list[Any], count: int) -> int:
        return await self._monitors[section].wait_picture(_picture(picture), count)

    async def wait_silence(self, section: int, seconds: float) -> None:
        """Wait until no packet has arrived for that long."""
        arrivals = self._monitors[section].arrivals_s
        quiet_since_s = time.monotonic()
        while (rest_s := quiet_since_s + seconds - time.monotonic()) > 0:
            await asyncio.sleep(rest_s)  # nothing can be awaited that is not to happen
            quiet_since_s = max(quiet_since_s, arrivals[-1] if arrivals else 0)

    async def wait_sender_report(self, section: int) -> int:
        await self._monitors[section].wait_sender_report()
        return len(self._monitors[section].sender_reports)

    async def loud_at(self, section: int) -> float:
        """When, by the sender's clock, the first loud sample was."""
        monitor = self._monitors[section]
        assert monitor.first_loud_timestamp is not None
        return monitor.ntp_of(monitor.first_loud_timestamp, 48_000)

    async def picture_at(self, section: int, timestamp: int) -> float:
        """When, by the sender's clock, a frame of video was."""
        return self._monitors[section].ntp_of(timestamp, 90_000)

    async def arrivals(self, section: int, since_s: float, until_s: float) -> list[float]:
        """When packets arrived, by the monotonic clock that all processes of the machine share."""
        return [at for at in self._monitors[section].arrivals_s if since_s <= at < until_s]

    async def received(self, section: int) -> dict[str, Any]:
        monitor = self._monitors[section]
        nack = monitor.receiver._RTCRtpReceiver__nack_generator
        return {
            "packets": monitor.receiver_packets,
            "frames": monitor.frames,
            "ssrcs": len(monitor.ssrcs),
            "lost": monitor.receiver_lost,
            "missing": len(nack.missing) if nack is not None else 0,
        }

    async def statistics(self) -> list[dict[str, Any]]:
        report = await self.connection.getStats()
        return [
            {"type": entry.type, "kind": getattr(entry, "kind", None), "ssrc": getattr(entry, "ssrc", None)}
            for entry in report.values()
        ]

    async def close(self) -> None:
        await self.connection.close()


def _picture(halves: list[Any]) -> Picture:
    left, right = halves
    return Picture(tuple(left), tuple(right))


class Host:
    """Runs requests against the peers, by name."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._peers: dict[str, HostedPeer] = {}

    async def run(self, request: dict[str, Any]) -> None:
        """Carry out one request and write its reply."""
        reply: dict[str, Any] = {"id": request.pop("id")}
        try:
            reply["result"] = await self._carry_out(**request)
        except Exception:  # noqa: BLE001 - the border of the process: the test gets the traceback
            reply["error"] = traceback.format_exc()
        self._write(json.dumps(reply) + "\n")

    async def _carry_out(self, op: str, peer: str, **arguments: Any) -> Any:
        if op == "create":
            self._peers[peer] = HostedPeer(**arguments)
            return None
        return await getattr(self._peers[peer], op)(**arguments)

    async def close(self) -> None:
        await asyncio.gather(*(peer.close() for peer in self._peers.values()))


async def main(address: str) -> None:
    aioice.ice.get_host_addresses = lambda **_families: [address]  # aioice leaves loopback out
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    output = sys.stdout

    def write(line: str) -> None:
        output.write(line)
        output.flush()

    host = Host(write)
    running: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(host.run(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    await host.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    asyncio.run(main(parser.parse_args().address))
