"""Consent checks that a worker answers by itself: as the ICE agent would have, and nothing that only it may."""

import secrets
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trio
from calls import Stranger, Tally, checks, open_call
from client_sdp import audio
from hypothesis import given, settings
from hypothesis import strategies as st
from media_peer import LOOPBACK, MediaPeer, open_peer, open_publisher
from stun_checks import LOCAL, REMOTE, check
from waiting import commands_applied, eventually, wait_verdict

from media.commands import apply_commands
from media.ingress import PUNTS_PER_SECOND, receive_datagram
from media.native import AF_INET, AF_INET6
from media.operations import Operation
from media.ring import push_records
from media.sha1 import BLOCK_BYTES
from media.state import Capacity, SharedMemory, WorkerMemory
from media.stun import CHECKS_PER_SECOND, MAX_CHECK_BYTES
from media.tables import COMMAND
from media.verdicts import Verdict
from relay import PeerClosed, PeerState, RelayConfig, open_relay
from relay.ice import IceCredentials, IceLiteAgent, StunVerdict
from relay.stun import Attribute, MessageType, StunMessage, encode_stun, parse_stun_untrusted
from relay.udp import encode_address

pytestmark = pytest.mark.usefixtures("kernels")

SECTION = audio("0", "sendonly", ssrc=7)
HOME = ("192.0.2.1", 40000)
SIX = ("2001:db8::7", 50000)
NOW_NS = 17_000_000_000


class Desk:
    """The tables of a worker without a thread or a socket, and in them one peer that has been selected at `address`."""

    def __init__(self, family, address, username: bytes = f"{LOCAL.ufrag}:{REMOTE.ufrag}".encode()):
        capacity = Capacity(peers=1, tracks=1, inbound=1, outbound=1, history=1, commands=8, events=2, taps=2)
        self.memory = WorkerMemory(
            worker=0,
            shared=SharedMemory(1, capacity),
            capacity=capacity,
            socket=-1,
            wake_fd=-1,
            event_fd=-1,
            keyframe_interval_ns=0,
        )
        self.family = family
        self.memory.context["now_ns"] = 1
        self.post(Operation.OPEN_PEER, 5, generation=1)
        self.select(address)
        key = LOCAL.password.encode().ljust(BLOCK_BYTES, b"\0")
        self.post(Operation.SET_CONSENT, len(username), blob=key + username)
        self.memory.context["now_ns"] = NOW_NS

    def select(self, address) -> None:
        sockaddr, length = encode_address(self.family, address)
        self.post(Operation.BIND_ADDRESS, 1, length, blob=sockaddr)

    def post(self, operation, *values, blob=b"", generation=0) -> None:
        command = np.zeros(1, COMMAND)
        command["operation"], command["generation"] = operation, generation
        command["values"][0, : len(values)] = values
        command["blob"][0, : len(blob)] = np.frombuffer(blob, np.uint8)
        assert push_records(self.memory.commands, self.memory.command_cursors, command) == 1
        apply_commands(self.memory.context[0])

    @property
    def peer(self):
        return self.memory.peers[0]

    def receive(self, data: bytes, source) -> tuple[Verdict, bytes | None]:
        """The verdict on a datagram, and what was put into the send queue for the selected address."""
        memory, context = self.memory, self.memory.context
        self.peer["pending_last"] = self.peer["check_budget"] = self.peer["last_check_ns"] = 0
        self.peer["check_budget"] = self.peer["punt_budget"] = 1
        self.peer["last_received_ns"] = 1
        context["send_count"] = context["send_cursor"] = 0
        memory.event_cursors[:] = 0
        memory.counters[:] = 0
        buffer = np.full(2048, 0xA5, np.uint8)
        buffer[: len(data)] = np.frombuffer(data, np.uint8)
        sockaddr = np.frombuffer(encode_address(self.family, source)[0], np.uint8).copy()
        receive_datagram(context[0], buffer.ctypes.data, sockaddr.ctypes.data, len(data))
        assert buffer[: len(data)].tobytes() == data  # what is punted must be what came
        (verdict,) = np.flatnonzero(memory.counters)
        answered = verdict == Verdict.STUN_ANSWERED
        assert context["send_count"][0] == answered
        assert self.peer["check_budget"] == self.peer["punt_budget"] - answered or not answered
        assert self.peer["last_check_ns"] == (NOW_NS if answered else 0)
        assert self.peer["last_received_ns"] == (NOW_NS if answered else 1)
        if not answered:
            return Verdict(verdict), None
        (length,) = memory._buffers["send_pending"]["length"][:1]
        return Verdict(verdict), memory._buffers["send_bytes"][:length].tobytes()


