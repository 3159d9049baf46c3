"""The settings as people read them: `relay config`, docs/settings.md, the example file."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from signaling.cli import make_app
from signaling.configuration.fields import described
from signaling.configuration.pages import example_file, markdown_page
from signaling.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
SECRETS = {
    "RELAY_ADMIN_TOKEN": "secret-admin-token",
    "RELAY_TOKEN_SECRET": "secret-token-secret-of-at-least-32-bytes",
    "RELAY_DATABASE": "postgresql://relay:secret-password@db.example/relay",
    "RELAY_WEBHOOKS": '[{"url": "https://u:secret-in-url@a.example/", "secret": "secret-of-webhook"}]',
    "RELAY_ICE_SERVERS": '[{"urls": "turn:t.example", "username": "u", "credential": "secret-credential"}]',
}


@pytest.fixture(autouse=True)
def _own_directory(monkeypatch, tmp_path: Path) -> None:
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"RELAY_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def config(*arguments: str):
    return CliRunner().invoke(make_app(["config", *arguments]), ["config", *arguments])


def test_the_page_of_settings_is_what_the_code_says() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    assert page == markdown_page(), "run: relay config --markdown > docs/settings.md"
    assert config("--markdown").output == page
    for name in Settings.model_fields:
        assert f"`{name}`" in page


def test_every_setting_says_what_it_is_and_what_it_takes() -> None:
    for setting in described(Settings):
        assert setting.about, setting.name
        assert setting.expected, setting.name
        assert setting.unset or setting.default not in (None, ()), f"{setting.name}: what happens without it?"


def test_the_example_file_changes_nothing_and_once_uncommented_is_valid() -> None:
    example = config("--example").output
    assert example == example_file()
    assert tomllib.loads(example) == {}
    lines = [line.removeprefix("# ") for line in example.splitlines()]
    uncommented = "\n".join(line for line in lines if " = " in line or line.startswith("[["))
    content = tomllib.loads(uncommented)
    assert set(content) == set(Settings.model_fields)
    for setting in described(Settings):
        if setting.default not in (None, ()) and setting.name != "data_dir":
            assert content[setting.name] == setting.default
    # An example of a secret would be used as it stands: there is none, and an empty one is refused.
    Path("relay.toml").write_text(uncommented)
    assert "admin_token: the value (not shown) is not valid" in config().output
    Path("relay.toml").write_text(uncommented.replace(' = ""', f' = "{"x" * 32}"'))
    assert load_settings({}).workers == 4


def test_config_tells_values_and_where_they_come_from() -> None:
    Path("relay.toml").write_text("\nworkers = 2\n")
    result = config("--port", "9000", "--no-compression", "--allowed-origin", "https://a.example")
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if line.strip("# ")}
    assert rows["port"] == ["9000", "--port"]
    assert rows["workers"] == ["2", "relay.toml,", "line", "2:", "workers"]
    assert rows["compression"][0] == "false"
    assert rows["allowed_origins"] == ["https://a.example", "--allowed-origin"]
    assert rows["host"] == ["0.0.0.0", "default"]
    assert set(Settings.model_fields) <= set(rows)


def test_config_as_json() -> None:
    result = config("--json", "--port", "9000")
    content = json.loads(result.output)
    assert list(content) == [setting.name for setting in described(Settings)]
    assert content["port"] == {"value": 9000, "source": "flag", "place": "--port"}
    assert content["host"] == {"value": "0.0.0.0", "source": "default", "place": None}


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_config_hides_every_secret(monkeypatch, arguments: tuple[str, ...]) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    result = config(*arguments)
    assert result.exit_code == 0
    assert "secret-" not in result.output
    assert "relay:***@db.example" in result.output
    assert result.output.count("(hidden)") == 4


def test_a_bad_setting_is_one_line_and_exit_code_2(monkeypatch) -> None:
    result = config("--port", "x")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("relay: --port: 'x' is not valid")
    monkeypatch.setenv("RELAY_CONFIG", "nowhere.toml")
    assert config().stderr == "relay: RELAY_CONFIG: there is no file nowhere.toml\n"


def test_config_tells_of_variables_that_are_none(monkeypatch) -> None:
    monkeypatch.setenv("RELAY_PROT", "1")
    result = config()
    assert result.exit_code == 0
    assert "relay: RELAY_PROT is no setting and is ignored; is RELAY_PORT meant?" in result.stderr


@pytest.mark.parametrize("place", ["Dockerfile", "docs/relay.service", "docs/operations.md", "README.md"])
def test_every_variable_and_flag_that_is_recommended_is_a_setting(place: str) -> None:
    text = (ROOT / place).read_text()
    variables = {one.lower() for one in re.findall(r"\bRELAY_([A-Z_]*[A-Z])\b", text)}
    assert variables <= {*Settings.model_fields, "config"}
    assert variables
