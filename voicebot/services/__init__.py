"""Clients for services outside: speech to text (``DeepgramStream``), conversation by voice (``RealtimeSession``), text (``ChatClient``).

What they have in common. Keys come from the environment only, and are in no text. A service that breaks off is tried again, with back-off and a
circuit breaker that all bots of a provider share. Audio that is spoken while a service is away or slow is lost and counted, never kept: at
most 200 ms of it wait. None of them holds up who uses it.
"""

from signaling.outbound.circuit_breaker import BreakerState, CircuitBreaker
from voicebot.services.api_key import ApiKey
from voicebot.services.deepgram import DeepgramSettings
from voicebot.services.deepgram_stream import (
    Back,
    DeepgramStream,
    HeardSoFar,
    HeardSpeech,
    HeardTurn,
    Outage,
)
from voicebot.services.errors import (
    CircuitOpenError,
    MissingKeyError,
    ServiceError,
    ServiceFormatError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from voicebot.services.openai_chat import ChatClient, ChatMessage, ChatSettings, Completion
from voicebot.services.openai_realtime import RealtimeSettings
from voicebot.services.realtime_session import Connected, Lost, RealtimeSession

__all__ = [
    "ApiKey",
    "Back",
    "BreakerState",
    "ChatClient",
    "ChatMessage",
    "ChatSettings",
    "CircuitBreaker",
    "CircuitOpenError",
    "Completion",
    "Connected",
    "DeepgramSettings",
    "DeepgramStream",
    "HeardSoFar",
    "HeardSpeech",
    "HeardTurn",
    "Lost",
    "MissingKeyError",
    "Outage",
    "RealtimeSession",
    "RealtimeSettings",
    "ServiceError",
    "ServiceFormatError",
    "ServiceRefusedError",
    "ServiceUnavailableError",
]
