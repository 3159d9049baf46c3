"""A bot that says something to a lobby, a file or a text, and goes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import trio

from voicebot.audio import Sound
from voicebot.bot import Assignment, Bot
from voicebot.connection import Connection
from voicebot.errors import VoicebotError
from voicebot.espeak import PROGRAM, speak
from voicebot.sound_files import open_sound_file

MAX_TEXT_LENGTH = 2000
MAX_TIMES = 100


class AnnouncementError(VoicebotError):
    """What is to be said cannot be, and why."""


class Announcer(Bot):
    """See the module. ``config``: ``text``, and in which ``voice``, or ``file``, a name within ``directory``; how many ``times``, ``pause_s`` apart.

    Files are named by whoever asks for the bot, and so only those of one directory are played; without one, none.
    """

    title: ClassVar[str] = "Announcer"
    description: ClassVar[str] = "Says a text or plays a file to a lobby, and goes."
    capabilities: ClassVar[tuple[str, ...]] = ("announce",)
    config_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_LENGTH},
            "voice": {"type": "string", "minLength": 1, "maxLength": 32},
            "file": {"type": "string", "minLength": 1, "maxLength": 255},
            "times": {"type": "integer", "minimum": 1, "maximum": MAX_TIMES},
            "pause_s": {"type": "number", "minimum": 0, "maximum": 3600},
        },
        "additionalProperties": False,
    }

    def __init__(
        self, assignment: Assignment, *, directory: Path | None = None, program: str = PROGRAM
    ) -> None:
        super().__init__(assignment)
        config = assignment.config
        self._text: str | None = config.get("text")
        self._voice: str = config.get("voice", "en")
        self._times: int = config.get("times", 1)
        self._pause_s: float = config.get("pause_s", 1.0)
        self._program = program
        if (self._text is None) == ("file" not in config):
            raise AnnouncementError("expected either `text` or `file`")
        if not all(each.isalnum() or each in "+-_" for each in self._voice) or self._voice[0] in "+-_":
            raise AnnouncementError(f"expected a voice such as en or de, not {self._voice!r}")
        self._path = None if self._text is not None else _within(directory, config["file"])

    async def run(self, connection: Connection) -> None:
        """See ``Bot``."""
        for time in range(self._times):
            if time:
                await trio.sleep(self._pause_s)
            sound, rate = await self._sound()
            playout = await connection.play(sound, rate=rate)
            if not await playout.wait():
                raise AnnouncementError(f"not heard to its end: {playout.reason}")

    async def _sound(self) -> tuple[Sound, int]:
        if self._path is None:
            assert self._text is not None
            return await speak(self._text, voice=self._voice, program=self._program)
        file = await open_sound_file(self._path)
        return file.pieces, file.rate


def _within(directory: Path | None, name: str) -> Path:
    if directory is None:
        raise AnnouncementError("this announcer plays no files: it was given no directory of them")
    path = (directory / name).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise AnnouncementError(f"expected the name of a file within the announcer's directory, not {name!r}")
    return path