@cache
def desk_of(family, address) -> Desk:
    return Desk(family, address)


def agent_at(address) -> IceLiteAgent:
    """An agent that has proved its credentials and selected this address."""
    agent = IceLiteAgent(LOCAL)
    agent.set_remote(REMOTE)
    assert agent.receive_datagram(check(nominated=True), address, 1) is StunVerdict.ANSWERED
    agent.datagrams_to_send()
    while agent.next_event() is not None:
        pass
    return agent


def compare(data: bytes, family=AF_INET, address=HOME) -> Verdict:
    """If the worker answers, then with the agent's own bytes, and where the agent would have changed nothing else."""
    verdict, answer = desk_of(family, address).receive(data, address)
    agent = agent_at(address)
    judged = agent.receive_datagram(data, address, NOW_NS)
    if answer is not None:
        assert judged is StunVerdict.ANSWERED
        assert agent.datagrams_to_send() == [(answer, address)]
        assert agent.next_event() is None
    return verdict


PLAIN = {
    "browser": check(nominated=True),
    "not nominated": check(),
    "without a role": check(role=None),  # ffmpeg
    "Chrome": check(extra=[(0xC057, b"\x00\x01\x00\x0a")]),
    "libnice": check(extra=[(Attribute.SOFTWARE, b"libnice 0.1.21")]),
    "another transaction": check(transaction_id=b"\xff" * 12, nominated=True),
    "without FINGERPRINT": check()[:2] + (len(check()) - 28).to_bytes(2) + check()[4:-8],
}


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (AF_INET, HOME),
        (AF_INET, ("255.255.255.255", 65535)),
        (AF_INET6, SIX),
        (AF_INET6, HOME),  # a socket for both families shows it as ::ffff:192.0.2.1
        (AF_INET6, ("::c000:201", 1)),
        (AF_INET6, ("fe80::1%3", 40000)),
    ],
)
@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_plain_check_is_answered_as_the_agent_answers_it(data, family, address):
    assert compare(data, family, address) is Verdict.STUN_ANSWERED


