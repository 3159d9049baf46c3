"""A stream the relay sends to one peer in one section, and what it carries at present."""

import secrets

from media.operations import Operation
from media.tables import NONE
from relay.mirror import CLOCK_RATES_HZ
from relay.source import Kind, Source
from relay.worker import Row, Worker


class Subscription:
    """An outbound stream. It keeps its SSRCs and names for life; its source may change or be absent.

    `cname`, `stream_id` and `track_id` are what the answer says: those of the first source, or of the parked section.
    """

    def __init__(
        self,
        *,
        worker: Worker,
        peer: Row,
        peer_id: str,
        mid: str,
        kind: Kind,
        repaired: bool,
        source: Source | None,
    ) -> None:
        self._worker = worker
        self._row = worker.take_row(Operation.CLOSE_OUTBOUND)
        # The row stands in the low bits, so that feedback about an SSRC finds its row without a search.
        prefixes = secrets.SystemRandom().sample(range(1, 1 << 16), 2)
        self.ssrc, rtx_ssrc = ((prefix << 16) | self._row.index for prefix in prefixes)
        self.rtx_ssrc = rtx_ssrc if repaired else 0
        self.cname = source.stream_id if source is not None else peer_id
        self.stream_id = source.stream_id if source is not None else f"parked-{mid}"
        self.track_id = source.id if source is not None else f"parked-{mid}"
        self._source: Source | None = None
        # RFC 3550 5.1 wants a random start; below 2**15 no receiver mistakes the first wrap (RFC 3711 3.3.1).
        first_sequence = secrets.randbits(15)
        values = (peer.index, self.ssrc, self.rtx_ssrc, first_sequence, CLOCK_RATES_HZ[kind], NONE, NONE, 0)
        worker.post(
            Operation.OPEN_OUTBOUND, self._row.index, values, self.cname.encode(), self._row.generation
        )

    @property
    def source(self) -> Source | None:
        """The track or slot it carries now; None while it is parked, also because that has ended."""
        return None if self._source is None or self._source.closed else self._source

    def set_source(self, source: Source | None) -> None:
        """Carry something else, or nothing. The subscriber sees one continuous stream.

        Raises: as `Source.require_attachable`; the former source stays.
        """
        before = self.source
        if before is source and source is not None:
            return
        if source is not None:
            source.require_attachable(self._worker)
        if before is not None:
            before.detach_outbound(self._worker, self._row)
        self._source = None
        if source is not None:
            source.attach_outbound(self._worker, self._row)
            self._source = source

    def close(self) -> None:
        """End it; call once."""
        self.set_source(None)
        self._worker.retire_row(Operation.CLOSE_OUTBOUND, self._row)
