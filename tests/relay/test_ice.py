"""The ICE-lite agent: whom it believes, what it answers, where it sends."""

import random

import pytest
from aioice import stun as aioice_stun
from hypothesis import given
from hypothesis import strategies as st
from stun_checks import LOCAL, REMOTE, TRANSACTION_ID, check

from relay.errors import LocalProtocolError, RemoteProtocolError
from relay.ice import (
    MAX_ADDRESSES,
    SELECTED_SILENCE_NS,
    AddressForgotten,
    AddressSelected,
    AddressValidated,
    CredentialsProved,
    IceCredentials,
    IceLiteAgent,
    StunVerdict,
    new_credentials,
    peek_local_ufrag,
)
from relay.stun import Attribute, MessageType, encode_stun, parse_stun_untrusted

SECOND = 1_000_000_000
HOME = ("192.0.2.1", 40000)
AWAY = ("2001:db8::7", 50000)
PROVED = CredentialsProved(b"LOCALufr:remoteUF", LOCAL.password.encode())
# RFC 5769 section 2.1
RFC_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)


def make_agent():
    agent = IceLiteAgent(LOCAL)
    agent.set_remote(REMOTE)
    return agent


def drain_events(agent):
    events = []
    while (event := agent.next_event()) is not None:
        events.append(event)
    return events


def answer_of(agent):
    [(answer, destination)] = agent.datagrams_to_send()
    assert agent.datagrams_to_send() == []
    return parse_stun_untrusted(answer), destination


def error_of(agent):
    message, _ = answer_of(agent)
    assert message.message_type == MessageType.BINDING_ERROR
    return message.attributes["ERROR-CODE"][0], message


def is_unbound(agent):
    return (
        agent.selected is None
        and agent.addresses == ()
        and agent.last_check_ns is None
        and not drain_events(agent)
    )


def test_agent_answers_a_valid_check_and_binds_its_source():
    agent = make_agent()
    assert agent.receive_datagram(check(), HOME, 7) is StunVerdict.ANSWERED
    [(answer, destination)] = agent.datagrams_to_send()
    assert destination == HOME
    message = aioice_stun.parse_message(answer)  # its parser, not ours; it verifies the fingerprint
    assert message.message_class is aioice_stun.Class.RESPONSE
    assert message.transaction_id == TRANSACTION_ID
    assert message.attributes["XOR-MAPPED-ADDRESS"] == HOME
    assert "FINGERPRINT" in message.attributes
    assert message.check_message_integrity(LOCAL.password.encode())
    assert drain_events(agent) == [AddressValidated(HOME), AddressSelected(HOME), PROVED]
    assert (agent.selected, agent.addresses, agent.last_check_ns) == (HOME, (HOME,), 7)


def test_agent_answers_ipv6_and_sees_mapped_ipv4_as_ipv4():
    agent = make_agent()
    agent.receive_datagram(check(), AWAY, 0)
    assert answer_of(agent)[0].attributes["XOR-MAPPED-ADDRESS"] == AWAY
    agent.receive_datagram(check(nominated=True), ("::ffff:192.0.2.1", 40000), 0)
    message, destination = answer_of(agent)
    assert message.attributes["XOR-MAPPED-ADDRESS"] == destination == HOME
    assert agent.selected == HOME


def test_agent_repeats_no_event_when_a_check_is_repeated():
    agent = make_agent()
    agent.receive_datagram(check(nominated=True), HOME, 0)
    drain_events(agent)
    for now_ns in (SECOND, 60 * SECOND):
        assert agent.receive_datagram(check(nominated=True), HOME, now_ns) is StunVerdict.ANSWERED
        assert agent.last_check_ns == now_ns
    assert drain_events(agent) == []


def test_agent_takes_checks_without_a_role_as_ffmpeg_sends_them():
    agent = make_agent()
    assert agent.receive_datagram(check(role=None), HOME, 0) is StunVerdict.ANSWERED


