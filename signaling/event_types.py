"""Which kinds of events there are: the classes derived from ``Event``, in whatever module they are defined."""

from collections.abc import Iterator

from signaling.events import Event


def event_types() -> frozenset[str]:
    """Return the names of all kinds of events; classes that only serve as a base are not among them."""
    bases: set[str] = set()
    kinds: set[str] = set()
    for kind in _derived(Event):
        (bases if kind.__subclasses__() else kinds).add(kind.__name__)
    # A dataclass with slots is made twice; the first one, which nobody sees, has nothing derived from it.
    return frozenset(kinds - bases)


def _derived(base: type[Event]) -> Iterator[type[Event]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _derived(kind)
