"""How much room the data directory's file system has left, asked for in a thread, as a dead network disk never answers."""

import os
from dataclasses import dataclass
from pathlib import Path

import trio

#: A full disk fills faster than this only when something is badly wrong.
FRESH_SECONDS = 5.0
#: Readiness must answer although the disk does not.
PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """One file system, as an ordinary user sees it. ``fault``: why the figures are missing."""

    free_bytes: int
    size_bytes: int
    free_inodes: int | None = None
    fault: str | None = None


def disk_space(path: Path) -> DiskSpace:
    """Return the room on the file system of a path, or of the nearest folder above it that exists. Blocks."""
    found = path.absolute()
    while not found.exists() and found != found.parent:
        found = found.parent
    try:
        told = os.statvfs(found)
    except OSError as error:
        return DiskSpace(0, 0, fault=f"cannot ask for the space of {found}: {error.strerror}")
    # File systems without a table of inodes say that they have none.
    inodes = told.f_favail if told.f_files else None
    return DiskSpace(told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize, inodes)


class Disk:
    """The space of one directory, asked for at most every few seconds and never waited for longer than a second."""

    def __init__(
        self,
        path: Path,
        *,
        fresh_seconds: float = FRESH_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._path = path
        self._fresh_seconds = fresh_seconds
        self._patience_seconds = patience_seconds
        self._space: DiskSpace | None = None
        self._asked = 0.0
        # One thread at most hangs with a disk that hangs.
        self._thread = trio.CapacityLimiter(1)

    async def space(self) -> DiskSpace:
        """Return the space as it was a few seconds ago at most."""
        now = trio.current_time()
        if self._space is not None and now - self._asked < self._fresh_seconds:
            return self._space
        with trio.move_on_after(self._patience_seconds) as patience:
            self._space = await trio.to_thread.run_sync(
                disk_space, self._path, limiter=self._thread, abandon_on_cancel=True
            )
        if patience.cancelled_caught:
            self._space = DiskSpace(0, 0, fault=f"the disk of {self._path} does not answer")
        self._asked = trio.current_time()
        assert self._space is not None
        return self._space