def test_agent_does_the_rfc5769_request_whose_sender_is_controlled():
    agent = IceLiteAgent(IceCredentials("evtj", "VOkJxbRl1RmTxUk/WvJxBt"))
    agent.set_remote(IceCredentials("h6vY", REMOTE.password))
    assert agent.receive_datagram(RFC_REQUEST, HOME, 0) is StunVerdict.ROLE_CONFLICT
    code, message = error_of(agent)
    assert code == 487
    assert message.is_signed_with(b"VOkJxbRl1RmTxUk/WvJxBt")
    assert is_unbound(agent)


@pytest.mark.parametrize(
    ("data", "verdict", "code", "signed"),
    [
        (check(role=Attribute.ICE_CONTROLLED), StunVerdict.ROLE_CONFLICT, 487, True),
        (check(extra=[(0x7F01, b"")]), StunVerdict.UNKNOWN_ATTRIBUTE, 420, True),
        (check(password="wrong-password-wrong-password"), StunVerdict.BAD_INTEGRITY, 401, False),
        (check(password=REMOTE.password), StunVerdict.BAD_INTEGRITY, 401, False),
        (check(username="LOCALufr:somebody"), StunVerdict.BAD_USERNAME, 401, False),
        (check(username="nobody00:remoteUF"), StunVerdict.BAD_USERNAME, 401, False),
        (check(username="LOCALufr"), StunVerdict.BAD_USERNAME, 401, False),
        (check(username="LOCALufr:remoteUF\N{SNOWMAN}"), StunVerdict.BAD_USERNAME, 401, False),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, StunVerdict) else None,
)
def test_agent_refuses_and_binds_nothing(data, verdict, code, signed):
    agent = make_agent()
    assert agent.receive_datagram(data, HOME, 0) is verdict
    told, message = error_of(agent)
    assert told == code
    assert message.transaction_id == TRANSACTION_ID
    assert message.is_signed_with(LOCAL.password.encode()) is signed
    assert is_unbound(agent)


def test_agent_names_the_unknown_attributes():
    agent = make_agent()
    agent.receive_datagram(check(extra=[(0x7F01, b""), (0x7F02, b"abc")]), HOME, 0)
    [(answer, _)] = agent.datagrams_to_send()
    assert b"\x00\x0a\x00\x04\x7f\x01\x7f\x02" in answer


@pytest.mark.parametrize("with_username", [True, False])
def test_agent_answers_400_only_when_that_is_no_larger_than_the_request(with_username):
    agent = make_agent()
    attributes = [(Attribute.USERNAME, b"LOCALufr:remoteUF" * 2)] if with_username else []
    request = encode_stun(MessageType.BINDING_REQUEST, TRANSACTION_ID, attributes)
    assert agent.receive_datagram(request, HOME, 0) is StunVerdict.NO_CREDENTIALS
    answers = agent.datagrams_to_send()
    assert len(answers) == int(with_username)
    assert all(len(answer) <= len(request) for answer, _ in answers)
    assert is_unbound(agent)


@pytest.mark.parametrize(
    "message_type", [MessageType.BINDING_INDICATION, MessageType.BINDING_SUCCESS, MessageType.BINDING_ERROR]
)
def test_agent_is_silent_about_what_is_no_request(message_type):
    agent = make_agent()
    username = [(Attribute.USERNAME, b"LOCALufr:remoteUF")]
    data = encode_stun(message_type, TRANSACTION_ID, username, LOCAL.password.encode())
    assert agent.receive_datagram(data, HOME, 0) is StunVerdict.NOT_A_REQUEST
    assert agent.datagrams_to_send() == []
    assert is_unbound(agent)


def test_agent_refuses_every_check_until_it_knows_the_peer():
    agent = IceLiteAgent(LOCAL)
    assert agent.receive_datagram(check(), HOME, 0) is StunVerdict.BAD_USERNAME
    agent.set_remote(REMOTE)
    assert agent.receive_datagram(check(), HOME, 0) is StunVerdict.ANSWERED


