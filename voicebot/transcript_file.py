"""A transcript as a file: one JSON object a line, appended as it is said. What is written stays, however the program ends."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio

#: Only these of a name that comes from outside become part of a file's name.
_SAFE = re.compile(r"[^A-Za-z0-9_-]")
MAX_NAME_LENGTH = 80


def transcript_path(directory: Path, lobby_id: str, bot_id: str) -> Path:
    """Return where the transcript of one bot's stay is: in the directory, whatever the ids are."""
    names = [_SAFE.sub("_", each)[:MAX_NAME_LENGTH] for each in (lobby_id, bot_id)]
    return directory / ("-".join(names) + ".jsonl")


def at(epoch: datetime, ms: float) -> str:
    """Return the moment so many ms after ``epoch``, in ISO 8601."""
    return (epoch + timedelta(milliseconds=ms)).astimezone(UTC).isoformat(timespec="milliseconds")


class TranscriptFile:
    """See the module. Lines are whole: each is one write, which the system appends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def append(self, line: dict[str, Any]) -> None:
        """Append a line.

        Raises: OSError.
        """
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        await trio.to_thread.run_sync(self._write, data)

    def _write(self, data: bytes) -> None:
        # Transcripts are private: nobody else on the machine need read them.
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