NOT_PLAIN = {
    "wrong password": check(password=REMOTE.password),
    "another user": check(username="LOCALufr:somebody"),
    "our ufrag only": check(username="LOCALufr"),
    "no user": encode_stun(MessageType.BINDING_REQUEST, bytes(12), [], LOCAL.password.encode()),
    "unsigned": encode_stun(
        MessageType.BINDING_REQUEST, bytes(12), [(Attribute.USERNAME, b"LOCALufr:remoteUF")]
    ),
    "role conflict": check(role=Attribute.ICE_CONTROLLED),
    "unknown attribute": check(extra=[(0x7F01, b"")]),
    "indication": encode_stun(
        MessageType.BINDING_INDICATION, bytes(12), [(Attribute.USERNAME, b"LOCALufr:remoteUF")], b"key"
    ),
    "response": encode_stun(MessageType.BINDING_SUCCESS, bytes(12), [], LOCAL.password.encode()),
    "wrong fingerprint": check()[:-1] + bytes([check()[-1] ^ 1]),
    "very long": check(extra=[(0xC057, bytes(MAX_CHECK_BYTES))]),
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_anything_else_is_punted_and_is_no_sign_of_life(data):
    assert compare(data) is Verdict.STUN_PUNTED


@pytest.mark.parametrize("nominated", [False, True])
@pytest.mark.parametrize(
    ("family", "selected", "other"),
    [
        (AF_INET, HOME, (HOME[0], HOME[1] + 1)),
        (AF_INET, HOME, ("192.0.2.2", HOME[1])),
        (AF_INET6, SIX, ("2001:db8::8", SIX[1])),
        (AF_INET6, SIX, ("2001:db9::7", SIX[1])),
        (AF_INET6, SIX, (SIX[0], SIX[1] + 1)),
        (AF_INET6, ("fe80::1%3", 1), ("fe80::1%4", 1)),
    ],
)
def test_check_from_an_address_that_is_bound_but_not_selected_is_punted(nominated, family, selected, other):
    desk = Desk(family, other)
    desk.select(selected)
    data = check(nominated=nominated)
    assert desk.receive(data, other) == (Verdict.STUN_PUNTED, None)
    assert desk.receive(data, selected)[0] is Verdict.STUN_ANSWERED


def test_peer_without_consent_has_its_checks_punted():
    desk = Desk(AF_INET, HOME)
    desk.post(Operation.SET_CONSENT, 0)
    assert desk.receive(check(), HOME) == (Verdict.STUN_PUNTED, None)


def test_row_used_anew_knows_nothing_of_its_former_peer():
    desk = Desk(AF_INET, HOME)
    desk.receive(check(), HOME)
    desk.post(Operation.CLOSE_PEER)
    desk.post(Operation.OPEN_PEER, 6, generation=2)
    assert desk.peer["last_check_ns"] == 0
    desk.select(HOME)
    assert desk.receive(check(), HOME) == (Verdict.STUN_PUNTED, None)


attributes = st.lists(
    st.tuples(
        st.sampled_from([*Attribute, 0x0003, 0x7F01, 0x8023, 0x802B, 0x802C, 0x8030, 0xC057]),
        st.binary(max_size=20) | st.just(bytes(4)) | st.just(bytes(8)) | st.just(b"LOCALufr:remoteUF"),
    ),
    max_size=3,
)


@settings(deadline=None, max_examples=500)
@given(extra=attributes, nominated=st.booleans(), transaction_id=st.binary(min_size=12, max_size=12))
def test_whatever_a_signed_check_carries_the_worker_and_the_agent_agree(extra, nominated, transaction_id):
    data = check(extra=extra, nominated=nominated, transaction_id=transaction_id)
    assert compare(data) in (Verdict.STUN_ANSWERED, Verdict.STUN_PUNTED)


@settings(deadline=None, max_examples=500)
@given(
    genuine=st.sampled_from(list(PLAIN.values())),
    start=st.integers(0, 130),
    replacement=st.binary(max_size=12),
    removed=st.integers(0, 12),
)
def test_mutated_check_is_answered_only_if_the_agent_would(genuine, start, replacement, removed):
    mutated = genuine[:start] + replacement + genuine[start + removed :]
    if compare(mutated) is Verdict.STUN_ANSWERED:
        signed = parse_stun_untrusted(genuine).signed
        assert parse_stun_untrusted(mutated).signed == signed or mutated[:2] + mutated[4:] == signed


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_have_a_verdict_and_no_answer(data):
    assert compare(data) is not Verdict.STUN_ANSWERED


# The whole relay.

DUAL = RelayConfig(host="::", public_addresses=("127.0.0.1",), workers=1)


def own_check(peer: MediaPeer, **details) -> bytes:
    """A check with the credentials of the client's last offer and answer."""
    details = {"local": peer.answer.ice, "remote": peer._credentials, "nominated": True, **details}
    return check(transaction_id=secrets.token_bytes(12), **details)


def ask(peer: MediaPeer, data: bytes) -> StunMessage:
    """Send a check and read its answer. Until that has come the Trio thread stands still: only a worker can send it."""
    with peer._socket._sock.dup() as connected:
        connected.settimeout(5)
        connected.send(data)
        while True:
            message = parse_stun_untrusted(connected.recv(2048))
            if message is not None and message.transaction_id == data[8:20]:
                return message


def is_success(message: StunMessage, credentials: IceCredentials) -> bool:
    signed = message.is_signed_with(credentials.password.encode())
    return message.message_type == MessageType.BINDING_SUCCESS and signed


def verdict_of(router, name: str) -> int:
    return router.statistics().verdicts[name]


@pytest.mark.parametrize(
    ("config", "host"),
    [(LOOPBACK, "127.0.0.1"), (DUAL, "127.0.0.1"), (DUAL, "::1")],
    ids=["ipv4", "mapped", "ipv6"],
)
async def test_checks_of_a_connected_peer_never_reach_the_control_plane(config, host):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, SECTION, candidate_host=host) as (ada, _),
        ):
            assert verdict_of(router, "stun_answered") == 0
            punted = verdict_of(router, "stun_punted")
            for count in range(1, 4):
                message = ask(ada, own_check(ada, nominated=count != 2))
                assert is_success(message, ada.answer.ice)
                assert message.attributes["XOR-MAPPED-ADDRESS"] == ada.address
                assert verdict_of(router, "stun_answered") == count
            assert verdict_of(router, "stun_punted") == punted


async def test_consent_is_answered_while_the_control_plane_drowns():
    with trio.fail_after(20):
        async with open_call() as call:
            with Stranger(call.router) as stranger:
                (nonsense,) = checks([call.ada.answer.ice.ufrag])
                for _ in range(1_000_000):  # all in one go: nobody empties the ring of events
                    stranger.send_datagram(nonsense)
                    if verdict_of(call.router, "punt_overflow"):
                        break
                for peer in (call.ada, call.bob):
                    assert is_success(ask(peer, own_check(peer)), peer.answer.ice)
                    assert peer.relay_peer.transport.last_heard_ns() > time.monotonic_ns() - 5 * 10**9