def test_set_remote_refuses_others_but_takes_the_same_again():
    agent = make_agent()
    agent.set_remote(REMOTE)
    with pytest.raises(LocalProtocolError, match="restart"):
        agent.set_remote(IceCredentials("another0", REMOTE.password))


@given(data=st.binary(max_size=300))
def test_agent_has_a_verdict_for_any_bytes(data):
    agent = make_agent()
    assert agent.receive_datagram(data, HOME, 0) is not StunVerdict.ANSWERED
    assert agent.datagrams_to_send() == []
    assert is_unbound(agent)


@given(
    start=st.integers(0, 100),
    replacement=st.binary(max_size=12),
    removed=st.integers(0, 12),
)
def test_agent_never_binds_a_mutated_check(start, replacement, removed):
    genuine = check(nominated=True)
    signed_bytes = len(genuine) - 8
    start = min(start, signed_bytes - 1)
    mutated = genuine[:start] + replacement + genuine[start + removed :]
    agent = make_agent()
    verdict = agent.receive_datagram(mutated, HOME, 0)
    # What follows the signature (the fingerprint) may change without the check losing its meaning.
    if mutated[:signed_bytes] != genuine[:signed_bytes]:
        assert verdict is not StunVerdict.ANSWERED
        assert is_unbound(agent)


@given(
    attributes=st.lists(
        st.tuples(st.sampled_from([*Attribute, 0x0003, 0x7F01, 0xC057]), st.binary(max_size=40)), max_size=12
    ),
    message_type=st.sampled_from(MessageType),
)
def test_agent_amplifies_nothing_that_is_not_authentic(attributes, message_type):
    agent = make_agent()
    data = encode_stun(message_type, TRANSACTION_ID, attributes)
    assert agent.receive_datagram(data, HOME, 0) is not StunVerdict.ANSWERED
    assert sum(len(answer) for answer, _ in agent.datagrams_to_send()) <= len(data)
    assert is_unbound(agent)


def test_agent_selects_the_first_provisionally_and_the_nominated_at_once():
    agent = make_agent()
    agent.receive_datagram(check(), HOME, 0)
    agent.receive_datagram(check(), AWAY, 1)
    assert agent.selected == HOME
    agent.receive_datagram(check(nominated=True), AWAY, 2)
    assert drain_events(agent) == [
        AddressValidated(HOME),
        AddressSelected(HOME),
        PROVED,
        AddressValidated(AWAY),
        AddressSelected(AWAY),
    ]


def test_agent_follows_a_nominated_peer_that_roams_to_and_fro():
    agent = make_agent()
    for turn, address in enumerate([HOME, AWAY, HOME, AWAY]):
        agent.receive_datagram(check(nominated=True), address, turn)
        assert agent.selected == address


@pytest.mark.parametrize(
    ("silence_ns", "followed"), [(SELECTED_SILENCE_NS - 1, False), (SELECTED_SILENCE_NS, True)]
)
def test_agent_follows_a_plain_check_only_when_the_selected_address_is_silent(silence_ns, followed):
    agent = make_agent()
    agent.receive_datagram(check(nominated=True), HOME, 0)
    agent.receive_datagram(check(), HOME, SECOND)
    agent.receive_datagram(check(), AWAY, SECOND + silence_ns)
    assert agent.selected == (AWAY if followed else HOME)


def test_agent_counts_checks_that_were_answered_elsewhere_as_those_of_the_selected_address():
    agent = make_agent()
    agent.note_check(SECOND)  # nothing is selected yet
    assert agent.last_check_ns is None
    agent.receive_datagram(check(nominated=True), HOME, 0)
    for now_ns in range(0, 60 * SECOND, SECOND):
        agent.note_check(now_ns)
        agent.receive_datagram(check(), AWAY, now_ns + SELECTED_SILENCE_NS - 1)
        assert (agent.selected, agent.last_check_ns) == (HOME, now_ns + SELECTED_SILENCE_NS - 1)
    agent.note_check(5)  # older than what is known
    agent.receive_datagram(check(), AWAY, 59 * SECOND + SELECTED_SILENCE_NS)
    assert agent.selected == AWAY


