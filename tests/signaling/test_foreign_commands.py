"""Commands of other packages: listed without being imported, loaded when asked for, explained when they cannot be."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from signaling import cli
from signaling.exits import EXIT_FAILED

SOURCE = """
import typer
app = typer.Typer()
@app.callback()
def top() -> None: "Measure things."
@app.command()
def forward(rate: int = 1) -> None: typer.echo(f"rate {rate}")
"""


@pytest.fixture(autouse=True)
def _packages(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a_foreign_package.py").write_text(SOURCE)
    (tmp_path / "a_broken_package.py").write_text("import a_module_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    found = [
        EntryPoint(name="measure", value="a_foreign_package:app", group=cli.COMMAND_GROUP),
        EntryPoint(name="broken", value="a_broken_package:app", group=cli.COMMAND_GROUP),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda *, group: [one for one in found if one.group == group])
    monkeypatch.delitem(sys.modules, "a_foreign_package", raising=False)


def run(*arguments: str) -> tuple[int, str]:
    app: typer.Typer = cli.make_app(arguments)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_help_lists_them_without_importing() -> None:
    code, output = run("--help")
    assert code == 0
    assert "measure" in output
    assert "broken" in output
    assert "a_foreign_package" not in sys.modules


def test_they_run_with_their_own_options() -> None:
    assert run("measure", "forward", "--rate", "7") == (0, "rate 7\n")


def test_one_that_cannot_be_imported_says_what_to_install() -> None:
    code, output = run("broken", "--fast", "x")
    assert code == EXIT_FAILED
    assert "a_module_nobody_has" in output
    assert "pip install 'trio-relay[broken]'" in output
