"""The controlling side of ICE towards one lite server, as the load generator needs it (RFC 8445, RFC 7675), sans-IO.

One candidate pair: where to send is known from the server's description. The first check nominates the pair
(USE-CANDIDATE), is repeated until it is answered, and then a check every 5 s keeps the server's consent.

    NEW --start--> CHECKING --answered--> CONNECTED
                      |                       |
                      +-------- failed -------+--> FAILED

Not here: gathering, several pairs, a role other than controlling, answering the checks of a full agent.
"""

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from relay.errors import LocalProtocolError
from relay.ice import IceCredentials
from relay.stun import (
    TRANSACTION_ID_BYTES,
    Attribute,
    MessageType,
    StunMessage,
    encode_stun,
    parse_stun_untrusted,
)

FIRST_TIMEOUT_NS: Final = 500_000_000  # RFC 8489 section 6.2.1, doubled each time
MAX_TRANSMISSIONS: Final = 7
CONSENT_INTERVAL_NS: Final = 5_000_000_000  # RFC 7675 section 5.1
CONSENT_TIMEOUT_NS: Final = 30_000_000_000
_PRIORITY: Final = (110 << 24 | 65535 << 8 | 255).to_bytes(4)  # peer-reflexive, RFC 8445 section 5.1.2


class IceClientState(Enum):
    """See the module docstring."""

    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    FAILED = "failed"


class IceClientAction(Enum):
    """What changes the state."""

    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"


TRANSITIONS: Final[dict[IceClientState, dict[IceClientAction, IceClientState]]] = {
    IceClientState.NEW: {IceClientAction.START: IceClientState.CHECKING},
    IceClientState.CHECKING: {
        IceClientAction.SUCCEED: IceClientState.CONNECTED,
        IceClientAction.FAIL: IceClientState.FAILED,
    },
    IceClientState.CONNECTED: {IceClientAction.FAIL: IceClientState.FAILED},
    IceClientState.FAILED: {},
}


class ResponseVerdict(IntEnum):
    """What became of a datagram."""

    ACCEPTED = 0
    MALFORMED = 1
    NOT_A_RESPONSE = 2
    UNKNOWN_TRANSACTION = 3
    BAD_INTEGRITY = 4
    REFUSED = 5  # an error response; unsigned ones are remembered, not believed


@dataclass(frozen=True, slots=True)
class IceConnected:
    """The server answered: it may be sent to, and it sees us as `mapped_address`."""

    mapped_address: tuple[str, int]


@dataclass(frozen=True, slots=True)
class IceFailed:
    """No answer in time, or a signed refusal."""

    reason: str


IceClientEvent = IceConnected | IceFailed


def random_transaction_id() -> bytes:
    """Return a fresh STUN transaction id."""
    return secrets.token_bytes(TRANSACTION_ID_BYTES)


