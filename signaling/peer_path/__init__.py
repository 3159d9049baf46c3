"""The older path for companies' own clients: ``/signal/{peer_id}/{company_api_key}`` (see ``signaling/PEER_PATH.md``).

Underneath it is the same service: a peer is a session in a lobby of its company, its media the relay's. What differs is
what is said on the WebSocket. ``PeerPath`` is what a server is composed with.
"""

from signaling.peer_path.answerer import (
    Answerer,
    AnswerError,
    BotFailedError,
    BotTimeoutError,
    NobodyAnswers,
    NoBotError,
)
from signaling.peer_path.codes import PEER_CLOSE_CODES, PEER_ERROR_CODES, PeerCloseCode, PeerErrorCode
from signaling.peer_path.path import PATTERN, PeerPath

__all__ = [
    "PATTERN",
    "PEER_CLOSE_CODES",
    "PEER_ERROR_CODES",
    "AnswerError",
    "Answerer",
    "BotFailedError",
    "BotTimeoutError",
    "NoBotError",
    "NobodyAnswers",
    "PeerCloseCode",
    "PeerErrorCode",
    "PeerPath",
]
