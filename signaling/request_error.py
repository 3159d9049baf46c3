"""A request that cannot be granted: what its ``error`` reply says."""


class RequestError(Exception):
    """See the module. ``code`` is one of ``ErrorCode``, or of the relay's negotiation."""

    def __init__(self, code: str, error: str, *, field: str | None = None) -> None:
        super().__init__(error)
        self.code = code
        self.error = error
        self.field = field
