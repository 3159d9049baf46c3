"""The load generator's ICE client against the relay's own agent, under loss and lies."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.ice_client import (
    CONSENT_INTERVAL_NS,
    CONSENT_TIMEOUT_NS,
    MAX_TRANSMISSIONS,
    TRANSITIONS,
    IceClient,
    IceClientState,
    IceConnected,
    IceFailed,
    ResponseVerdict,
)
from relay.errors import LocalProtocolError
from relay.ice import IceCredentials, IceLiteAgent, StunVerdict
from relay.stun import Attribute, MessageType, encode_error_code, encode_stun

SERVER = IceCredentials("serverUF", "server+password/012345678")
CLIENT = IceCredentials("clientUF", "client+password/012345678")
SOURCE = ("127.0.0.1", 40000)


def make_pair():
    agent = IceLiteAgent(SERVER)
    agent.set_remote(CLIENT)
    return IceClient(CLIENT, SERVER, tie_breaker=1), agent


def exchange(client, agent, now_ns):
    for request in client.datagrams_to_send():
        assert agent.receive_datagram(request, SOURCE, now_ns) is StunVerdict.ANSWERED
    for answer, _ in agent.datagrams_to_send():
        client.receive_datagram(answer, now_ns)


def connected_pair():
    client, agent = make_pair()
    client.start(0)
    exchange(client, agent, 0)
    assert client.next_event() == IceConnected(SOURCE)
    return client, agent


def test_client_connects_and_nominates():
    client, agent = connected_pair()
    assert client.state is IceClientState.CONNECTED
    assert agent.selected == SOURCE


def test_client_keeps_the_consent_of_the_server():
    client, agent = connected_pair()
    for _ in range(20):
        now_ns = client.next_timeout_ns()
        client.handle_timeout(now_ns)
        exchange(client, agent, now_ns)
        assert agent.last_check_ns == now_ns
    assert now_ns == 20 * CONSENT_INTERVAL_NS
    assert client.next_event() is None


def test_client_repeats_with_growing_delay_and_then_gives_up():
    client, _ = make_pair()
    client.start(0)
    sent, times_ns = client.datagrams_to_send(), []
    while (now_ns := client.next_timeout_ns()) is not None:
        client.handle_timeout(now_ns - 1)
        assert client.datagrams_to_send() == []
        client.handle_timeout(now_ns)
        times_ns.append(now_ns)
        sent += client.datagrams_to_send()
    assert len(sent) == MAX_TRANSMISSIONS
    assert len(set(sent)) == 1
    assert times_ns[:3] == [500_000_000, 1_500_000_000, 3_500_000_000]
    assert client.next_event() == IceFailed("the server did not answer")
    assert client.state is IceClientState.FAILED


def test_client_connects_under_loss():
    for seed in range(50):
        rng = random.Random(seed)
        client, agent = make_pair()
        client.start(0)
        now_ns = 0
        while client.state is IceClientState.CHECKING:
            for request in client.datagrams_to_send():
                if rng.random() < 0.6:
                    agent.receive_datagram(request, SOURCE, now_ns)
            for answer, _ in agent.datagrams_to_send():
                if rng.random() < 0.6:
                    client.receive_datagram(answer, now_ns)
                    client.receive_datagram(answer, now_ns)  # a duplicate
            if client.state is IceClientState.CHECKING:
                now_ns = client.next_timeout_ns()
                client.handle_timeout(now_ns)
        event = client.next_event()
        assert isinstance(event, IceConnected) or now_ns > 60_000_000_000


def test_client_fails_when_the_server_falls_silent():
    client, _ = connected_pair()
    checks = 0
    while (now_ns := client.next_timeout_ns()) is not None:
        client.handle_timeout(now_ns)
        checks += len(client.datagrams_to_send())
    assert client.next_event() == IceFailed("the server stopped answering")
    assert now_ns is None
    assert checks == CONSENT_TIMEOUT_NS // CONSENT_INTERVAL_NS - 1


def test_client_uses_each_transaction_once():
    client, agent = make_pair()
    client.start(0)
    [request] = client.datagrams_to_send()
    agent.receive_datagram(request, SOURCE, 0)
    [(answer, _)] = agent.datagrams_to_send()
    assert client.receive_datagram(answer, 0) is ResponseVerdict.ACCEPTED
    assert client.receive_datagram(answer, 0) is ResponseVerdict.UNKNOWN_TRANSACTION


def pending_client():
    client = IceClient(CLIENT, SERVER, tie_breaker=1, new_transaction_id=lambda: b"x" * 12)
    client.start(0)
    return client


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"", ResponseVerdict.MALFORMED),
        (encode_stun(MessageType.BINDING_REQUEST, b"x" * 12, []), ResponseVerdict.NOT_A_RESPONSE),
        (encode_stun(MessageType.BINDING_SUCCESS, b"y" * 12, []), ResponseVerdict.UNKNOWN_TRANSACTION),
        (encode_stun(MessageType.BINDING_SUCCESS, b"x" * 12, []), ResponseVerdict.BAD_INTEGRITY),
        (
            encode_stun(
                MessageType.BINDING_SUCCESS,
                b"x" * 12,
                [(Attribute.XOR_MAPPED_ADDRESS, b"\0\1\0\0\0\0\0\0")],
                b"wrong",
            ),
            ResponseVerdict.BAD_INTEGRITY,
        ),
        (encode_stun(MessageType.BINDING_ERROR, b"x" * 12, []), ResponseVerdict.REFUSED),
    ],
)
def test_client_believes_no_unsigned_response(data, verdict):
    client = pending_client()
    assert client.receive_datagram(data, 0) is verdict
    assert client.state is IceClientState.CHECKING
    assert client.next_event() is None


def test_client_fails_at_once_on_a_signed_refusal():
    client = pending_client()
    error = [(Attribute.ERROR_CODE, encode_error_code(487, "Role Conflict"))]
    refusal = encode_stun(MessageType.BINDING_ERROR, b"x" * 12, error, SERVER.password.encode())
    assert client.receive_datagram(refusal, 0) is ResponseVerdict.REFUSED
    assert client.next_event() == IceFailed("the server refused the check: 487 Role Conflict")
    assert client.next_timeout_ns() is None


def test_client_tells_the_last_refusal_when_it_gives_up():
    client = IceClient(CLIENT, IceCredentials(SERVER.ufrag, "some+other+password/01234"), tie_breaker=1)
    _, agent = make_pair()
    client.start(0)
    while client.state is IceClientState.CHECKING:
        for request in client.datagrams_to_send():
            assert agent.receive_datagram(request, SOURCE, 0) is StunVerdict.BAD_INTEGRITY
        for answer, _ in agent.datagrams_to_send():
            client.receive_datagram(answer, 0)
        client.handle_timeout(client.next_timeout_ns())
    assert client.next_event() == IceFailed("the server refused the check: 401 Unauthorized")


@given(data=st.binary(max_size=200))
def test_client_has_a_verdict_for_any_bytes(data):
    assert pending_client().receive_datagram(data, 0) is ResponseVerdict.MALFORMED


def test_client_starts_once():
    client = pending_client()
    with pytest.raises(LocalProtocolError, match="cannot start an ICE client that is checking"):
        client.start(0)
    assert set(TRANSITIONS) == set(IceClientState)
