"""A participant: a voicebot connection for the words and an aiortc peer for the media."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from aiortc_remote import RemoteHost, RemotePeer
from pictures import Picture

import voicebot
from signaling.messages import Answer, Track

#: Changes a description on its way: a proxy puts its own port into the answer.
Rewrite = Callable[[str], str]


@dataclass(frozen=True)
class Received:
    """A section that receives a track."""

    section: int
    mid: str
    track: Track


class Caller:
    """One participant of a call; made by ``join_call``."""

    def __init__(
        self,
        connection: voicebot.Connection,
        peer: RemotePeer,
        rewrite_offer: Rewrite | None,
        rewrite_answer: Rewrite | None,
    ) -> None:
        self.connection = connection
        self.peer = peer
        self._rewrite_offer = rewrite_offer
        self._rewrite_answer = rewrite_answer
        self._publishing: dict[int, str] = {}
        self._subscribing: dict[int, Track] = {}
        self._listening: list[int] = []
        #: sections that carry the audio slots
        self.slots: list[int] = []
        self._mids: list[str] = []
        #: track id -> where it is received
        self.received: dict[str, Received] = {}
        #: section -> id of the track that is published in it
        self.published: dict[int, str] = {}

    async def publish_tone(self, hz: int, **arguments: Any) -> int:
        """Add a section that sends a tone; ``negotiate`` makes it so."""
        section = await self.peer.publish_tone(hz=hz, **arguments)
        self._publishing[section] = "microphone"
        return section

    async def publish_picture(
        self,
        picture: Picture,
        *,
        codec: str = "VP8",
        first: Picture | None = None,
        first_s: float | None = None,
    ) -> int:
        """Add a section that sends a film; ``negotiate`` makes it so."""
        section = await self.peer.publish_picture(
            picture=halves(picture), codec=codec, first=first and halves(first), first_s=first_s
        )
        self._publishing[section] = "camera"
        return section

    async def exchange_tone(self, hz: int, track: Track) -> int:
        """Add one section that sends a tone and receives a track; ``negotiate`` makes it so."""
        section: int = await self.peer.exchange_tone(hz=hz)
        self._publishing[section] = "microphone"
        self._subscribing[section] = track
        return section

    async def receive(self, track: Track) -> int:
        """Add a section that receives a track; ``negotiate`` makes it so."""
        section = await self.peer.receive(kind=track.kind)
        self._subscribing[section] = track
        return section

    async def listen(self) -> None:
        """Add the sections in which to hear whoever speaks; ``negotiate`` makes it so."""
        for _ in range(self.connection.lobby.audio_slots):
            self._listening.append(await self.peer.receive(kind="audio"))

    async def negotiate(self) -> Answer:
        """Offer what has been added or stopped, and apply the answer."""
        offer = await self.peer.offer()
        self._mids = offer["mids"]
        answer = await self.connection.offer(
            self._rewrite_offer(offer["sdp"]) if self._rewrite_offer else offer["sdp"],
            publish={self._mids[section]: source for section, source in self._publishing.items()},
            listen=[self._mids[section] for section in self._listening],
            subscribe={self._mids[section]: track.track_id for section, track in self._subscribing.items()},
        )
        await self.peer.accept(sdp=self._rewrite_answer(answer.sdp) if self._rewrite_answer else answer.sdp)
        sections = {mid: section for section, mid in enumerate(self._mids)}
        self.published = {sections[entry.mid]: entry.track_id for entry in answer.published}
        for section, track in self._subscribing.items():
            self.received[track.track_id] = Received(section, self._mids[section], track)
        self._publishing.clear()
        self._subscribing.clear()
        self.slots += self._listening
        self._listening.clear()
        return answer

    async def receive_all(self, kind: str = "audio") -> None:
        """Subscribe to everything of a kind that the others publish now."""
        for _, track in list(self.connection.lobby.tracks_of_others()):
            if track.kind == kind and track.track_id not in self.received:
                await self.receive(track)
        if self._subscribing:
            await self.negotiate()

    async def follow(self, count: int, kind: str = "audio") -> None:
        """Subscribe to the tracks of the others as they appear, until there are that many."""
        while True:
            await self.receive_all(kind)
            if len(self.received) >= count:
                return
            await anext(self.connection.events())

    async def wait_event(self, wanted: type, **fields: Any) -> Any:
        """Take events until one of a type comes, with these fields."""
        async for event in self.connection.events():
            if isinstance(event, wanted) and all(getattr(event, k) == v for k, v in fields.items()):
                return event
        raise AssertionError

    async def wait_connected(self) -> str:
        """Wait until media is connected on both sides; return the SRTP profile."""
        profile: str = await self.peer.wait_connected()
        return profile

    async def wait_track(self, kind: str) -> Track:
        """Wait until another participant publishes a track of a kind that is not received yet."""
        while True:
            for _, track in self.connection.lobby.tracks_of_others():
                if track.kind == kind and track.track_id not in self.received:
                    return track
            await anext(self.connection.events())

    async def hear(self, track: Track, hz: float, *, tolerance_hz: float = 2.0) -> float:
        """Wait until a track that is received sounds like this; return the purity of the tone."""
        section = self.received[track.track_id].section
        _, purity = await self.peer.wait_tone(section=section, hz=hz, tolerance_hz=tolerance_hz)
        return float(purity)

    async def hear_voice(self, hz: float) -> int:
        """Wait until one of the audio slots sounds like this; return its section."""
        section: int = await self.peer.wait_voice(sections=self.slots, hz=hz, tolerance_hz=2.0)
        return section

    async def see(self, track: Track, picture: Picture, *, count: int = 10) -> int:
        """Wait for that many decoded frames of a picture; return the RTP timestamp of the first."""
        section = self.received[track.track_id].section
        timestamp: int = await self.peer.wait_picture(section=section, picture=halves(picture), count=count)
        return timestamp


def halves(picture: Picture) -> list[list[int]]:
    return [list(picture.left), list(picture.right)]


@asynccontextmanager
async def join_call(
    url: str,
    lobby: str,
    host: RemoteHost,
    *,
    name: str = "Ada",
    profile: str | None = None,
    rewrite_offer: Rewrite | None = None,
    rewrite_answer: Rewrite | None = None,
) -> AsyncIterator[Caller]:
    """Join a lobby with an aiortc peer at hand; leaving the scope leaves the lobby and closes the peer."""
    async with voicebot.connect(url, lobby=lobby, name=name) as connection:
        peer = await host.create_peer(profile)
        try:
            yield Caller(connection, peer, rewrite_offer, rewrite_answer)
        finally:
            with trio.move_on_after(10, shield=True):
                await peer.close()
