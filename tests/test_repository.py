"""What the repository says about itself: documents, packaging, image and CI agree with the tree and each other."""

import ast
import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {"media", "relay", "signaling", "voicebot", "bench"}
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "signaling").glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
]
MADE = {
    "__pycache__",
    "build",
    "dist",
    "htmlcov",
    "bench-results",
}  # as .gitignore, beside what starts with a dot

HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# A folder of somebody's machine: at the start of a path, and followed by a name.
FOREIGN_PATH = re.compile(r"(?<![\w.~}\-/])/(?:home|root|Users|work|tmp)/\w")


def is_made(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return bool(MADE & set(parts)) or (parts[0].startswith(".") and parts[0] != ".ci")


def sources_of(*folders: str) -> list[Path]:
    return [
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if not MADE & set(path.parts)
    ]


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def imports_of(paths: list[Path]) -> set[str]:
    """The top-level names of all third-party modules imported anywhere in these files."""
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    ours = PACKAGES | {path.stem for path in sources_of("tests")}
    return names - ours - set(sys.stdlib_module_names)


def anchors_of(document: Path) -> set[str]:
    """The fragments that GitHub gives to the headings."""
    headings = HEADING.findall(CODE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_names_the_commands_and_make_has_them():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z]+)", readme))
    assert {"serve", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    links = [link for link in LINK.findall(document.read_text()) if "://" not in link]
    assert links or document.name != "README.md"
    for link in links:
        path, _, fragment = unquote(link).partition("#")
        target = (document.parent / path) if path else document
        assert target.exists(), link
        assert not fragment or fragment in anchors_of(target), link


def test_ci_runs_what_the_readme_tells_people_to_run():
    commands = [
        line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert commands[0] == "set -euo pipefail"
    assert commands[-1] == "make test"
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in ("run", "system-packages"))


def test_every_place_lists_every_package():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == PACKAGES
    tools = PROJECT["tool"]
    assert set(tools["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    assert set(tools["mypy"]["packages"]) == PACKAGES
    assert set(tools["coverage"]["run"]["source"]) == PACKAGES
    assert set(tools["importlinter"]["root_packages"]) == PACKAGES
    assert all((ROOT / package / "py.typed").exists() for package in PACKAGES)


def test_the_image_is_built_from_every_package():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == set(let_in) == PACKAGES | {"pyproject.toml", "README.md", "LICENSE"}


def test_the_changelog_begins_with_the_version():
    entries = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries[0] == PROJECT["project"]["version"]


@pytest.mark.parametrize(
    ("folders", "extras"),
    [(PACKAGES, {"bench", "otel"}), ({"tests"}, {"bench", "test"})],
    ids=["packages", "tests"],
)
def test_what_is_imported_is_declared(folders, extras):
    project = PROJECT["project"]
    declared = {name_of(one) for one in project["dependencies"]}
    declared |= {name_of(one) for extra in extras for one in project["optional-dependencies"][extra]}
    distributions = packages_distributions()
    imported = imports_of(sources_of(*folders))
    assert {"trio", "numpy"} <= imported
    for module in imported:
        assert any(name_of(name) in declared for name in distributions[module]), module


def test_no_file_names_a_folder_of_somebodys_machine():
    assert FOREIGN_PATH.search(f"see /{'home'}/me")
    tops = [top for top in ROOT.iterdir() if not is_made(top)]
    files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*"))]
    texts = [file for file in files if file.is_file() and not is_made(file)]
    assert len(texts) > 100
    assert [str(file) for file in texts if FOREIGN_PATH.search(file.read_text(errors="replace"))] == []
