"""Flags over environment over file over defaults; one line for a bad value."""

from pathlib import Path

import pytest

from signaling.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"RELAY_{name.upper()}", raising=False)


def test_defaults_are_those_of_the_readme() -> None:
    settings = load_settings({}, None)
    assert (settings.port, settings.udp_port, settings.max_connections) == (8080, 40_000, 10_000)
    assert (settings.resume_seconds, settings.keepalive_seconds) == (30, 4)
    assert settings.max_message_bytes == 512 * 1024


def test_flags_win_over_environment_over_file(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / ".env"
    file.write_text("RELAY_PORT=1001\nRELAY_UDP_PORT=1002\nRELAY_WORKERS=3\nOTHER=1\n")
    monkeypatch.setenv("RELAY_PORT", "2001")
    monkeypatch.setenv("RELAY_UDP_PORT", "2002")
    settings = load_settings({"port": "3001"}, file)
    assert (settings.port, settings.udp_port, settings.workers) == (3001, 2002, 3)


def test_a_missing_file_and_empty_values_count_as_not_given(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RELAY_WORKERS", "")
    settings = load_settings({}, tmp_path / "nothing")
    assert settings.workers is None


def test_lists_are_separated_by_commas(monkeypatch) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_ADDRESS", "192.0.2.1, 2001:DB8::1")
    monkeypatch.setenv("RELAY_ALLOWED_ORIGINS", "https://A.example,http://b.example:8000")
    settings = load_settings({}, None)
    assert settings.public_address == ("192.0.2.1", "2001:db8::1")
    assert settings.allowed_origins == ("https://a.example", "http://b.example:8000")


def test_localhost_means_the_loopback_address() -> None:
    assert load_settings({"host": "localhost"}, None).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", "http", "0 to 65535"),
        ("port", "65536", "0 to 65535"),
        ("port", "-1", "0 to 65535"),
        ("udp_port", "4e4", "0 to 65535"),
        ("workers", "0", "from 1 to 64"),
        ("host", "nowhere.example", "an IP address"),
        ("public_address", "192.0.2.1,me", "IP addresses"),
        ("max_connections", "0", "from 1 to"),
        ("resume_seconds", "nan", "seconds"),
        ("keepalive_seconds", "0", "above 0"),
        ("max_message_bytes", "12", "bytes"),
        ("allowed_origins", "example.org", "https://example.org"),
        ("allowed_origins", "https://example.org/path", "https://example.org"),
        ("log_level", "loud", "debug, info"),
        ("log_format", "xml", "console or json"),
        ("stop_seconds", "inf", "seconds"),
    ],
)
def test_a_bad_value_is_one_line_with_setting_value_and_expectation(
    monkeypatch, name, value, expected
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value}, None)
    flag = str(caught.value)
    assert flag.startswith(f"--{name.replace('_', '-')}: ")
    monkeypatch.setenv(f"RELAY_{name.upper()}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, None)
    variable = str(caught.value)
    assert variable.startswith(f"RELAY_{name.upper()}: ")
    for text in (flag, variable):
        assert value in text
        assert expected in text
        assert "\n" not in text


def test_every_setting_says_what_it_expects() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"RELAY_PORT=\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings({}, file)