class IceClient:
    """One controlling agent. After each call with `now_ns`, drain `datagrams_to_send`, `next_event`, set the timer.

    `tie_breaker` is sent in ICE-CONTROLLING; `new_transaction_id` gives 12 random bytes.
    """

    def __init__(
        self,
        local: IceCredentials,
        remote: IceCredentials,
        *,
        tie_breaker: int,
        new_transaction_id: Callable[[], bytes] = random_transaction_id,
    ) -> None:
        self._username = f"{remote.ufrag}:{local.ufrag}".encode()
        self._password = remote.password.encode()
        self._tie_breaker = tie_breaker.to_bytes(8)
        self._new_transaction_id = new_transaction_id
        self._state = IceClientState.NEW
        self._outbox: list[bytes] = []
        self._events: deque[IceClientEvent] = deque()
        self._request = b""
        self._transaction_id = b""
        self._transmissions = 0
        self._timeout_at_ns: int | None = None
        self._last_answer_ns = 0
        self._last_error = ""

    @property
    def state(self) -> IceClientState:
        """The present state."""
        return self._state

    def start(self, now_ns: int) -> None:
        """Send the first check. Raises LocalProtocolError when not NEW."""
        self._change(IceClientAction.START)
        self._new_request()
        self._transmit(now_ns)

    def receive_datagram(self, data: bytes, now_ns: int) -> ResponseVerdict:
        """Handle one datagram from the server, any bytes."""
        message = parse_stun_untrusted(data)
        if message is None:
            return ResponseVerdict.MALFORMED
        if message.message_type not in {MessageType.BINDING_SUCCESS, MessageType.BINDING_ERROR}:
            return ResponseVerdict.NOT_A_RESPONSE
        if message.transaction_id != self._transaction_id:
            return ResponseVerdict.UNKNOWN_TRANSACTION
        if message.message_type == MessageType.BINDING_ERROR:
            return self._receive_error(message)
        mapped_address = message.attributes.get("XOR-MAPPED-ADDRESS")
        if mapped_address is None or not message.is_signed_with(self._password):
            return ResponseVerdict.BAD_INTEGRITY
        self._transaction_id = b""
        self._last_answer_ns = now_ns
        if self._state is IceClientState.CHECKING:
            self._change(IceClientAction.SUCCEED)
            self._events.append(IceConnected(mapped_address))
            self._timeout_at_ns = now_ns + CONSENT_INTERVAL_NS
        return ResponseVerdict.ACCEPTED

    def next_timeout_ns(self) -> int | None:
        """Return when `handle_timeout` is next due, or None."""
        return self._timeout_at_ns

    def handle_timeout(self, now_ns: int) -> None:
        """Repeat the check, or send the next one for consent; harmless when nothing is due."""
        if self._timeout_at_ns is None or now_ns < self._timeout_at_ns:
            return
        if self._state is IceClientState.CHECKING:
            if self._transmissions < MAX_TRANSMISSIONS:
                self._transmit(now_ns)
            else:
                self._fail(self._last_error or "the server did not answer")
        elif now_ns - self._last_answer_ns >= CONSENT_TIMEOUT_NS:
            self._fail(self._last_error or "the server stopped answering")
        else:
            self._new_request()
            self._outbox.append(self._request)
            self._timeout_at_ns = now_ns + CONSENT_INTERVAL_NS

    def datagrams_to_send(self) -> list[bytes]:
        """Return the datagrams not yet taken; all go to the server's address."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def next_event(self) -> IceClientEvent | None:
        """Return the oldest event not yet taken."""
        return self._events.popleft() if self._events else None

    def _new_request(self) -> None:
        self._transaction_id = self._new_transaction_id()
        attributes = [
            (Attribute.USERNAME, self._username),
            (Attribute.PRIORITY, _PRIORITY),
            (Attribute.ICE_CONTROLLING, self._tie_breaker),
            (Attribute.USE_CANDIDATE, b""),
        ]
        self._request = encode_stun(
            MessageType.BINDING_REQUEST, self._transaction_id, attributes, self._password
        )

    def _transmit(self, now_ns: int) -> None:
        self._outbox.append(self._request)
        self._timeout_at_ns = now_ns + (FIRST_TIMEOUT_NS << self._transmissions)
        self._transmissions += 1

    def _receive_error(self, message: StunMessage) -> ResponseVerdict:
        code, reason = message.attributes.get("ERROR-CODE", (0, "no error code"))
        self._last_error = f"the server refused the check: {code} {reason}"
        if self._state is IceClientState.CHECKING and message.is_signed_with(self._password):
            self._fail(self._last_error)
        return ResponseVerdict.REFUSED

    def _fail(self, reason: str) -> None:
        self._change(IceClientAction.FAIL)
        self._timeout_at_ns = None
        self._transaction_id = b""
        self._events.append(IceFailed(reason))

    def _change(self, action: IceClientAction) -> None:
        following = TRANSITIONS[self._state].get(action)
        if following is None:
            raise LocalProtocolError(f"cannot {action.value} an ICE client that is {self._state.value}")
        self._state = following
