"""What the service needs of a provider: to send it messages. A WebSocket is one, and so is a part of this program."""

from typing import Protocol

from signaling.messages.server import ServerMessage


class ProviderLink(Protocol):
    """See the module; the messages are those of ``signaling/messages/bots.py``."""

    def send(self, message: ServerMessage) -> None:
        """Queue a message for the provider; never waits, never fails."""

    def close(self, code: int, reason: str) -> None:
        """End the connection. Only the first call counts."""
