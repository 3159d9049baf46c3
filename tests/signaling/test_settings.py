"""Flags over environment over files over defaults; one line for a bad value, which names where it was given."""

import json
from pathlib import Path

import pytest

from signaling.configuration.fields import described
from signaling.configuration.sources import ignored_variables
from signaling.settings import Settings, SettingsError, load_settings, load_with_sources

FLAGS = {setting.name: setting.flag for setting in described(Settings)}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path: Path) -> None:
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"RELAY_{name.upper()}", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.chdir(tmp_path)


def refusal(text: str, file: Path = Path("relay.toml")) -> str:
    """Write a settings file and return what is said of it, without the file's name."""
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, None)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(file))
    return said.removeprefix(f"{file}")


def test_defaults_are_those_of_the_readme() -> None:
    settings = load_settings({}, None)
    assert (settings.port, settings.udp_port, settings.max_connections) == (8080, 40_000, 1_000)
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
        ("trusted_proxies", "10.0.0.1/8", "10.0.0.0/8"),
        ("trusted_proxies", "proxy.example", "IP addresses or networks"),
        ("database", "mysql://host/name", "postgresql://"),
        ("database", "sqlite:", "sqlite:///"),
        ("database", "sqlite:///", "sqlite:///relative/file"),
        ("otlp_endpoint", "localhost:4318", "http://localhost:4318"),
        ("otlp_endpoint", "http://", "a URL such as"),
        ("otlp_endpoint", "http://host:port", "a URL such as"),
        ("keep_events_days", "-1", "0: for ever"),
        ("keep_chat_days", "36501", "1 to 36500"),
        ("keep_audit_days", "week", "a number of days"),
        ("store_queue_changes", "99", "from 100"),
        ("max_connections_per_address", "0", "from 1 to"),
        ("compression", "zstd", "true or false"),
        ("development", "maybe", "true or false"),
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
    assert flag.startswith(f"{FLAGS[name]}: ")
    monkeypatch.setenv(f"RELAY_{name.upper()}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, None)
    variable = str(caught.value)
    assert variable.startswith(f"RELAY_{name.upper()}: ")
    for text in (flag, variable):
        # A database's URL may hold a password, and no part of it is shown before it is known to be one.
        assert value in text or (name == "database" and "not shown" in text)
        assert expected in text
        assert "\n" not in text


def test_every_setting_says_what_it_expects() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"RELAY_PORT=\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings({}, file)


def test_the_settings_file_is_weaker_than_all_else_and_stronger_than_defaults(
    tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "relay.toml").write_text("port = 1\nudp_port = 2\nworkers = 3\nmax_peers = 4\n")
    (tmp_path / ".env").write_text("RELAY_PORT=11\nRELAY_UDP_PORT=12\nRELAY_WORKERS=13\n")
    monkeypatch.setenv("RELAY_PORT", "21")
    monkeypatch.setenv("relay_udp_port", "22")
    settings, given = load_with_sources({"port": "31"})
    assert (settings.port, settings.udp_port, settings.workers, settings.max_peers) == (31, 22, 13, 4)
    assert [given[name].place for name in ("port", "udp_port", "workers", "max_peers")] == [
        "--port",
        "relay_udp_port",
        "RELAY_WORKERS in .env",
        "relay.toml, line 4: max_peers",
    ]
    assert "host" not in given


def test_the_file_is_named_by_flag_or_variable_and_must_then_exist(tmp_path: Path, monkeypatch) -> None:
    Path("relay.toml").write_text("port = 1\n")
    other, third = tmp_path / "other.toml", tmp_path / "third.toml"
    other.write_text("port = 2\n")
    third.write_text("port = 3\n")
    assert load_settings({}, None).port == 1
    assert load_settings({}, None, None).port == 8080
    monkeypatch.setenv("RELAY_CONFIG", str(other))
    assert load_settings({}, None).port == 2
    assert load_settings({"config": third}, None).port == 3
    third.unlink()
    with pytest.raises(SettingsError, match=r"--config: there is no file .*third.toml"):
        load_settings({"config": third}, None)
    other.unlink()
    with pytest.raises(SettingsError, match=r"RELAY_CONFIG: there is no file .*other.toml"):
        load_settings({}, None)


def test_a_file_has_lists_and_tables_and_values_of_their_own_types() -> None:
    Path("relay.toml").write_text(
        """
        public_address = ["192.0.2.1", "2001:DB8::1"]
        trusted_proxies = "10.0.0.0/8, 192.0.2.7"
        resume_seconds = 45
        development = true
        data_dir = "kept"
        admin_token = "0123456789abcdef"
        [[webhooks]]
        url = "https://a.example/hook"
        secret = "fedcba9876543210"
        events = ["LobbyOpened"]
        [[ice_servers]]
        urls = "turn:turn.example"
        username = "u"
        credential = "p"
        """
    )
    settings = load_settings({}, None)
    assert settings.public_address == ("192.0.2.1", "2001:db8::1")
    assert settings.trusted_proxies == ("10.0.0.0/8", "192.0.2.7/32")
    assert (settings.resume_seconds, settings.development, settings.data_dir) == (45, True, Path("kept"))
    assert settings.admin_token.get_secret_value() == "0123456789abcdef"
    (hook,), (server,) = settings.webhooks, settings.ice_servers
    assert (hook.url, hook.events) == ("https://a.example/hook", ("LobbyOpened",))
    assert hook.secret.get_secret_value() == "fedcba9876543210"
    assert (server.urls, server.username) == (("turn:turn.example",), "u")
    for secret in ("0123456789abcdef", "fedcba9876543210"):
        assert secret not in repr(settings)
        assert secret not in str(settings)


def test_tables_are_json_in_the_environment(monkeypatch) -> None:
    target = {"url": "https://a.example", "secret": "fedcba9876543210"}
    monkeypatch.setenv("RELAY_WEBHOOKS", json.dumps([target]))
    assert load_settings({}, None).webhooks[0].url == "https://a.example"
    for bad, words in {
        "[": "RELAY_WEBHOOKS: not valid JSON",
        "[" * 100_000: "RELAY_WEBHOOKS: not valid JSON",
        "{}": "RELAY_WEBHOOKS: ",
        json.dumps([{**target, "url": "gopher://a"}]): "RELAY_WEBHOOKS[0].url: 'gopher://a' is not valid",
        json.dumps([{"url": "https://a"}]): "RELAY_WEBHOOKS[0].secret: is missing",
    }.items():
        monkeypatch.setenv("RELAY_WEBHOOKS", bad)
        with pytest.raises(SettingsError) as caught:
            load_settings({}, None)
        assert words in str(caught.value)
        assert "fedcba" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 80800", ", line 1: port: '80800' is not valid; expected a TCP port"),
        ("\n# a comment\n  'port'= [1]", ", line 3: port: '1' is not valid"),
        ("[port]\nnumber = 3", ", line 1: port: the value (not shown) is not valid"),
        ("host='a'\nprot = 1", ", line 2: prot: there is no such setting; is port meant?"),
        ("udp-port = 1", ", line 1: udp-port: there is no such setting; is udp_port meant?"),
        ("zzz = 1", ", line 1: zzz: there is no such setting; there are admin_token, allowed_origins"),
        ("[server]\nport = 1", ", line 1: server: there is no such setting"),
        ("port = = 1", " is not valid TOML: Invalid value (at line 1, column 8)"),
        ("max_peers = true", ", line 1: max_peers: 'True' is not valid"),
        ("development = 2", ", line 1: development: '2' is not valid"),
        (
            "admin_token = 'tooshort'",
            ", line 1: admin_token: the value (not shown) is not valid; expected at least 16",
        ),
        (
            f"token_secret = '{'ä' * 15}'",
            ", line 1: token_secret: the value (not shown) is not valid",
        ),
        ("webhooks = 3", ", line 1: webhooks: '3' is not valid; expected tables with url"),
        (
            "[[webhooks]]\nurl='http://a'\nsecret='0123456789abcdef'\n[[webhooks]]\nsecret='0123456789abcdef'\nurl=''",
            ", line 6: webhooks[1].url: '' is not valid; expected a URL such as",
        ),
        (
            "[[webhooks]]\nurl='http://a'\nsecrte='0123456789abcdef'",
            ", line 3: webhooks[0].secrte: there is no such key; is secret meant?",
        ),
        (
            "[[webhooks]]\nurl='http://a'\nsecret='tooshort'",
            ", line 3: webhooks[0].secret: the value (not shown)",
        ),
        ("[[ice_servers]]\nurls=['http://a']", ", line 2: ice_servers[0].urls: 'http://a' is not valid"),
        ("[[ice_servers]]\nurls=[]", ", line 2: ice_servers[0].urls: '' is not valid"),
    ],
)
def test_a_bad_line_of_the_file_is_named_with_its_number(text: str, said: str) -> None:
    assert refusal(text).startswith(said)