async def test_forged_checks_from_the_address_of_a_peer_do_not_cost_it_its_consent():
    with trio.fail_after(20):
        async with open_call() as call:
            forged = own_check(call.ada, password="f" * 24)
            tally = Tally(call.router)
            await tally.send(call.ada, [forged] * 4 * PUNTS_PER_SECOND)
            verdicts = await tally.wait()
            assert verdicts["punt_throttled"] > 0
            assert set(verdicts) == {"stun_punted", "punt_throttled"}
            assert is_success(ask(call.ada, own_check(call.ada)), call.ada.answer.ice)


async def test_flood_of_good_checks_is_answered_in_moderation():
    with trio.fail_after(20):
        async with open_call() as call:
            began_s = trio.current_time()
            tally = Tally(call.router)
            await tally.send(call.ada, [own_check(call.ada) for _ in range(1000)])
            verdicts = await tally.wait()
            seconds = trio.current_time() - began_s + 2
            assert CHECKS_PER_SECOND <= verdicts["stun_answered"] <= CHECKS_PER_SECOND * seconds
            assert verdicts["stun_punted"] <= PUNTS_PER_SECOND * seconds
            assert verdicts["punt_throttled"] > 0


async def test_peer_that_only_forges_checks_is_closed():
    quick = replace(LOOPBACK, consent_timeout_s=1.0)
    with trio.fail_after(20):
        async with open_relay(quick) as router, open_publisher(router, SECTION) as (ada, _):
            while ada.relay_peer.state is PeerState.CONNECTED:
                ada.send_datagram(own_check(ada, password="f" * 24))
                await trio.sleep(0.02)
            assert await ada.relay_peer.events.receive() == PeerClosed("nothing heard for 1 s")
            assert verdict_of(router, "stun_answered") == 0


async def test_restart_leaves_former_checks_to_the_worker_until_new_ones_have_succeeded():
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_publisher(router, SECTION) as (ada, _):
            former, before = own_check(ada), ada.answer.ice
            ada.renew_credentials()
            ada.offer(SECTION)
            await commands_applied(router)
            assert is_success(ask(ada, former), before)
            assert verdict_of(router, "stun_answered") == 1
            ada.start_ice()
            await ada.wait_ice()
            assert verdict_of(router, "stun_answered") == 1  # the control plane has to know of the first
            assert is_success(ask(ada, own_check(ada)), ada.answer.ice)
            assert verdict_of(router, "stun_answered") == 2
            punted = verdict_of(router, "stun_punted")
            ada.send_datagram(former)
            await wait_verdict(router, "stun_punted", punted + 1)
            assert verdict_of(router, "stun_answered") == 2


async def test_checks_answered_by_the_worker_keep_the_selected_address(monkeypatch):
    monkeypatch.setattr("relay.ice.SELECTED_SILENCE_NS", 1_000_000_000)
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_publisher(router, SECTION) as (ada, _):
            agent = ada.relay_peer.transport._ice
            known_ns = agent.last_check_ns
            while time.monotonic_ns() - known_ns < 1_100_000_000:
                ask(ada, own_check(ada))
                await trio.sleep(0.05)
            assert agent.last_check_ns == known_ns
            with Stranger(router) as second_path:
                punted = verdict_of(router, "stun_punted")
                ask(ada, own_check(ada))
                second_path.send_datagram(own_check(ada, nominated=False))
                await eventually(lambda: len(agent.addresses) == 2)
                assert agent.selected == ada.address
                second_path.send_datagram(own_check(ada))
                await eventually(lambda: agent.selected == second_path.socket.getsockname())
                await commands_applied(router)
                # Now the former address is only bound, and its checks may be a wish to go back.
                ada.send_datagram(own_check(ada))
                await eventually(lambda: agent.selected == ada.address)
                assert verdict_of(router, "stun_punted") == punted + 3


async def test_check_with_a_very_long_user_name_is_left_to_the_control_plane():
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada:
            ada._credentials = replace(ada._credentials, ufrag="u" * 256)
            ada.publish(SECTION)
            await ada.connect()
            punted = verdict_of(router, "stun_punted")
            ada.start_ice()
            await ada.wait_ice()
            assert verdict_of(router, "stun_answered") == 0
            assert verdict_of(router, "stun_punted") == punted + 1
