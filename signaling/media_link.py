"""A session's connection to the relay: one ``relay.Peer`` at a time, made at the first offer.

It is replaced when the client offers from a new ``RTCPeerConnection`` (the relay sees another DTLS
fingerprint) or when the old peer has closed. Until the new one has accepted the offer, nothing happens to the
old one.
"""

from collections.abc import Awaitable, Callable, Mapping

import relay
from signaling.messages import MediaStateName

FINGERPRINT_CHANGED = "fingerprint_changed"

#: Starts ``watch(peer)`` in a nursery that lives as long as the session.
StartWatching = Callable[[Callable[[relay.Peer], Awaitable[None]], relay.Peer], None]


def _tell_nobody(_state: MediaStateName, _reason: str | None) -> None:
    """Stand in for ``on_change`` of a link that is over."""


class MediaLink:
    """See the module. ``on_change`` is told the state whenever it changes, and why it closed."""

    def __init__(
        self,
        router: relay.Router,
        *,
        label: str,
        start_watching: StartWatching,
        on_change: Callable[[MediaStateName, str | None], None],
    ) -> None:
        self._router = router
        self._label = label
        self._start_watching = start_watching
        self._on_change = on_change
        self._peer: relay.Peer | None = None
        self._lost = False

    @property
    def state(self) -> MediaStateName:
        """The state of the present peer; ``closed`` when the last one was lost, ``new`` when there was none."""
        if self._peer is not None:
            return self._peer.state.value
        return "closed" if self._lost else "new"

    def negotiate(
        self, sdp: str, publish: Mapping[str, str], subscribe: Mapping[str, relay.Source]
    ) -> relay.NegotiationResult:
        """Answer an offer. Tracks of a peer that it replaces are closed afterwards.

        Raises: relay.RemoteProtocolError and relay.CapacityError; nothing has changed then.
        """
        former = self._peer
        if former is not None and former.state is not relay.PeerState.CLOSED:
            try:
                return former.accept_offer(sdp, publish=publish, subscribe=subscribe)
            except relay.RemoteProtocolError as error:
                if error.code != FINGERPRINT_CHANGED:
                    raise
        peer = self._router.add_peer(self._label, replacing=former)
        try:
            result = peer.accept_offer(sdp, publish=publish, subscribe=subscribe)
        except relay.RelayError:
            peer.close("its first offer was refused")
            peer.events.close()
            raise
        self._peer = peer
        if former is not None:
            former.close("the client made a new connection")
        self._start_watching(self._watch, peer)
        self._on_change(self.state, None)
        return result

    def attach(self, mid: str, source: relay.Source) -> None:
        """Let a negotiated section carry this track or slot.

        Raises: as ``relay.Peer.attach``; KeyError when there is no such section.
        """
        self._peer_with(mid).attach(mid, source)

    def detach(self, mid: str) -> None:
        """Stop what a negotiated section carries. Raises KeyError without such a section."""
        self._peer_with(mid).detach(mid)

    def close(self, reason: str) -> None:
        """End the connection to the relay, if there is one; ``on_change`` is not called."""
        peer, self._peer = self._peer, None
        self._lost = False
        if peer is not None:
            peer.close(reason)

    def end(self, reason: str) -> None:
        """Close for good: nobody is told anything any more."""
        self.close(reason)
        # It is the session's, which holds this: a cycle would wait for the garbage collector.
        self._on_change = _tell_nobody

    def _peer_with(self, mid: str) -> relay.Peer:
        if self._peer is None or mid not in self._peer.subscriptions:
            raise KeyError(mid)
        return self._peer

    async def _watch(self, peer: relay.Peer) -> None:
        """Follow a peer to its end; what a replaced one says no longer matters."""
        async with peer.events:
            async for event in peer.events:
                if self._peer is not peer:
                    continue
                if isinstance(event, relay.PeerClosed):
                    self._peer = None
                    self._lost = True
                    self._on_change("closed", event.reason)
                else:
                    self._on_change("connected", None)
