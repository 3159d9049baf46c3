"""When a relay closes WebSockets, and with which codes, as its `/metrics` tell."""

import re
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Final

import trio

POLL_INTERVAL_S: Final = 0.25
TIMEOUT_S: Final = 10.0
BY_CLIENT: Final = "client"
_CLOSED: Final = re.compile(r'^signaling_websockets_closed_total\{code="([^"]+)"\} (\S+)$', re.MULTILINE)


@dataclass
class Closings:
    """Those the relay has closed itself since `watch` began. *Units*: seconds since then."""

    at_s: list[float] = field(default_factory=list)  # each of them; late by the interval of polling at most
    codes: Counter[str] = field(default_factory=Counter)
    _began_ns: int = 0
    _before: Counter[str] = field(default_factory=Counter)

    async def watch(
        self, base_url: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Look again and again until cancelled; started when the counts of before are known."""
        self._before = await trio.to_thread.run_sync(_read, base_url)
        self._began_ns = monotonic_ns()
        task_status.started()
        while True:
            await trio.sleep(POLL_INTERVAL_S)
            counts = await trio.to_thread.run_sync(_read, base_url)
            self.codes = counts - self._before
            more = self.codes.total() - len(self.at_s)
            self.at_s += [(monotonic_ns() - self._began_ns) / 1e9] * more


def _read(base_url: str) -> Counter[str]:
    """Return how many were closed, by code; nothing when there is no answer."""
    try:
        with urllib.request.urlopen(f"{base_url}/metrics", timeout=TIMEOUT_S) as response:  # noqa: S310 - http by construction
            text = response.read().decode()
    except OSError:
        return Counter()
    counts = {code: int(float(count)) for code, count in _CLOSED.findall(text)}
    return Counter({code: count for code, count in counts.items() if code != BY_CLIENT})
