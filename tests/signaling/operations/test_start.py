"""What happens before the service serves: the directory it keeps things in, and what is said loudly."""

from pathlib import Path

import pytest

from signaling.data_directory import DataDirectoryError, make_data_directory
from signaling.serve import warnings_of
from signaling.settings import Settings


def test_the_data_directory_is_made_for_the_relay_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = make_data_directory(Path("a/relay-data"))
    assert made == tmp_path / "a" / "relay-data"
    assert made.stat().st_mode & 0o777 == 0o700
    assert make_data_directory(made) == made


def test_one_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataDirectoryError, match=r"cannot be made: .*; choose another with --data-dir"):
            make_data_directory(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["the admin interface is CLOSED"]),
        ({"development": True}, ["the admin interface is OPEN", "this is for development only"]),
        ({"host": "127.0.0.1"}, ["the admin interface is CLOSED"]),
        ({"development": True, "admin_token": "0123456789abcdef"}, []),
        ({"database": "memory:", "admin_token": "0123456789abcdef"}, ["Nothing is kept"]),
    ],
)
def test_what_must_not_be_overlooked_is_said_at_the_start(
    values: dict[str, object], words: list[str]
) -> None:
    said = list(warnings_of(Settings(**values)))
    assert [text.startswith(word) for text, word in zip(said, words, strict=True)] == [True] * len(words)
