"""The media relay: peers offer SDP, tracks are published, subscribers get them. It knows no lobbies, names or HTTP.

async with open_relay(RelayConfig(host="127.0.0.1")) as router:
peer = router.add_peer("alice")
result = peer.accept_offer(sdp, publish={"0": "microphone"})
"""

from media.mixer.state import MixerCapacity
from media.state import Capacity
from media.warm_up import warm_up
from relay.certificate import Certificate
from relay.ear import Ear, EarClosed, HeardFrame
from relay.errors import CapacityError, LocalProtocolError, RelayError, RemoteProtocolError
from relay.mix import Mix, MixListening
from relay.mixer import MixerStatistics
from relay.mouth import Mouth
from relay.negotiation import NegotiationResult, Refusal
from relay.offer import parse_offer
from relay.overload import OverloadBegan, OverloadEnded, OverloadEvent
from relay.peer import Peer, PeerClosed, PeerConnected, PeerEvent, PeerState
from relay.router import RelayConfig, Router, RouterStatistics, WorkerStatistics, open_relay
from relay.slots import AudioSlot, AudioSlots, AudioSlotsStatistics
from relay.source import Source
from relay.track import Track, TrackStatistics

__all__ = [
    "AudioSlot",
    "AudioSlots",
    "AudioSlotsStatistics",
    "Capacity",
    "CapacityError",
    "Certificate",
    "Ear",
    "EarClosed",
    "HeardFrame",
    "LocalProtocolError",
    "Mix",
    "MixListening",
    "MixerCapacity",
    "MixerStatistics",
    "Mouth",
    "NegotiationResult",
    "OverloadBegan",
    "OverloadEnded",
    "OverloadEvent",
    "Peer",
    "PeerClosed",
    "PeerConnected",
    "PeerEvent",
    "PeerState",
    "Refusal",
    "RelayConfig",
    "RelayError",
    "RemoteProtocolError",
    "Router",
    "RouterStatistics",
    "Source",
    "Track",
    "TrackStatistics",
    "WorkerStatistics",
    "open_relay",
    "parse_offer",
    "warm_up",
]
