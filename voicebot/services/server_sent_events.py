"""Server-sent events, as the WHATWG HTML standard (section 9.2.6) has them: bytes in, events out. No I/O.

``id`` and ``retry`` are for reconnecting browsers; here they are passed over.
"""

import codecs
from dataclasses import dataclass

from voicebot.services.errors import ServiceFormatError

#: A line or an event beyond this is an attack, or no event stream.
MAX_EVENT_LENGTH = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; ``name`` is ``message`` unless the server says otherwise."""

    data: str
    name: str = "message"


class EventStreamParser:
    """See the module."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._text = ""
        self._data: list[str] = []
        self._length = 0
        self._name = ""

    def feed(self, received: bytes) -> list[ServerSentEvent]:
        """Take bytes, cut anywhere; returns the events that they complete.

        Raises: ServiceFormatError for one that is too long.
        """
        self._text += self._decoder.decode(received)
        events = []
        # A CR at the end may be half of a CRLF.
        held = self._text.endswith("\r")
        text = self._text[:-1] if held else self._text
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._text = rest + ("\r" if held else "")
        if len(self._text) > MAX_EVENT_LENGTH:
            raise self._too_long()
        for line in lines:
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            event = ServerSentEvent("\n".join(self._data), self._name or "message") if self._data else None
            self._data, self._length, self._name = [], 0, ""
            return event
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._length += len(value)
            if self._length > MAX_EVENT_LENGTH:
                raise self._too_long()
            self._data.append(value)
        elif field == "event":
            self._name = value
        return None

    def _too_long(self) -> ServiceFormatError:
        return ServiceFormatError(
            self._service, f"sent an event of more than {MAX_EVENT_LENGTH:,} characters"
        )
