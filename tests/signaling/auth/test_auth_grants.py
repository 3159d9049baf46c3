"""What a session may do: asked, written to the store and read back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.auth import Grants, PermissionDeniedError
from signaling.auth.grants import PERMISSIONS

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

some_grants = st.builds(
    Grants,
    lobby=st.none() | st.text(max_size=20),
    identity=st.none() | st.text(max_size=20),
    can_publish=st.booleans(),
    can_subscribe=st.booleans(),
    can_chat=st.booleans(),
    is_bot=st.booleans(),
    company_id=st.text(max_size=20),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    name=st.none() | st.text(max_size=20),
)


def test_everything_is_what_nobody_has_limited() -> None:
    everything = Grants.everything()
    for permission in PERMISSIONS:
        everything.require(permission)
    everything.require_lobby("any", NOW)
    everything.require_name("Anybody")
    assert everything.to_json() == {}


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_what_is_not_granted_is_refused_with_the_name_of_the_permission(permission) -> None:
    with pytest.raises(PermissionDeniedError, match=permission) as caught:
        Grants(**{permission: False}).require(permission)
    assert caught.value.code == "forbidden"


def test_one_lobby_is_that_one_and_no_other_until_it_expires() -> None:
    grants = Grants(lobby="garden", expires_at=NOW)
    grants.require_lobby("garden", NOW - timedelta(seconds=1))
    for name, at in [
        ("Garden", NOW - timedelta(seconds=1)),
        ("hall", NOW - timedelta(seconds=1)),
        ("garden", NOW),
    ]:
        with pytest.raises(PermissionDeniedError) as caught:
            grants.require_lobby(name, at)
        assert caught.value.field == "lobby"


def test_one_name_is_that_one_and_no_other() -> None:
    Grants(name="Ada").require_name("Ada")
    with pytest.raises(PermissionDeniedError, match="Ada") as caught:
        Grants(name="Ada").require_name("Grace")
    assert caught.value.field == "name"


@given(some_grants)
def test_what_is_written_is_read_back(grants) -> None:
    assert Grants.from_json(grants.to_json()) == grants


def test_nothing_stored_means_everything() -> None:
    assert Grants.from_json(None) == Grants.everything()


@pytest.mark.parametrize(
    "stored",
    [
        {"can_publish": "yes"},
        {"can_publish": 0},
        {"lobby": 7},
        {"lobby": None},
        {"expires_at": "soon"},
        {"expires_at": "2026-01-31T12:00:00"},
        {"can_kick": True},
    ],
)
def test_what_is_not_understood_grants_nothing(stored) -> None:
    with pytest.raises(ValueError):
        Grants.from_json(stored)
