"""Where calls go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.settings import SettingsError, load_settings
from signaling.telephony.destination import Destination, Directory
from signaling.telephony.phone import CallRefusedError


def directory(**settings: object) -> Directory:
    return Directory(load_settings(settings, environment_file=None, default_file=None))


def find(where: Directory, **call: object) -> Destination:
    told = {"calling": "+14158675309", "called": "+18005551212", "parameters": {}} | call
    return where.find(**told)


def test_what_the_operator_gave_to_the_call_decides_then_the_number_then_the_rest() -> None:
    where = directory(
        telephony_numbers=[{"number": "+18005551212", "lobby": "support"}], telephony_lobby="calls"
    )
    assert find(where) == Destination("support", "Caller 5309")
    assert find(where, called="18005551212").lobby == "support"
    assert find(where, called="+18005551213").lobby == "calls"
    assert find(where, parameters={"lobby": "board", "name": "Ada"}) == Destination("board", "Ada")
    assert find(directory()).lobby == "phone"


def test_a_lobby_of_its_own_for_every_number() -> None:
    assert find(directory(telephony_lobby="call-{from}-to-{to}")).lobby == "call-+14158675309-to-+18005551212"
    assert find(directory(telephony_lobby="{from}"), calling="").lobby == "unknown"
    assert find(directory(telephony_lobby="{from}"), calling="sip:ada@x;<b>\n").lobby == "sipada@xb"


@pytest.mark.parametrize(
    ("calling", "name"),
    [("+14158675309", "Caller 5309"), ("anonymous", "Caller"), ("", "Caller"), ("1234", "Caller")],
)
def test_a_callers_number_is_not_shown_to_everybody(calling: str, name: str) -> None:
    assert find(directory(), calling=calling).name == name


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_numbers_lead_to_a_lobby(calling: str, called: str) -> None:
    found = find(directory(telephony_lobby="x{to}{from}"), calling=calling, called=called)
    assert 1 <= len(found.lobby) <= 64
    assert 1 <= len(found.name) <= 64


@pytest.mark.parametrize("parameters", [{"lobby": "a\nb"}, {"lobby": " "}, {"name": "x" * 65}])
def test_parameters_that_name_nothing_refuse_the_call(parameters: dict[str, str]) -> None:
    with pytest.raises(CallRefusedError, match="1 to 64 printable"):
        find(directory(), parameters=parameters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("telephony_lobby", "{too}"),
        ("telephony_lobby", ""),
        ("telephony_lobby", "x" * 65),
        ("telephony_public_url", "relay.example.org"),
        ("telephony_public_url", "https://u:p@relay.example.org"),
        ("telephony_public_url", "https://relay.example.org/?x=1"),
        ("telephony_numbers", [{"number": "support", "lobby": "support"}]),
        ("twilio_auth_token", "short"),
        ("exotel_user", "a:b"),
        ("exotel_password", "short"),
        ("twilio_bots", -1),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{name.replace('_', '.')}.* is not valid"):
        directory(**{name: value})
