"""A provider that is a part of this program: the same messages, without a WebSocket between."""

from collections.abc import Callable

from signaling.bots.provider_connection import ProviderConnection
from signaling.bots.service import BotService
from signaling.messages import ClientMessage, ErrorReply, ServerMessage
from signaling.request_error import RequestError


class InProcessProvider:
    """See the module. ``receive`` takes what the service has to say, and must neither wait nor raise.

    Begin with ``tell(Register(...))``; end with ``leave``, and its bots are given to others.
    """

    def __init__(
        self, bots: BotService, receive: Callable[[ServerMessage], None], *, company_id: str = ""
    ) -> None:
        #: Whether the service has ended it.
        self.closed = False
        self._receive = receive
        self._connection = ProviderConnection(bots, self, company_id, has_heartbeat=False)

    def tell(self, message: ClientMessage) -> ServerMessage:
        """Say something to the service; return its reply, which may be an error."""
        try:
            return self._connection.handle(message)
        except RequestError as error:
            return ErrorReply(code=error.code, error=error.error, field=error.field)

    def leave(self, reason: str = "it said goodbye") -> None:
        """Be a provider no longer."""
        self._connection.lost(reason, goodbye=True)

    def send(self, message: ServerMessage) -> None:
        """See ``link.ProviderLink``."""
        self._receive(message)

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - there is nothing to close
        """See ``link.ProviderLink``."""
        self.closed = True
