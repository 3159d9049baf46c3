"""What a subscription may carry: a track, or an audio slot."""

from collections.abc import Mapping
from typing import Literal, Protocol

from media.operations import Operation
from relay.worker import Row, Worker

Kind = Literal["audio", "video"]


class Feed(Protocol):
    """What has rows on workers so that sources can feed streams there."""

    def rows_to_attach(self, worker: Worker) -> Mapping[Worker, Mapping[Operation, int]]:
        """Rows that attaching a first stream on `worker` takes; none when there is one already."""


class Source(Protocol):
    """Feeds outbound streams on any worker."""

    @property
    def id(self) -> str:
        """Its name in answers and messages."""

    @property
    def kind(self) -> Kind:
        """Of media."""

    @property
    def stream_id(self) -> str:
        """Of the MediaStream it is part of, and the CNAME of what is in step with it; CNAME_BYTES long."""

    @property
    def closed(self) -> bool:
        """Whether it has ended. It feeds nobody then."""

    @property
    def feed(self) -> "Feed":
        """What attaching to it opens on a worker; once for all sources that have the same."""

    def require_attachable(self, worker: Worker) -> None:
        """Check that `attach_outbound` will succeed.

        Raises: LocalProtocolError when the source has ended, CapacityError when there is no room.
        """

    def attach_outbound(self, worker: Worker, outbound: Row) -> None:
        """Feed an outbound stream on `worker` from now on. Raises as `require_attachable`."""

    def detach_outbound(self, worker: Worker, outbound: Row) -> None:
        """Undo `attach_outbound`: the stream is parked."""
