"""Python, processor, memory, clock, scheduling, descriptors: what the machine gives a program."""

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from relay import examination
from signaling.doctor.finding import Finding, fail, ok, warn
from signaling.serve import BESIDE_CONNECTIONS
from signaling.settings import Settings

OLDEST_PYTHON = (3, 11)
#: A relay of one worker takes 246 MiB when nobody is there, and a connection 25 KiB (``relay bench connections``).
BASE_BYTES = 300 * 1024**2
CONNECTION_BYTES = 25 * 1024
#: Reading them takes no system call; others cost the media path a microsecond a packet.
FAST_CLOCKS = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"})
#: 1 January 2025: whoever's clock is before that has lost it.
EARLIEST_TIME = 1_735_689_600
LATEST_TIME = 4_102_444_800

_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_CLOCK = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_STATUS = Path("/proc/self/status")
_CAP_SYS_NICE = 23


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Yield findings on the machine."""
    yield _python()
    yield _processor(_text(_CPUINFO))
    yield _cores(settings)
    yield _memory(settings)
    yield _clock(time.time(), _text(_CLOCK).strip())
    yield _scheduling()
    yield _descriptors(settings)


def _python() -> Finding:
    if sys.version_info < OLDEST_PYTHON:
        return fail("python", platform.python_version(), "3.11 or newer is needed")
    if platform.system() != "Linux":
        return fail(
            "python", f"{platform.python_version()} on {platform.system()}", "the relay runs on Linux only"
        )
    return ok("python", f"{platform.python_version()} on Linux {platform.release()}")


def _processor(cpuinfo: str) -> Finding:
    flags: set[str] = set()
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            flags = set(value.split())
            break
    if not flags:
        return ok("processor", f"{platform.machine()}; it does not tell its instructions")
    wanted = {"aes", "pmull"} if platform.machine() == "aarch64" else {"aes", "pclmulqdq"}
    missing = sorted(wanted - flags)
    if missing:
        return warn(
            "processor",
            f"{platform.machine()} without {' and '.join(missing)}: encryption costs several times as much",
            "choose a processor, or a virtual machine's type, that has them",
        )
    return ok("processor", f"{platform.machine()} with {' and '.join(sorted(wanted))}")


def _cores(settings: Settings) -> Finding:
    workers = settings.workers or examination.default_workers()
    usable = float(len(os.sched_getaffinity(0)))
    quota, _, period = _text(_CPU_LIMIT).strip().partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        usable = min(usable, int(quota) / int(period))
    told = f"{workers} workers on {usable:g} cores"
    if workers > usable:
        return warn(
            "cores", told, f"a worker wants a core of its own; try --workers {max(1, int(usable) - 1)}"
        )
    return ok("cores", told)


def _memory(settings: Settings) -> Finding:
    limits = [int(text) for path in _MEMORY_LIMITS if (text := _text(path).strip()).isdecimal()]
    meminfo = _text(_MEMINFO).splitlines()
    limits += [int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemTotal:")]
    if not limits:
        return ok("memory", "this system does not tell its limit")
    needed = BASE_BYTES + settings.max_connections * CONNECTION_BYTES
    told = f"{min(limits) // 1024**2} MiB may be used"
    if min(limits) < needed:
        fitting = max(1, (min(limits) - BASE_BYTES) // CONNECTION_BYTES)
        return warn(
            "memory",
            f"{told}, {needed // 1024**2} MiB are needed for {settings.max_connections} connections",
            f"allow more, or try --max-connections {fitting}",
        )
    return ok("memory", told)


def _clock(now: float, source: str) -> Finding:
    before = time.monotonic()
    if not EARLIEST_TIME < now < LATEST_TIME or time.monotonic() < before:
        shown = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
        return fail(
            "clock", f"it says {shown} UTC", "set it (NTP): tokens expire and TLS fails by a wrong clock"
        )
    if source and source not in FAST_CLOCKS:
        return warn(
            "clock",
            f"the system reads it from {source}, which is slow",
            "use tsc, if the machine's is stable",
        )
    return ok("clock", f"plausible{f', read from {source}' if source else ''}")


def _scheduling() -> Finding:
    if examination.real_time_allowed():
        return ok("scheduling", "workers may be real-time threads, so that packets go before Python")
    advice = "grant CAP_SYS_NICE, or an RLIMIT_RTPRIO of 1 (LimitRTPRIO of systemd)"
    if examination.short_slices_known():
        return ok(
            "scheduling",
            f"workers get short slices, so that they wait less for other threads; better: {advice}",
        )
    return warn("scheduling", "on a busy machine packets may wait some milliseconds for a core", advice)


def _descriptors(settings: Settings) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + BESIDE_CONNECTIONS
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return ok("descriptors", f"{wanted} are needed, {'any number' if hard < 0 else hard} allowed")
    fitting = hard - BESIDE_CONNECTIONS
    told = f"{hard} allowed, {wanted} needed for {settings.max_connections} connections"
    advice = f"raise the hard limit (ulimit -Hn, LimitNOFILE=) to {wanted}"
    if fitting < 1:
        return fail("descriptors", told, advice)
    return warn("descriptors", told, f"{advice}; otherwise {fitting} connections are taken")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
