"""What a process costs: CPU time to the nanosecond per thread, and memory, from /proc.

Each thread's `schedstat` has its time on a core in ns, where `stat` counts ticks of 10 ms. On kernels without separate
interrupt accounting it includes the network's half of a send that runs in the sender's context.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns


@dataclass(frozen=True)
class ProcessSample:
    """A process at one moment. Times of threads that have ended are not in it."""

    at_ns: int
    cpu_ns: int
    threads_ns: dict[str, int]  # "name (thread id)" -> CPU time
    rss_bytes: int
    peak_rss_bytes: int


@dataclass(frozen=True)
class ProcessUsage:
    """Between two samples."""

    elapsed_ns: int
    cpu_ns: int
    threads_ns: dict[str, int]
    rss_bytes: int
    peak_rss_bytes: int

    @property
    def cpu_share(self) -> float:
        """Cores' worth of CPU."""
        return self.cpu_ns / max(self.elapsed_ns, 1)


def sample_process(pid: int) -> ProcessSample:
    """Sample a process. Raises ProcessLookupError when it is gone."""
    root = Path("/proc") / str(pid)
    threads: dict[str, int] = {}
    memory: dict[str, int] = {}
    try:
        for task in sorted((root / "task").iterdir()):
            with suppress(FileNotFoundError, ProcessLookupError):
                name = (task / "comm").read_text().strip()
                threads[f"{name} ({task.name})"] = int((task / "schedstat").read_text().split()[0])
        for line in (root / "status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in {"VmRSS", "VmHWM"}:
                memory[key] = int(value.split()[0]) * 1024
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    return ProcessSample(
        at_ns=monotonic_ns(),
        cpu_ns=sum(threads.values()),
        threads_ns=threads,
        rss_bytes=memory.get("VmRSS", 0),
        peak_rss_bytes=memory.get("VmHWM", 0),
    )


def usage_between(before: ProcessSample, after: ProcessSample) -> ProcessUsage:
    """Return what happened from one sample to the next."""
    threads = {name: spent - before.threads_ns.get(name, 0) for name, spent in after.threads_ns.items()}
    return ProcessUsage(
        elapsed_ns=after.at_ns - before.at_ns,
        cpu_ns=sum(threads.values()),
        threads_ns=threads,
        rss_bytes=after.rss_bytes,
        peak_rss_bytes=after.peak_rss_bytes,
    )
