"""Messages between bot providers and the service at ``/ws/bots`` (see ``signaling/BOTS.md``).

They travel in the same frames as all others; errors are the ``error`` of the client protocol, with codes of its own.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from signaling.messages.client import ClientMessage, Ping
from signaling.messages.codes import CloseCode, ErrorCode
from signaling.messages.model import Identifier, Line, Name, Sequence
from signaling.messages.server import Closing, ErrorReply, Ok, Pong, ServerMessage

MAX_CAPABILITIES = 32
#: Bots of one provider; whoever has more runs several.
MAX_PROVIDER_CAPACITY = 1000
#: Far more than anybody reads, far less than a frame.
MAX_ANSWER_LENGTH = 8000

Word = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9_.-]*$")]
#: From 0 (idle) to 1 (takes no more).
Load = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1)]


class Register(ClientMessage):
    """Say what one offers, and be given bots from now on; the first message. Reply: ``registered``.

    ``resume_token`` and ``running``: be the provider again that one was before the connection was lost, with the bots
    one still has.
    """

    type: ClassVar[str] = "register"
    name: Name
    description: Line = ""
    capabilities: Annotated[tuple[Word, ...], Field(max_length=MAX_CAPABILITIES)] = ()
    capacity: Annotated[StrictInt, Field(ge=1, le=MAX_PROVIDER_CAPACITY)] = 1
    config_schema: dict[str, Any] = Field(default_factory=dict)
    resume_token: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    running: Annotated[tuple[Identifier, ...], Field(max_length=MAX_PROVIDER_CAPACITY)] = ()


class Heartbeat(ClientMessage):
    """A sign of life, and how busy one is. Reply: ``ok``."""

    type: ClassVar[str] = "heartbeat"
    load: Load = 0.0


class AcceptBot(ClientMessage):
    """Take an offer: the bot is about to join. Reply: ``ok``."""

    type: ClassVar[str] = "accept"
    bot_id: Identifier


class RefuseBot(ClientMessage):
    """Do not take an offer. Reply: ``ok``."""

    type: ClassVar[str] = "refuse"
    bot_id: Identifier
    reason: Line


class BotStopped(ClientMessage):
    """A bot is over, by itself or as told; ``failed``: not as it should. Reply: ``ok``."""

    type: ClassVar[str] = "stopped"
    bot_id: Identifier
    reason: Line
    failed: StrictBool = False


class AnswerQuestion(ClientMessage):
    """What the bot says to a question. Reply: ``ok``."""

    type: ClassVar[str] = "answer"
    question_id: Sequence
    text: Annotated[str, Field(max_length=MAX_ANSWER_LENGTH)]


class FailQuestion(ClientMessage):
    """The bot does not answer a question. Reply: ``ok``."""

    type: ClassVar[str] = "no_answer"
    question_id: Sequence
    reason: Line


class DrainProvider(ClientMessage):
    """Get no new bots from now on; those one has go on. Reply: ``ok``."""

    type: ClassVar[str] = "drain"
    reason: Line = ""


class Registered(ServerMessage):
    """Reply to ``register``."""

    type: ClassVar[str] = "registered"
    provider_id: str
    resume_token: str
    #: Whether this is the provider of the token.
    resumed: StrictBool
    heartbeat_seconds: float
    #: How long one may be away and come back.
    away_seconds: float


class BotOffer(ServerMessage):
    """A bot is wanted: accept or refuse within ``accept_seconds``; then it joins, within ``join_seconds``."""

    type: ClassVar[str] = "offer"
    bot_id: str
    lobby: str
    lobby_id: str
    company_id: str
    #: What the bot is to be called in the lobby.
    name: str
    config: dict[str, Any]
    #: For the ``bot_ticket`` of its ``join``; good once.
    ticket: str
    accept_seconds: float
    join_seconds: float


class BotStop(ServerMessage):
    """A bot is to leave and end, or not to begin; one may know nothing of it."""

    type: ClassVar[str] = "stop"
    bot_id: str
    reason: str


class BotQuestion(ServerMessage):
    """Somebody in the lobby asks the bot something; expected is ``answer`` or ``no_answer``."""

    type: ClassVar[str] = "question"
    question_id: StrictInt
    bot_id: str
    text: str
    participant_id: str
    answer_seconds: float


class ProviderDraining(ServerMessage):
    """One gets no new bots any more; those one has go on."""

    type: ClassVar[str] = "draining"
    reason: str


PROVIDER_MESSAGES: dict[str, type[ClientMessage]] = {
    model.type: model
    for model in (
        Register,
        Heartbeat,
        AcceptBot,
        RefuseBot,
        BotStopped,
        AnswerQuestion,
        FailQuestion,
        DrainProvider,
        Ping,
    )
}
TO_PROVIDER_MESSAGES: dict[str, type[ServerMessage]] = {
    model.type: model
    for model in (
        Registered,
        Ok,
        Pong,
        ErrorReply,
        BotOffer,
        BotStop,
        BotQuestion,
        ProviderDraining,
        Closing,
    )
}


class ProviderErrorCode(StrEnum):
    """Codes that only this path has."""

    NOT_REGISTERED = "not_registered"
    INVALID_SCHEMA = "invalid_schema"
    STALE_OFFER = "stale_offer"
    UNKNOWN_QUESTION = "unknown_question"


#: code -> what it means and what the provider should do.
PROVIDER_ERROR_CODES: dict[ErrorCode | ProviderErrorCode, str] = {
    ErrorCode.INVALID_JSON: "The frame is not a JSON object. Send one UTF-8 JSON object a text frame.",
    ErrorCode.INVALID_MESSAGE: "A field is missing or has the wrong type or length; `field` names it.",
    ErrorCode.UNKNOWN_TYPE: "No message has this `type`. The connection stays open.",
    ErrorCode.UNSUPPORTED: "Binary frames are not used here.",
    ErrorCode.TOO_LARGE: "The frame exceeds 65,536 bytes; the connection closes with 1009.",
    ErrorCode.RATE_LIMITED: "Too many messages; the one refused had no effect. Persisting closes with 1008.",
    ProviderErrorCode.NOT_REGISTERED: "`register` comes first, and only once.",
    ProviderErrorCode.INVALID_SCHEMA: "The config schema uses what is not checked here; `field` is the place in it.",
    ErrorCode.AT_CAPACITY: "There are as many providers as there may be. Try later.",
    ProviderErrorCode.STALE_OFFER: (
        "The bot is not, or not any more, yours to speak of: do not start it, or stop it."
    ),
    ProviderErrorCode.UNKNOWN_QUESTION: "Nobody waits for this answer any more, or the question was not yours.",
    ErrorCode.INTERNAL: "The server failed; its log has the details under the connection's id.",
}

#: code -> when the server closes with it and whether reconnecting makes sense.
PROVIDER_CLOSE_CODES: dict[CloseCode, str] = {
    CloseCode.NORMAL: "Answer to the provider's own close: it is gone at once, and its bots go to others.",
    CloseCode.GOING_AWAY: "The server is restarting or stopping. Reconnect with back-off and resume.",
    CloseCode.POLICY: "It did not register in time, or kept exceeding the rate limit. Do not reconnect at once.",
    CloseCode.TOO_LARGE: "A frame exceeded 65,536 bytes. Reconnect and resume; send less.",
    CloseCode.INTERNAL: "The server failed on this connection. Reconnect and resume.",
    CloseCode.TRY_LATER: "The server is full, or the provider read too slowly. Reconnect with back-off and resume.",
    CloseCode.KEEPALIVE_TIMEOUT: "No pong, or no heartbeat, in time. Reconnect and register.",
    CloseCode.SESSION_RESUMED_ELSEWHERE: "Another connection came back as this provider. Do not reconnect by yourself.",
    CloseCode.SESSION_ENDED: "The company was disabled, or the provider removed. Do not reconnect by yourself.",
}
