"""What can go wrong with a benchmark, told to the person who runs it."""


class BenchError(Exception):
    """The run cannot go on; the text says why and what to do."""


class PeerLostError(BenchError):
    """The relay ended a peer that had been connected: what is measured from then on would be nothing."""
