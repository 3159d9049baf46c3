"""How often one session may do what costs others something: a table, and a token bucket for each entry that is used.

Kept with the session and not with its connection, so that reconnecting refills nothing.
"""

from typing import Final, NamedTuple

from signaling.rate_limit import TokenBucket


class Limit(NamedTuple):
    """``burst`` at once and ``per_second`` in the long run; ``what`` is what an error says there was too much of."""

    burst: int
    per_second: float
    what: str


#: type of the request -> its limit. Faster than anybody types, reads or makes up their mind.
SESSION_LIMITS: Final[dict[str, Limit]] = {
    "chat": Limit(10, 2.0, "lines of chat"),
    "chat_history": Limit(10, 2.0, "requests for older chat"),
    "join": Limit(20, 0.5, "joins"),
    "set_name": Limit(10, 0.5, "changes of name"),
    "audio_listen": Limit(32, 2.0, "requests to listen"),
    # Sentence by sentence, as a bot's text turns into speech.
    "play_open": Limit(64, 10.0, "playouts"),
    "play_clear": Limit(32, 10.0, "interruptions"),
    "play_gain": Limit(32, 10.0, "changes of the gain"),
    "press": Limit(32, 10.0, "keys pressed"),
}


class SessionLimits:
    """See the module. No clock inside."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, request_type: str, now: float) -> bool:
        """Tell whether a request of this type may be made now; those not in the table always may."""
        limit = SESSION_LIMITS.get(request_type)
        if limit is None:
            return True
        bucket = self._buckets.get(request_type)
        if bucket is None:
            bucket = TokenBucket(burst=limit.burst, per_second=limit.per_second, now=now)
            self._buckets[request_type] = bucket
        return bucket.take(now)
