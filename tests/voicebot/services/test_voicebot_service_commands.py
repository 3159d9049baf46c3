"""The commands: what they need, and that keys are never on a command line."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from voicebot.service_commands import add_service_commands

COMMANDS = ("transcriber", "assistant", "chat-assistant")
#: Nobody listens at the discard port of a loopback address.
NOWHERE = "ws://127.0.0.1:9"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    for name in ("DEEPGRAM", "OPENAI"):
        for more in ("_API_KEY", "_API_KEY_FILE"):
            monkeypatch.delenv(name + more, raising=False)
    app = typer.Typer()
    add_service_commands(app)
    return app


def run(app: typer.Typer, *arguments: str, **environment: str):
    return CliRunner().invoke(app, arguments, env=environment)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_without_a_key_says_where_it_belongs(command: str, app: typer.Typer) -> None:
    result = run(app, command)
    assert result.exit_code == 2
    name = "DEEPGRAM" if command == "transcriber" else "OPENAI"
    assert f"no key: set {name}_API_KEY, or {name}_API_KEY_FILE" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_key_is_no_option(command: str, app: typer.Typer) -> None:
    assert run(app, command, "--api-key", "x").exit_code == 2
    (found,) = (each for each in typer.main.get_command(app).commands.items() if each[0] == command)
    options = {option for parameter in found[1].params for option in parameter.opts}
    assert not any("key" in option for option in options)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_with_all_it_needs_connects_to_the_relay(command: str, app: typer.Typer) -> None:
    result = run(app, command, "--no-wait", "--url", NOWHERE, DEEPGRAM_API_KEY="k-1", OPENAI_API_KEY="k-1")
    assert result.exit_code == 1
    assert "cannot connect to 127.0.0.1:9" in result.output
    assert "k-1" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_service_of_ones_own_needs_no_key(command: str, app: typer.Typer) -> None:
    result = run(app, command, "--no-wait", "--url", NOWHERE, "--service-url", "http://127.0.0.1:9/v1")
    assert result.exit_code == 1
    assert "cannot connect" in result.output


def test_urls_that_are_none_are_told(app: typer.Typer) -> None:
    for command in COMMANDS:
        result = run(app, command, "--service-url", "nonsense")
        assert result.exit_code == 2
        assert "expected a base URL" in result.output
    result = run(app, "chat-assistant", "--url", "nonsense", OPENAI_API_KEY="k")
    assert result.exit_code == 2
    assert "expected a URL like" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_bot_joins_a_lobby_by_itself(command: str, app: typer.Typer) -> None:
    environment = {"DEEPGRAM_API_KEY": "k", "OPENAI_API_KEY": "k"}
    lobby = ("--no-wait", "--url", NOWHERE, "--lobby", "garden")
    result = run(app, command, *lobby, "--config", "{}", **environment)
    assert result.exit_code == 1
    assert "cannot connect" in result.output
    for config, text in (("{", "is no JSON"), ("[]", "is to be a JSON object")):
        result = run(app, command, *lobby, "--config", config, **environment)
        assert result.exit_code == 2
        assert text in result.output
    result = run(app, command, "--config", '{"a": 1}', **environment)
    assert "--config goes with --lobby" in result.output


def test_words_come_from_a_file(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "pirate.txt"
    path.write_bytes(b"\xff")
    result = run(app, "assistant", "--instructions", str(path), OPENAI_API_KEY="k")
    assert result.exit_code == 2
    assert "cannot be read" in result.output
    path.write_text("Arr.")
    for command, option in (("assistant", "--instructions"), ("chat-assistant", "--personality")):
        assert (
            run(app, command, "--no-wait", "--url", NOWHERE, option, str(path), OPENAI_API_KEY="k").exit_code
            == 1
        )
