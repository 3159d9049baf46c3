"""Error codes and close codes of the peer path: the tables a client may rely on.

Those that the client protocol has too (``signaling/messages/codes.py``) mean the same here. Errors of the relay's
negotiation (``relay.RemoteProtocolError.code``) pass through under their own names.
"""

from enum import IntEnum, StrEnum

from signaling.messages import CloseCode, ErrorCode


class PeerErrorCode(StrEnum):
    """Codes that only this path has."""

    UNKNOWN_PEER = "unknown_peer"
    NO_BOT = "no_bot"
    BOT_TIMEOUT = "bot_timeout"
    BOT_FAILED = "bot_failed"
    CLOSING = "closing"


class PeerCloseCode(IntEnum):
    """Close codes that only this path has."""

    WRONG_KEY = 4001
    PEER_ID = 4002
    COMPANY = 4003
    VIOLATION = 4004


#: code -> what it means and what the client should do.
PEER_ERROR_CODES: dict[ErrorCode | PeerErrorCode, str] = {
    ErrorCode.INVALID_JSON: "The frame is not a JSON object. Send one UTF-8 JSON object a text frame.",
    ErrorCode.INVALID_MESSAGE: "A field is missing or has the wrong type or length; `field` names it.",
    ErrorCode.UNKNOWN_TYPE: "No message has this `type`. The connection stays open.",
    ErrorCode.UNSUPPORTED: "Understood, but not done here: a binary frame, or a signal that the relay has no use for.",
    PeerErrorCode.UNKNOWN_PEER: "No peer of this company is connected under the id in `to_peer`. It may come back.",
    ErrorCode.INVALID_SDP: "The offer could not be parsed or breaks a rule of SDP; nothing changed.",
    ErrorCode.AT_CAPACITY: "The relay has no room for another peer or track. Who has media keeps it: try later.",
    PeerErrorCode.NO_BOT: "No bot in the lobby answers text: ask for one first.",
    PeerErrorCode.BOT_TIMEOUT: "The bot did not answer in time. Ask again.",
    PeerErrorCode.BOT_FAILED: "The bot refused, failed, or left before it answered; the text says which.",
    ErrorCode.RATE_LIMITED: "Too many messages; the one refused had no effect. Persisting closes with 1008.",
    ErrorCode.COMPANY_LIMIT: "The company has reached one of its limits; the text names it.",
    ErrorCode.LOBBY_FULL: "The lobby has as many participants as it may have. The connection closes with 4003.",
    ErrorCode.PASSWORD_REQUIRED: "The lobby has a password, which cannot be given here. The connection closes with 4003.",
    ErrorCode.LOBBY_PRIVATE: "The lobby takes join tokens only, which cannot be given here. The connection closes with 4003.",
    ErrorCode.NAME_PROTECTED: (
        "The peer id is a protected name, whose password cannot be given here. The connection closes with 4002."
    ),
    ErrorCode.TOO_LARGE: "The message exceeds the server's `max_message_bytes`; the connection closes with 1009.",
    ErrorCode.INTERNAL: "The server failed; its log has the details under the connection's id.",
    PeerErrorCode.CLOSING: "The last frame before the server closes, with the reason.",
}

#: code -> when the server closes with it and whether reconnecting makes sense.
PEER_CLOSE_CODES: dict[CloseCode | PeerCloseCode, str] = {
    CloseCode.NORMAL: "Answer to the client's own close.",
    CloseCode.GOING_AWAY: "The server is restarting or stopping. Reconnect with back-off.",
    CloseCode.POLICY: "The client kept exceeding a rate limit. Do not reconnect at once.",
    CloseCode.TOO_LARGE: "A message exceeded `max_message_bytes`. Reconnect; send less.",
    CloseCode.INTERNAL: "The server failed on this connection. Reconnect.",
    CloseCode.TRY_LATER: "The server is full, or the client read too slowly. Reconnect with back-off.",
    PeerCloseCode.WRONG_KEY: (
        "The API key is none of this server's, is revoked, or its company is disabled. Do not reconnect with it."
    ),
    PeerCloseCode.PEER_ID: (
        "The peer id or the lobby's name in the address cannot be used, or a newer connection of this company has taken "
        "the same peer id. Do not reconnect by yourself."
    ),
    PeerCloseCode.COMPANY: (
        "The company was disabled or closed, is at one of its limits, or may not enter this lobby; the reason says which. "
        "Reconnect when that has changed."
    ),
    PeerCloseCode.VIOLATION: "Too many frames that are no messages of this protocol. Mend the client first.",
    CloseCode.KEEPALIVE_TIMEOUT: "No pong within the keepalive timeout. Reconnect.",
    CloseCode.SESSION_ENDED: "An administrator removed the peer or closed its lobby. Do not reconnect by yourself.",
}
