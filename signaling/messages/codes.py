"""Error codes and close codes: the tables a client may rely on.

A code never changes its meaning. Errors of the relay's negotiation (``relay.RemoteProtocolError.code``) pass
through under their own names, so a client must treat an unknown code as "it failed, the text says why".
"""

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """Codes of ``error`` replies that the service itself gives."""

    INVALID_JSON = "invalid_json"
    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_TYPE = "unknown_type"
    NOT_IN_LOBBY = "not_in_lobby"
    UNKNOWN_TRACK = "unknown_track"
    UNKNOWN_MID = "unknown_mid"
    KIND_MISMATCH = "kind_mismatch"
    INVALID_SDP = "invalid_sdp"
    INVALID_AUDIO = "invalid_audio"
    UNKNOWN_STREAM = "unknown_stream"
    UNKNOWN_PARTICIPANT = "unknown_participant"
    PLAY_OVERFLOW = "play_overflow"
    UNSUPPORTED = "unsupported"
    AT_CAPACITY = "at_capacity"
    RESUME_FAILED = "resume_failed"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    SESSION_ENDED = "session_ended"
    PASSWORD_REQUIRED = "password_required"  # noqa: S105 - a code
    WRONG_PASSWORD = "wrong_password"  # noqa: S105
    LOBBY_PRIVATE = "lobby_private"
    LOBBY_FULL = "lobby_full"
    NAME_PROTECTED = "name_protected"
    TOKEN_INVALID = "token_invalid"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    FORBIDDEN = "forbidden"
    COMPANY_LIMIT = "company_limit"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    INTERNAL = "internal"


class CloseCode(IntEnum):
    """WebSocket close codes the server sends (RFC 6455 section 7.4, and our own from 4000)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    POLICY = 1008
    TOO_LARGE = 1009
    INTERNAL = 1011
    TRY_LATER = 1013
    KEEPALIVE_TIMEOUT = 4008
    SESSION_RESUMED_ELSEWHERE = 4009
    SESSION_ENDED = 4010


#: code -> what it means and what the client should do.
ERROR_CODES: dict[ErrorCode, str] = {
    ErrorCode.INVALID_JSON: "The frame is not a JSON object. Send one UTF-8 JSON object a text frame.",
    ErrorCode.INVALID_MESSAGE: "A field is missing or has the wrong type or length; `field` names it.",
    ErrorCode.UNKNOWN_TYPE: "No message has this `type`. The connection stays open.",
    ErrorCode.NOT_IN_LOBBY: "The request needs a lobby: send `join` first.",
    ErrorCode.UNKNOWN_TRACK: "The lobby has no such track (it may just have ended) or slot, or the track is not yours.",
    ErrorCode.UNKNOWN_MID: "The last answered offer has no receiving section with this `mid`: offer again.",
    ErrorCode.KIND_MISMATCH: "An audio section cannot carry a video track, nor the other way round.",
    ErrorCode.INVALID_SDP: "The offer could not be parsed or breaks a rule of SDP; nothing changed.",
    ErrorCode.INVALID_AUDIO: (
        "A binary frame is no audio frame, or none of a stream that is open for playing; the text says what was expected. "
        "Ten in a row within ten seconds close with 1008."
    ),
    ErrorCode.UNKNOWN_STREAM: "You listen to no stream or subscription of this number; it may just have ended.",
    ErrorCode.UNKNOWN_PARTICIPANT: "Nobody of this id is in the lobby; they may just have left.",
    ErrorCode.PLAY_OVERFLOW: (
        "More than 60 s of a playout wait to be heard: it is over. Keep at most 10 s under way, by what `play_progress` says."
    ),
    ErrorCode.UNSUPPORTED: "Understood, but this server does not do it.",
    ErrorCode.AT_CAPACITY: (
        "The relay has no room for another peer or track, or is overloaded; the text names the limit. "
        "Who has media keeps it: try later."
    ),
    ErrorCode.RESUME_FAILED: "The token is unknown or expired, or `resume` was not the first message: join anew.",
    ErrorCode.TOO_LARGE: "The message exceeds `limits.max_message_bytes`; the connection closes with 1009.",
    ErrorCode.RATE_LIMITED: "Too many messages; the one refused had no effect. Persisting closes with 1008.",
    ErrorCode.SESSION_ENDED: (
        "The session was ended by somebody else (an administrator, another user of its name, the end of its lobby); "
        "the text says by whom. Ask the user before joining again."
    ),
    ErrorCode.PASSWORD_REQUIRED: "The lobby is private: send its `password`, or a join `token`.",
    ErrorCode.WRONG_PASSWORD: "The password is not the one of this lobby or name (`field` says which). Ask for it again.",
    ErrorCode.LOBBY_PRIVATE: "The lobby is private and has no password: it takes a join `token`.",
    ErrorCode.LOBBY_FULL: "The lobby has as many participants as it may have. Try later.",
    ErrorCode.NAME_PROTECTED: "The name belongs to somebody: send its `name_password`, or take another name.",
    ErrorCode.TOKEN_INVALID: "The join token or bot ticket is not one of this server's, or not valid yet.",
    ErrorCode.TOKEN_EXPIRED: "The join token has expired: get a new one.",
    ErrorCode.FORBIDDEN: "Not allowed here: the join token is for another lobby or name, or does not grant it, or an administrator has forbidden it.",
    ErrorCode.COMPANY_LIMIT: "The company has reached one of its limits; the text names it.",
    ErrorCode.STORAGE_UNAVAILABLE: (
        "The database does not answer. A line of chat was shown to those present but may not be kept; "
        "older lines cannot be read now. Everything else goes on."
    ),
    ErrorCode.INTERNAL: "The server failed; its log has the details under the connection's id.",
}

#: code -> when the server closes with it and whether reconnecting makes sense.
CLOSE_CODES: dict[CloseCode, str] = {
    CloseCode.NORMAL: "Answer to the client's own close. A client that closes with 1000 ends its session at once.",
    CloseCode.GOING_AWAY: "The server is restarting or stopping. Reconnect with back-off and resume; the media is gone.",
    CloseCode.POLICY: "The client kept exceeding a rate limit, or sending binary frames that are none. Do not reconnect at once.",
    CloseCode.TOO_LARGE: "A message exceeded `limits.max_message_bytes`. Reconnect and resume; send less.",
    CloseCode.INTERNAL: "The server failed on this connection. Reconnect and resume.",
    CloseCode.TRY_LATER: "The server is full or takes nobody new (draining), or the client read too slowly. Reconnect with back-off and resume.",
    CloseCode.KEEPALIVE_TIMEOUT: "No pong within the keepalive timeout. Reconnect and resume.",
    CloseCode.SESSION_RESUMED_ELSEWHERE: "Another connection resumed this session. Do not reconnect by yourself.",
    CloseCode.SESSION_ENDED: "The session was ended by somebody else; `removed` said why. Do not reconnect by yourself.",
}
