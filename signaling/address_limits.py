"""What one client address may have: so many open WebSockets, and so many new connections a second.

Behind one IPv4 address there may be a whole school, so the limits are generous: they are to keep one address from
taking everything, not to be fair. IPv6 is counted by networks of 64 bits. The machine itself is exempt, unless told
otherwise: behind it may be a proxy nobody told us of, and there everybody has the same address.

Bounded memory: an address is known while it has a WebSocket open, and ``Allowances`` remembers so many for the rate.
"""

from collections import Counter

from signaling.auth.allowances import DEFAULT_CAPACITY, Allowances, Rate
from signaling.auth.client_address import attempts_key, is_loopback

MAX_OPEN = 500
PER_SECOND = 50.0


class AddressLimits:
    """See the module. No clock inside: ``now`` is in seconds on any that does not run backwards.

    All WebSockets of an address may come back at once, as after a restart: so many connections are the burst.
    """

    def __init__(
        self,
        *,
        max_open: int = MAX_OPEN,
        per_second: float = PER_SECOND,
        exempt_loopback: bool = True,
        max_remembered: int = DEFAULT_CAPACITY,
    ) -> None:
        self.max_open = max_open
        self.per_second = per_second
        self._exempt_loopback = exempt_loopback
        self._open: Counter[str] = Counter()
        self._rate = Rate(burst=max_open, per_second=per_second)
        self._rates = Allowances(max_remembered)

    @property
    def remembered(self) -> tuple[int, int]:
        """Addresses with WebSockets, and those whose rate is known."""
        return len(self._open), len(self._rates)

    def take_connection(self, address: str, now: float) -> bool:
        """Count a new connection, of whatever kind; tell whether it may be served."""
        return self._is_exempt(address) or self._rates.take(attempts_key(address), self._rate, now).allowed

    def open(self, address: str) -> bool:
        """Count an open WebSocket, if there may be one more; then it is to be closed once."""
        if self._is_exempt(address):
            return True
        group = attempts_key(address)
        if self._open[group] >= self.max_open:
            return False
        self._open[group] += 1
        return True

    def close(self, address: str) -> None:
        """Count one less."""
        if self._is_exempt(address):
            return
        group = attempts_key(address)
        self._open[group] -= 1
        if not self._open[group]:
            del self._open[group]

    def _is_exempt(self, address: str) -> bool:
        return self._exempt_loopback and is_loopback(address)
