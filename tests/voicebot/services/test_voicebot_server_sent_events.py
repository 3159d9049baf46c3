"""Server-sent events, cut anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebot.services.errors import ServiceFormatError
from voicebot.services.server_sent_events import MAX_EVENT_LENGTH, EventStreamParser, ServerSentEvent

STREAM = (
    "\ufeff: a comment\r\n\r\ndata: one\n\nevent: add\r\ndata:two\r\ndata:  lines\r\n\r\n"
    "id: 7\rdata\r\rretry: 10\n\ndata: grün €\n\ndata: not finished"
).encode()
EVENTS = [
    ServerSentEvent("one"),
    ServerSentEvent("two\n lines", "add"),
    ServerSentEvent(""),
    ServerSentEvent("grün €"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_come_out_however_the_bytes_are_cut(cuts: list[int]) -> None:
    parser = EventStreamParser("x")
    edges = [0, *sorted(cuts), len(STREAM)]
    events = [event for start, end in pairwise(edges) for event in parser.feed(STREAM[start:end])]
    assert events == EVENTS


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_are_taken(pieces: list[bytes]) -> None:
    parser = EventStreamParser("x")
    for piece in pieces:
        parser.feed(piece)


def test_line_and_event_without_an_end_are_refused() -> None:
    for piece in (b"x" * 60_000, b"data: " + b"x" * 60_000 + b"\n"):
        parser = EventStreamParser("x")
        for _ in range(MAX_EVENT_LENGTH // len(piece)):
            parser.feed(piece)
        with pytest.raises(ServiceFormatError, match="more than"):
            parser.feed(piece)
