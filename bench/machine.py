"""The machine a figure was measured on, and which of its cores do what."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Enough to judge whether two result files may be compared."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    numba: str
    numpy: str
    commit: str


def describe_machine() -> Machine:
    """Describe this machine and the checkout the program runs from."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        numba=version("numba"),
        numpy=version("numpy"),
        commit=_commit(),
    )


@dataclass(frozen=True)
class Pinning:
    """Cores of the two processes; None leaves a process to the scheduler."""

    server_cpu: int | None
    client_cpu: int | None

    def describe(self) -> str:
        """Say it in the words of the report."""
        if self.server_cpu is None and self.client_cpu is None:
            return "nothing pinned"
        server = "relay not pinned" if self.server_cpu is None else f"relay on core {self.server_cpu}"
        client = "generator not pinned" if self.client_cpu is None else f"generator on core {self.client_cpu}"
        return f"{server}, {client}"


def default_pinning() -> Pinning:
    """One core each where there are two; nothing pinned on a single core, where both must share anyway."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Pinning(None, None)
    return Pinning(cores[0], cores[1])


@contextmanager
def pinned_thread(cpu: int | None) -> Iterator[None]:
    """Keep the calling thread, and those it starts, on one core for the length of the scope; None: where it is.

    Threads of a pool go on to do other work, for which they must have their cores back.
    """
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin_process(pid: int, cpu: int) -> None:
    """Keep a running process on one core: all its threads, and those they will start.

    Not earlier than it is ready: what it compiles at its start may use the whole machine.
    """
    for task in (Path("/proc") / str(pid) / "task").iterdir():
        os.sched_setaffinity(int(task.name), {cpu})


@contextmanager
def kept_to_client(pinning: Pinning) -> Iterator[None]:
    """Keep the calling thread, and those it starts, off the relay's core and the loop's, if there are others."""
    before = os.sched_getaffinity(0)
    if pinning.client_cpu is not None:
        others = before - {pinning.client_cpu, pinning.server_cpu}
        os.sched_setaffinity(0, others or {pinning.client_cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    root = Path(__file__).resolve().parent.parent
    try:
        git = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return git.stdout.strip() or "unknown"
