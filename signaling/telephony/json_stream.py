"""What the streams of Twilio and Exotel have in common: an `event` in JSON each way, told apart by the spelling of their keys."""

from abc import ABC, abstractmethod
from json import dumps
from typing import ClassVar

from signaling.telephony import fields
from signaling.telephony.fields import Fields, MessageNumbers
from signaling.telephony.phone import Marked, PhoneEvent, PhoneFaultError, Pressed, Started, Stopped


class JsonStream(ABC):
    """One stream: a ``PhoneDialect`` but for its audio."""

    name: str
    number_key: ClassVar[str]
    stream_key: ClassVar[str]
    #: What it may say after ``start``; for who reads that it said something else.
    events: ClassVar[str] = "media, dtmf, mark or stop"

    def __init__(self) -> None:
        self._numbers = MessageNumbers(self.number_key)
        self._stream_id: str | None = None

    @property
    def gaps(self) -> int:
        """See ``PhoneDialect``."""
        return self._numbers.gaps

    def receive(self, text_untrusted: str) -> PhoneEvent | None:
        """See ``PhoneDialect``."""
        message = fields.read_object(text_untrusted)
        event = fields.text(message, "event")
        if event == "connected":
            return None
        self._numbers.count(message)
        if event == "start":
            if self._stream_id is not None:
                raise PhoneFaultError("`start` came twice")
            started = self._started(message)
            self._stream_id = started.call.stream_id
            return started
        if self._stream_id is None:
            raise PhoneFaultError(f"`{event[:20]}` came before `start`")
        if event == "media":
            media = fields.inner(message, "media")
            return self._spoken(media) if fields.is_inbound(media) else None
        if event == "dtmf":
            return Pressed(fields.digit(fields.inner(message, "dtmf")))
        if event == "mark":
            return Marked(fields.text(fields.inner(message, "mark"), "name"))
        if event == "stop":
            return Stopped(self._why_stopped(message) or "the call ended")
        return self._other(event)

    def mark(self, name: str) -> str:
        """See ``PhoneDialect``."""
        return self._message("mark", mark={"name": name})

    def clear(self) -> str:
        """See ``PhoneDialect``."""
        return self._message("clear")

    def _message(self, event: str, **more: object) -> str:
        assert self._stream_id is not None  # nothing is said before `start`
        return dumps({"event": event, self.stream_key: self._stream_id, **more})

    @abstractmethod
    def _started(self, message: Fields) -> Started:
        """Read ``start``.

        Raises: CallRefusedError, PhoneFaultError.
        """

    @abstractmethod
    def _spoken(self, media: Fields) -> PhoneEvent:
        """Read what the caller said.

        Raises: PhoneFaultError.
        """

    def _why_stopped(self, message: Fields) -> str:  # noqa: ARG002 - for dialects that tell
        return ""

    def _other(self, event: str) -> PhoneEvent:  # noqa: ARG002 - for dialects that say more
        raise PhoneFaultError(f"there is no such `event`: expected connected, start, {self.events}")
