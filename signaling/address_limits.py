"""What one client address may have: so many open WebSockets, and so many new connections a second.

Behind one IPv4 address there may be a whole school, so the limits are generous: they are to keep one address from
taking everything, not to be fair. IPv6 is counted by networks of 64 bits. The machine itself is exempt, unless told
otherwise: behind it may be a proxy nobody told us of, and there everybody has the same address.

Bounded memory: an address is known while it has a WebSocket open, and ``MAX_REMEMBERED`` are for the rate. When there are
more, the one that was heard of longest ago is forgotten, which is as if it had been quiet.
"""

from collections import Counter, OrderedDict

from signaling.client_address import address_group, is_loopback
from signaling.rate_limit import TokenBucket

MAX_OPEN = 500
PER_SECOND = 50.0
MAX_REMEMBERED = 10_000


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
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self.max_open = max_open
        self.per_second = per_second
        self._exempt_loopback = exempt_loopback
        self._max_remembered = max_remembered
        self._open: Counter[str] = Counter()
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Addresses that something is known of."""
        return len(self._open.keys() | self._buckets.keys())

    def take_connection(self, address: str, now: float) -> bool:
        """Count a new connection, of whatever kind; tell whether it may be served."""
        if self._is_exempt(address):
            return True
        group = address_group(address)
        bucket = self._buckets.get(group)
        if bucket is None:
            bucket = self._buckets[group] = TokenBucket(
                burst=self.max_open, per_second=self.per_second, now=now
            )
            if len(self._buckets) > self._max_remembered:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(group)
        return bucket.take(now)

    def open(self, address: str) -> bool:
        """Count an open WebSocket, if there may be one more; then it is to be closed once."""
        if self._is_exempt(address):
            return True
        group = address_group(address)
        if self._open[group] >= self.max_open:
            return False
        self._open[group] += 1
        return True

    def close(self, address: str) -> None:
        """Count one less."""
        if self._is_exempt(address):
            return
        group = address_group(address)
        self._open[group] -= 1
        if not self._open[group]:
            del self._open[group]

    def _is_exempt(self, address: str) -> bool:
        return self._exempt_loopback and is_loopback(address)
