"""A bot that records a lobby: everybody by themselves, and all together, in files that begin at the same instant.

Put the files of one recording below each other in an editor and they are in step: what was not sent is silence in them.
Writing is done in threads, once a second; nothing that was written is lost when the recorder, or its machine's program, ends badly.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import trio
from numpy.typing import NDArray

from voicebot.audio import AudioFrame, AudioStream
from voicebot.bot import Assignment, Bot
from voicebot.connection import Connection
from voicebot.nursery import open_bare_nursery
from voicebot.recording_files import RecordingError, RecordingFile, require_format, write_at

RATE = 16000
#: How often what was heard is written.
WRITE_SECONDS = 1.0
#: What may wait to be written. Overflow policy: the recording ends, for a disk so slow will not catch up.
MAX_WAITING_SECONDS = 60
#: Frames that seem to be of so much later than now are not believed: clocks do not differ that much.
MAX_EARLY_SECONDS = 5.0
MAX_NAME_LENGTH = 40


class Recorder(Bot):
    """See the module.

    ``config``: ``format`` (``wav`` or ``opus``), ``mixed`` and ``participants`` (which files to make), and ``notice``, a line of chat by which
    people know that they are recorded; empty: none.

    Each recording is a directory of its own within ``directory``, named after the lobby and the time (UTC).
    """

    title: ClassVar[str] = "Recorder"
    description: ClassVar[str] = "Records a lobby: everybody by themselves, and all together."
    capabilities: ClassVar[tuple[str, ...]] = ("record",)
    config_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "format": {"enum": ["wav", "opus"]},
            "mixed": {"type": "boolean"},
            "participants": {"type": "boolean"},
            "notice": {"type": "string", "maxLength": 500},
        },
        "additionalProperties": False,
    }

    def __init__(self, assignment: Assignment, *, directory: Path = Path("recordings")) -> None:
        super().__init__(assignment)
        config = assignment.config
        self._kind = require_format(config.get("format", "wav"))
        self._mixed: bool = config.get("mixed", True)
        self._participants: bool = config.get("participants", True)
        self._notice: str = config.get("notice", "This lobby is being recorded.")
        if not self._mixed and not self._participants:
            raise RecordingError("expected `mixed` or `participants`, or both: there is nothing to record")
        self._directory = directory
        self._began_s = 0.0
        #: By participant id; None: the mix. Somebody may be heard through one stream after another.
        self._files: dict[str | None, RecordingFile] = {}
        #: Where the files of this recording are; None before it began.
        self.folder: Path | None = None

    async def run(self, connection: Connection) -> None:
        """See ``Bot``."""
        name = f"{_file_name(self.assignment.lobby)}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        self.folder = await trio.to_thread.run_sync(_make_folder, self._directory, name)
        self._began_s = trio.current_time()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._finish_all)
            # All is listened to before anything is said of it: what is heard after the notice is recorded.
            nursery = await stack.enter_async_context(open_bare_nursery())
            if self._mixed:
                mixed = await stack.enter_async_context(connection.mixed(rate=RATE))
                nursery.start_soon(self._record, mixed, "mixed")
            if self._participants:
                nursery.start_soon(self._record_participants, connection, nursery)
            if self._notice:
                await connection.chat(self._notice)
            await trio.sleep_forever()

    async def _finish_all(self) -> None:
        failure: RecordingError | None = None
        with trio.CancelScope(shield=True):
            for file in self._files.values():
                try:
                    await self._finish(file)
                except RecordingError as error:
                    failure = error
        if failure is not None:
            raise failure

    async def _record_participants(self, connection: Connection, nursery: trio.Nursery) -> None:
        async with connection.speakers(rate=RATE) as speakers:
            async for stream in speakers:
                participant = connection.lobby.participants.get(stream.participant or "")
                name = "somebody" if participant is None else participant.name
                nursery.start_soon(self._record, stream, f"{_file_name(name)}-{stream.participant}")

    async def _record(self, stream: AudioStream, name: str) -> None:
        track = _Track(stream, self._began_s)
        if stream.participant not in self._files:
            self._files[stream.participant] = await trio.to_thread.run_sync(self._open, name)
        file = self._files[stream.participant]
        try:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(track.listen, nursery.cancel_scope)
                while True:
                    await trio.sleep(WRITE_SECONDS)
                    await trio.to_thread.run_sync(track.write, file, track.take())
        finally:
            # Also, and above all, when the recorder is told to go.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(track.write, file, track.take())
                if stream.ended == "left":
                    await self._finish(self._files.pop(stream.participant))

    async def _finish(self, file: RecordingFile) -> None:
        end = round((trio.current_time() - self._began_s) * RATE)
        await trio.to_thread.run_sync(_finish, file, end)

    def _open(self, name: str) -> RecordingFile:
        assert self.folder is not None
        for number in range(1, 1000):
            path = self.folder / f"{name}{'' if number == 1 else f'-{number}'}{self._kind.suffix}"
            if not path.exists():
                return self._kind(path, RATE)
        raise RecordingError(f"{self.folder} has a thousand files of {name!r} already")


class _Track:
    """One stream on its way into its file: what was heard and is not written yet."""

    def __init__(self, stream: AudioStream, began_s: float) -> None:
        self._stream = stream
        self._began_s = began_s
        self._waiting: list[AudioFrame] = []
        self._offset: int | None = None

    async def listen(self, scope: trio.CancelScope) -> None:
        """Gather frames until the stream ends, and cancel the scope then."""
        async for frame in self._stream:
            self._waiting.append(frame)
            if len(self._waiting) * self._stream.frame_ms > MAX_WAITING_SECONDS * 1000:
                raise RecordingError("the disk is too slow to record to")
        scope.cancel()

    def take(self) -> list[AudioFrame]:
        """Return what waits, to be written."""
        frames, self._waiting = self._waiting, []
        # What has not been said yet is a mistake: the file would grow by hours of silence, and have no place for what is.
        latest_s = trio.current_time() - (self._stream.began_s or 0.0) + MAX_EARLY_SECONDS
        return [frame for frame in frames if frame.time_s <= latest_s]

    def write(self, file: RecordingFile, frames: list[AudioFrame]) -> None:
        """Write frames where they belong; called in a thread.

        Raises: RecordingError.
        """
        for position, samples in self._runs(frames):
            write_at(file, position, samples)

    def _runs(self, frames: list[AudioFrame]) -> list[tuple[int, NDArray[np.int16]]]:
        """Join frames that follow each other; return where in the file they belong, in samples."""
        if self._offset is None and frames:
            # Once, and not before there are frames to tell it by: what is known better later must not shift what follows.
            opened_s = self._stream.began_s
            assert opened_s is not None
            self._offset = round((opened_s - self._began_s) * RATE)
        offset = self._offset or 0
        runs: list[tuple[int, list[NDArray[np.int16]]]] = []
        next_timestamp = -1
        for frame in frames:
            if frame.timestamp != next_timestamp:
                runs.append((offset + frame.timestamp, []))
            runs[-1][1].append(frame.samples)
            next_timestamp = frame.timestamp + len(frame.samples)
        return [(position, np.concatenate(parts)) for position, parts in runs]


def _finish(file: RecordingFile, end: int) -> None:
    """Write silence until the end, and close the file; called in a thread."""
    try:
        write_at(file, end, np.zeros(0, np.int16))
    finally:
        file.close()


def _make_folder(directory: Path, name: str) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = directory / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise RecordingError(f"{directory} cannot be recorded to: {error.strerror or error}") from error
    raise RecordingError(f"{directory} has a thousand recordings called {name!r} already")


def _file_name(text: str) -> str:
    """Return what a name that people chose may be called on any file system."""
    kept = "".join(each if each.isalnum() or each in "-_" else "_" for each in text)
    return kept[:MAX_NAME_LENGTH].strip("_") or "unnamed"
