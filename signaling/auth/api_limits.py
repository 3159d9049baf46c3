"""How often the HTTP interface may be asked: so many requests a minute for a company, or for an address without one.

A token bucket as large as a minute's requests; its figures are what the headers ``X-RateLimit-*`` say.
"""

import math
from dataclasses import dataclass

from signaling.auth.allowances import DEFAULT_CAPACITY, Allowance, Allowances, Rate
from signaling.auth.client_address import attempts_key
from signaling.auth.companies import Company

REQUESTS_PER_MINUTE = 300


@dataclass(frozen=True, slots=True)
class ApiDecision:
    """Whether a request is served, and what its answer says of the limit either way."""

    allowed: bool
    #: Requests a minute; those left now.
    limit: int
    remaining: int
    #: Whole seconds until all are available again, and until one is (0 when this one was).
    reset_seconds: int
    retry_after_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """``X-RateLimit-Reset`` is in seconds from now; ``Retry-After`` is there only when the request is refused."""
        shown = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_seconds),
        }
        if not self.allowed:
            shown["Retry-After"] = str(self.retry_after_seconds)
        return shown


class ApiLimits:
    """See the module. ``now`` is in seconds on any clock that does not run backwards."""

    def __init__(self, *, per_minute: int = REQUESTS_PER_MINUTE, capacity: int = DEFAULT_CAPACITY) -> None:
        #: Requests that were not served.
        self.refused = 0
        #: Of an address; companies have limits of their own.
        self.per_minute = per_minute
        # Apart, so that a flood of addresses makes no company's bucket be forgotten.
        self._of_companies = Allowances(capacity)
        self._of_addresses = Allowances(capacity)

    def check(self, *, address: str, company: Company | None, now: float) -> ApiDecision:
        """Count a request; ``company`` is the one whose API key came with it."""
        if company is None:
            rate = _a_minute(self.per_minute)
            allowance = self._of_addresses.take(attempts_key(address), rate, now)
        else:
            rate = _a_minute(company.limits.requests_per_minute)
            allowance = self._of_companies.take(company.company_id, rate, now)
        self.refused += not allowance.allowed
        return _decision(allowance)


def _a_minute(requests: int) -> Rate:
    return Rate(burst=requests, per_second=requests / 60)


def _decision(allowance: Allowance) -> ApiDecision:
    return ApiDecision(
        allowed=allowance.allowed,
        limit=allowance.limit,
        remaining=allowance.remaining,
        reset_seconds=math.ceil(allowance.full_in_seconds),
        retry_after_seconds=max(1, math.ceil(allowance.retry_after_seconds)) if not allowance.allowed else 0,
    )
