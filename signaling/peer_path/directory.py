"""Which peers are connected: by company and id for those who speak to them, by lobby for what happens there."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol

from signaling.peer_path.address import PeerAddress
from signaling.peer_path.hearing import Voices
from signaling.peer_path.messages import PeerReply


class Peer(Protocol):
    """A connected peer, as others see it."""

    @property
    def address(self) -> PeerAddress:
        """Who it is."""

    @property
    def lobby_id(self) -> str:
        """The lobby it is in."""

    def tell(self, message: PeerReply) -> None:
        """Send it a message; never waits."""

    def give_way(self) -> None:
        """End: a newer connection has taken its id."""

    def lobby_closed(self) -> None:
        """End: its lobby is no more."""

    @property
    def chooses_voices(self) -> bool:
        """Whether it wants to know who can be heard."""

    def choose_voices(self, voices: Voices) -> None:
        """Hear who speaks now."""


class Directory:
    """See the module. One peer an address: the newest."""

    def __init__(self) -> None:
        self._peers: dict[tuple[str, str], Peer] = {}
        self._lobbies: defaultdict[str, set[Peer]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._peers)

    def find(self, company_id: str, peer_id: str) -> Peer | None:
        """Return the peer of this id and company."""
        return self._peers.get((company_id, peer_id))

    def put(self, peer: Peer) -> Peer | None:
        """Enter a peer; return the one whose place it takes."""
        former = self._peers.get(_key(peer))
        self._peers[_key(peer)] = peer
        self._lobbies[peer.lobby_id].add(peer)
        return former

    def drop(self, peer: Peer) -> None:
        """Take a peer out, if it is in."""
        if self._peers.get(_key(peer)) is peer:
            del self._peers[_key(peer)]
        self._lobbies[peer.lobby_id].discard(peer)
        if not self._lobbies[peer.lobby_id]:
            del self._lobbies[peer.lobby_id]

    def in_lobby(self, lobby_id: str) -> Iterator[Peer]:
        """Return the peers in a lobby."""
        return iter(tuple(self._lobbies.get(lobby_id, ())))


def _key(peer: Peer) -> tuple[str, str]:
    return peer.address.company_id, peer.address.peer_id
