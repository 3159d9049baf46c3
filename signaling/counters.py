"""Counters of the service, written by its parts, read by the metrics. They only grow, but for the gauges."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """See the module. Plain numbers of the Trio thread."""

    #: Gauges: connections whose first request has not arrived, in HTTP, upgraded to WebSocket.
    pending: int = 0
    web: int = 0
    websockets: int = 0
    accepted: int = 0
    #: reason -> connections turned away or cut before they were served.
    refused: Counter[str] = field(default_factory=Counter)
    #: name of the close code, or ``client`` when the client closed -> WebSockets.
    websockets_closed: Counter[str] = field(default_factory=Counter)
    #: type -> requests understood.
    messages: Counter[str] = field(default_factory=Counter)
    #: code -> errors replied.
    errors: Counter[str] = field(default_factory=Counter)
    #: HTTP status -> answers to requests ("0": the client was gone before).
    answers: Counter[str] = field(default_factory=Counter)
    #: task -> faults of ours that the supervisor caught.
    failures: Counter[str] = field(default_factory=Counter)