def test_agent_tells_what_was_proved_once_and_after_a_restart_again():
    agent = make_agent()
    for address in (HOME, AWAY, HOME):
        agent.receive_datagram(check(), address, 0)
    assert [event for event in drain_events(agent) if isinstance(event, CredentialsProved)] == [PROVED]
    agent.restart(NEW_LOCAL, NEW_REMOTE)
    agent.receive_datagram(check(), HOME, 1)
    assert drain_events(agent) == []
    agent.receive_datagram(check(local=NEW_LOCAL, remote=NEW_REMOTE), HOME, 2)
    proved = CredentialsProved(b"NEWlocal:NEWremot", NEW_LOCAL.password.encode())
    assert drain_events(agent) == [proved]


def test_agent_is_not_moved_by_forgeries_from_elsewhere():
    agent = make_agent()
    agent.receive_datagram(check(nominated=True), HOME, 0)
    for now_ns in range(0, 60 * SECOND, SECOND):
        agent.receive_datagram(check(nominated=True, password=REMOTE.password), AWAY, now_ns)
    assert (agent.selected, agent.addresses, agent.last_check_ns) == (HOME, (HOME,), 0)


def test_agent_keeps_few_addresses_and_says_which_it_forgets():
    agent = make_agent()
    agent.receive_datagram(check(nominated=True), HOME, 0)
    others = [("192.0.2.2", port) for port in range(1, MAX_ADDRESSES + 1)]
    drain_events(agent)
    for now_ns, other in enumerate(others, start=1):
        agent.receive_datagram(check(), other, now_ns)
    assert agent.addresses == (HOME, *others[1:])  # the selected one stays although it is the oldest
    assert drain_events(agent)[-2:] == [AddressForgotten(others[0]), AddressValidated(others[-1])]