def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    Path("relay.toml").write_bytes(b"port = \xff")
    with pytest.raises(SettingsError, match=r"cannot read relay\.toml"):
        load_settings({}, None)
    with pytest.raises(SettingsError, match=r"cannot read .*Is a directory"):
        load_settings({"config": tmp_path}, None)


def test_a_secret_never_shows_in_an_error(monkeypatch) -> None:
    for name, value in {
        "admin_token": "hunter2",
        "token_secret": "hunter2",
        "database": "pg://hunter2@h/x",
    }.items():
        monkeypatch.setenv(f"RELAY_{name.upper()}", value)
        with pytest.raises(SettingsError) as caught:
            load_settings({}, None)
        monkeypatch.delenv(f"RELAY_{name.upper()}")
        assert "hunter2" not in str(caught.value)
        assert f"RELAY_{name.upper()}" in str(caught.value)


def test_variables_that_are_no_settings_are_told_with_what_may_be_meant() -> None:
    found = ignored_variables(Settings, ["RELAY_PROT", "RELAY_PORT", "RELAY_CONFIG", "PATH", "relay_x_y_z"])
    assert found == {"RELAY_PROT": "RELAY_PORT", "RELAY_X_Y_Z": None}


def test_the_database_is_in_the_data_directory_unless_told_otherwise(tmp_path: Path) -> None:
    assert load_settings({}, None).database_url == f"sqlite:///{tmp_path}/relay-data/relay.sqlite3"
    assert load_settings({"data_dir": "/d"}, None).database_url == "sqlite:////d/relay.sqlite3"
    for url in ("memory:", "postgresql://u:p@h/n", "postgresql+psycopg:///n", "sqlite:////x"):
        settings = load_settings({"database": url}, None)
        assert settings.database_url == url
        assert "u:p@" not in repr(settings)


def test_the_collector_of_traces_is_also_taken_from_the_variable_that_other_programs_know(
    monkeypatch,
) -> None:
    assert load_settings({}, None).otlp_endpoint is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a.example:4318")
    settings, given = load_with_sources({}, None)
    assert settings.otlp_endpoint == "http://a.example:4318"
    assert given["otlp_endpoint"].place == "OTEL_EXPORTER_OTLP_ENDPOINT"
    monkeypatch.setenv("RELAY_OTLP_ENDPOINT", "http://b.example")
    assert load_settings({}, None).otlp_endpoint == "http://b.example"
    monkeypatch.delenv("RELAY_OTLP_ENDPOINT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense")
    with pytest.raises(SettingsError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT: 'nonsense' is not valid"):
        load_settings({}, None)


def test_no_secret_has_a_flag() -> None:
    assert {setting.name for setting in described(Settings) if setting.flag is None} == {
        "admin_token",
        "token_secret",
        "ice_servers",
        "webhooks",
        "telephony_numbers",
        "twilio_auth_token",
        "exotel_password",
    }
