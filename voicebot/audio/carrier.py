"""What hearing and speaking need of whatever carries them: a connection, or a test's own."""

from typing import Protocol

from signaling.messages import ClientMessage, ServerMessage
from voicebot.replies import OnReply


class AudioCarrier(Protocol):
    """Requests with their replies, and binary frames, in the order in which they were given."""

    @property
    def ended(self) -> bool:
        """Whether the connection is lost for good."""

    async def request(self, message: ClientMessage, *, on_reply: OnReply | None = None) -> ServerMessage:
        """Send a request and wait for its reply.

        Raises: ProtocolError, RequestTimeoutError, ConnectionLostError.
        """

    async def send_audio(self, frame: bytes) -> None:
        """Send a binary frame, on the next link if there is none right now.

        Raises: ConnectionLostError when the link was lost meanwhile.
        """