def test_agent_stays_bounded_and_consistent_under_random_roaming():
    rng = random.Random(5769)
    agent = make_agent()
    known, selected = set(), None
    for step in range(2000):
        source = ("192.0.2.9", rng.randrange(1, 12))
        agent.receive_datagram(check(nominated=rng.random() < 0.2), source, step * SECOND // 3)
        agent.datagrams_to_send()
        for event in drain_events(agent):
            match event:
                case AddressValidated(address):
                    known.add(address)
                case AddressForgotten(address):
                    known.remove(address)
                case AddressSelected(address):
                    selected = address
        assert known == set(agent.addresses)
        assert len(known) <= MAX_ADDRESSES
        assert selected == agent.selected
        assert selected in known


NEW_LOCAL = IceCredentials("NEWlocal", "new+local+password/012345")
NEW_REMOTE = IceCredentials("NEWremot", "new+remote+password/01234")


def restarted_agent():
    agent = make_agent()
    agent.receive_datagram(check(nominated=True), HOME, 0)
    agent.restart(NEW_LOCAL, NEW_REMOTE)
    agent.datagrams_to_send()
    drain_events(agent)
    return agent


def test_restart_keeps_the_former_credentials_until_the_new_ones_succeed():
    agent = restarted_agent()
    assert agent.local == NEW_LOCAL
    assert agent.valid_ufrags == (NEW_LOCAL.ufrag, LOCAL.ufrag)
    assert agent.receive_datagram(check(), HOME, 1) is StunVerdict.ANSWERED
    assert answer_of(agent)[0].is_signed_with(LOCAL.password.encode())
    assert agent.receive_datagram(check(local=NEW_LOCAL, remote=NEW_REMOTE), AWAY, 2) is StunVerdict.ANSWERED
    assert answer_of(agent)[0].is_signed_with(NEW_LOCAL.password.encode())
    assert agent.valid_ufrags == (NEW_LOCAL.ufrag,)
    assert agent.receive_datagram(check(), HOME, 3) is StunVerdict.BAD_USERNAME


def test_restart_selects_where_the_first_new_check_comes_from():
    agent = restarted_agent()
    agent.receive_datagram(check(local=NEW_LOCAL, remote=NEW_REMOTE), AWAY, 1)
    proved = CredentialsProved(b"NEWlocal:NEWremot", NEW_LOCAL.password.encode())
    assert drain_events(agent) == [AddressValidated(AWAY), AddressSelected(AWAY), proved]
    assert agent.addresses == (HOME, AWAY)


@pytest.mark.parametrize(
    "mixed",
    [
        check(local=NEW_LOCAL, remote=REMOTE),
        check(local=LOCAL, remote=NEW_REMOTE),
        check(local=NEW_LOCAL, remote=NEW_REMOTE, password=LOCAL.password),
        check(local=LOCAL, remote=REMOTE, password=NEW_LOCAL.password),
    ],
)
def test_restart_does_not_mix_generations(mixed):
    agent = restarted_agent()
    assert agent.receive_datagram(mixed, AWAY, 1) in {StunVerdict.BAD_USERNAME, StunVerdict.BAD_INTEGRITY}
    assert agent.selected == HOME
    assert agent.valid_ufrags == (NEW_LOCAL.ufrag, LOCAL.ufrag)


def test_second_restart_gives_up_the_unproved_credentials_only():
    agent = restarted_agent()
    third = new_credentials()
    agent.restart(third, NEW_REMOTE)
    assert agent.valid_ufrags == (third.ufrag, LOCAL.ufrag)


def test_restart_needs_new_local_credentials():
    agent = restarted_agent()
    for stale in (LOCAL, NEW_LOCAL):
        with pytest.raises(LocalProtocolError, match="new local credentials"):
            agent.restart(stale, NEW_REMOTE)


def test_peek_finds_the_local_ufrag():
    assert peek_local_ufrag(check()) == LOCAL.ufrag
    assert peek_local_ufrag(RFC_REQUEST) == "evtj"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01",
        check()[:-1],
        check(username="without-colon"),
        check(username="\N{SNOWMAN}:x"),
        encode_stun(MessageType.BINDING_REQUEST, TRANSACTION_ID, [], b"key"),
        encode_stun(MessageType.BINDING_REQUEST, TRANSACTION_ID, []),
        encode_stun(MessageType.BINDING_INDICATION, TRANSACTION_ID, [(Attribute.USERNAME, b"LOCALufr:x")]),
    ],
)
def test_peek_finds_none_where_there_is_none(data):
    assert peek_local_ufrag(data) is None


@given(data=st.binary(max_size=200))
def test_peek_is_total_for_any_bytes(data):
    assert peek_local_ufrag(data) is None


@given(
    body=st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x00\x06\x00\x09ufra:ufra" + tail)
)
def test_peek_is_total_for_well_framed_bytes(body):
    data = RFC_REQUEST[:2] + len(body).to_bytes(2) + RFC_REQUEST[4:20] + body
    assert peek_local_ufrag(data) is None or b":" in body


def test_new_credentials_are_as_rfc8445_wants_them_and_differ():
    made = {new_credentials() for _ in range(100)}
    assert len({one.ufrag for one in made}) == len({one.password for one in made}) == 100
    assert all(len(one.ufrag) == 8 and len(one.password) >= 24 for one in made)


def test_credentials_do_not_print_the_password():
    assert LOCAL.password not in repr(LOCAL)
    assert LOCAL.password not in repr(PROVED)


@pytest.mark.parametrize(
    ("ufrag", "password", "named"),
    [
        ("abc", LOCAL.password, "ice-ufrag"),
        ("a" * 257, LOCAL.password, "ice-ufrag"),
        ("ab:cd", LOCAL.password, "ice-ufrag"),
        ("abcd\ud800", LOCAL.password, "ice-ufrag"),
        ("abcd", "x" * 21, "ice-pwd"),
        ("abcd", "x" * 21 + "\N{SNOWMAN}", "ice-pwd"),
    ],
)
def test_credentials_of_a_bad_description_are_a_remote_error(ufrag, password, named):
    with pytest.raises(RemoteProtocolError, match=named) as caught:
        IceCredentials(ufrag, password)
    assert caught.value.code == "invalid_ice_credentials"
