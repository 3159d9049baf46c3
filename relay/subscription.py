"""A stream the relay sends to one peer in one section, and what it carries at present."""

import secrets
from typing import Final

from media.operations import Operation
from media.tables import NONE
from relay.mirror import CLOCK_RATES_HZ
from relay.source import Kind, Source
from relay.worker import Row, Worker

PREFIXES: Final = 0xFFFF


class SsrcPrefixes:
    """High halves of the SSRCs one peer is sent, from a random one on, and none of them twice.

    A stream that took the SSRC of an earlier one would begin its numbering anew under the same keys, and an AES-GCM nonce
    that is used for two packets gives the key away (RFC 7714 section 10).
    """

    def __init__(self) -> None:
        self._first = secrets.randbelow(PREFIXES)
        self._taken = 0

    @property
    def left(self) -> int:
        """How many may still be taken."""
        return PREFIXES - self._taken

    def take(self) -> int:
        """Return one, from 1 to 65535. There must be one left."""
        assert self._taken < PREFIXES
        self._taken += 1
        return (self._first + self._taken) % PREFIXES + 1


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
        prefixes: "SsrcPrefixes",
    ) -> None:
        self._worker = worker
        self._row = worker.take_row(Operation.CLOSE_OUTBOUND)
        # The row stands in the low bits, so that feedback about an SSRC finds its row without a search.
        self.ssrc = prefixes.take() << 16 | self._row.index
        self.rtx_ssrc = prefixes.take() << 16 | self._row.index if repaired else 0
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
