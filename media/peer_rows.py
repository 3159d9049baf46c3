"""Commands about peers: their payload maps, keys and addresses."""

from typing import Any

from media.address_hash import bind_key, load_key, unbind_key
from media.aead import SALT_BYTES
from media.feedback import RETRANSMISSIONS_PER_SECOND
from media.ingress import PUNTS_PER_SECOND
from media.jit import kernel
from media.keyframe_requests import want_keyframe
from media.memory import bytes_at, count, outbound_at, peer_at, track_at, words_at
from media.operations import (
    MAP_BYTES,
    MAP_EXTENSION_IN,
    MAP_EXTENSION_OUT,
    MAP_PAYLOAD_TYPE_IN,
    MAP_PAYLOAD_TYPE_OUT,
    MAP_RTX_ASSOCIATED,
    MAP_RTX_PAYLOAD_TYPE_OUT,
    Operation,
)
from media.rtp import read_u32
from media.stun import CHECKS_PER_SECOND, set_consent
from media.tables import NO_PAYLOAD_TYPE, NONE, PEER_ADDRESSES, SOCKADDR_BYTES
from media.verdicts import Verdict


@kernel
def apply_to_peer(context: Any, command: Any, blob: int) -> None:
    """Apply one command; `blob` is the address of its bytes. Operations: see `media.operations`."""
    row = command.row
    peer = peer_at(context, row)
    operation = command.operation
    if operation == Operation.OPEN_PEER:
        peer.generation = command.generation
        peer.rtcp_ssrc = command.values[0]
        peer.srtp_send = 0
        peer.aead_send = 0
        peer.srtp_receive = 0
        peer.address_length = 0
        peer.first_inbound = NONE
        peer.first_outbound = NONE
        peer.packets_sent = 0
        peer.pending_last = 0
        peer.bytes_sent = 0
        peer.packets_received = 0
        peer.bytes_received = 0
        peer.last_received_ns = context.now_ns
        peer.unknown_reported_ns = 0
        peer.clock_offset = 0
        peer.clock_known = 0
        peer.retransmission_budget = 0
        peer.punt_budget = PUNTS_PER_SECOND
        peer.check_budget = CHECKS_PER_SECOND
        peer.last_check_ns = 0
        peer.username_length = 0
        peer.strangers = 0
        peer.loud_ns = 0
        peer.bound[:, :] = 0
        peer.payload_type_in[:] = 0
        peer.payload_type_out[:] = NO_PAYLOAD_TYPE
        peer.rtx_payload_type_out[:] = NO_PAYLOAD_TYPE
        peer.extension_in[:] = 0
        peer.extension_out[:] = 0
        context.peer_limit = max(context.peer_limit, row + 1)
        context.open_peers += 1
    elif operation == Operation.SET_MAPS:
        maps = bytes_at(blob, MAP_BYTES)
        peer.payload_type_in[:] = maps[MAP_PAYLOAD_TYPE_IN:MAP_RTX_ASSOCIATED]
        peer.rtx_associated[:] = maps[MAP_RTX_ASSOCIATED:MAP_PAYLOAD_TYPE_OUT]
        peer.payload_type_out[:] = maps[MAP_PAYLOAD_TYPE_OUT:MAP_RTX_PAYLOAD_TYPE_OUT]
        peer.rtx_payload_type_out[:] = maps[MAP_RTX_PAYLOAD_TYPE_OUT:MAP_EXTENSION_IN]
        peer.extension_in[:] = maps[MAP_EXTENSION_IN:MAP_EXTENSION_OUT]
        peer.extension_out[:] = maps[MAP_EXTENSION_OUT:MAP_BYTES]
    elif operation == Operation.SET_KEYS:
        peer.srtp_receive = command.values[0]
        peer.srtp_send = command.values[1]
        peer.aead_send = command.values[2]
        for word in range(3):
            peer.salt_send[word] = read_u32(bytes_at(blob, SALT_BYTES), 4 * word)
        peer.last_received_ns = context.now_ns
        # The first report tick, up to a second away, renews it; the first keyframe may need repair before.
        peer.retransmission_budget = RETRANSMISSIONS_PER_SECOND
        _want_keyframes_for(context, peer)
    elif operation == Operation.BIND_ADDRESS:
        _bind_address(context, row, blob, command.values[1], command.values[0] != 0)
    elif operation == Operation.UNBIND_ADDRESS:
        _unbind_address(context, row, blob)
    elif operation == Operation.SET_CONSENT:
        set_consent(context, peer, blob, command.values[0])
    else:
        for index in range(PEER_ADDRESSES):
            unbind_key(context, peer.bound[index], row)
        peer.generation = 0
        peer.srtp_send = 0
        peer.aead_send = 0
        peer.srtp_receive = 0
        peer.address_length = 0
        context.open_peers -= 1


@kernel
def _want_keyframes_for(context: Any, peer: Any) -> None:
    """A subscriber can be sent to from now on: the video it waits for needs a place to start."""
    row = peer.first_outbound
    while row != NONE:
        outbound = outbound_at(context, row)
        if outbound.awaiting_keyframe != 0 and outbound.track != NONE:
            inbound_row = track_at(context, outbound.track).active_inbound
            if inbound_row != NONE:
                want_keyframe(context, inbound_row)
        row = outbound.next_of_peer


@kernel
def _bind_address(context: Any, row: int, sockaddr: int, length: int, select: bool) -> None:
    peer = peer_at(context, row)
    key = words_at(context.key, 3)
    load_key(sockaddr, key)
    if select or peer.address_length == 0:
        peer.last_check_ns = 0  # was of the former one
        peer.address[:] = bytes_at(sockaddr, SOCKADDR_BYTES)
        peer.address_length = length
    free = NONE
    for index in range(PEER_ADDRESSES):
        bound = peer.bound[index]
        if bound[0] == key[0] and bound[1] == key[1] and bound[2] == key[2]:
            bind_key(context, key, row)
            return
        if bound[0] == 0:
            free = index
    if free == NONE or not bind_key(context, key, row):
        count(context, Verdict.COMMAND_REJECTED)
        return
    peer.bound[free, :] = key


@kernel
def _unbind_address(context: Any, row: int, sockaddr: int) -> None:
    peer = peer_at(context, row)
    key = words_at(context.key, 3)
    load_key(sockaddr, key)
    unbind_key(context, key, row)
    for index in range(PEER_ADDRESSES):
        bound = peer.bound[index]
        if bound[0] == key[0] and bound[1] == key[1] and bound[2] == key[2]:
            bound[:] = 0
