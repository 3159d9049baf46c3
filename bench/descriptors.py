"""Open files: a peer needs two of them, and the usual soft limit of 1,024 is soon reached."""

import resource
from typing import Final

from bench.errors import BenchError

DESCRIPTORS_PER_PEER: Final = 2  # the media socket and the WebSocket
DESCRIPTORS_BESIDE: Final = 64


def allow_descriptors(peers: int, per_peer: int = DESCRIPTORS_PER_PEER) -> None:
    """Raise the soft limit of open files as far as the peers need.

    Raises: BenchError when the hard limit forbids it.
    """
    needed = peers * per_peer + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise BenchError(f"{needed} open files are needed, {hard} are allowed: raise `ulimit -n`")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
