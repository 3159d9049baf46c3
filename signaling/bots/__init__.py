"""Bots: who runs them, how one is asked for, and their lives from the request to the end (``signaling/BOTS.md``)."""

from signaling.bots.deadlines import BotLimits, Deadlines
from signaling.bots.endpoint import bots_endpoint
from signaling.bots.errors import (
    BotCapacityError,
    BotConfigError,
    BotError,
    BotsDrainingError,
    IdempotencyConflictError,
    InvalidRequestError,
    UnknownBotError,
    UnknownLobbyError,
    UnknownProviderError,
)
from signaling.bots.lifecycle import BotState, Ending, ProviderState
from signaling.bots.link import ProviderLink
from signaling.bots.metrics import bot_metrics
from signaling.bots.provider_connection import ProviderConnection
from signaling.bots.service import BotService
from signaling.bots.views import BotsStatistics, BotView, ProviderView

__all__ = [
    "BotCapacityError",
    "BotConfigError",
    "BotError",
    "BotLimits",
    "BotService",
    "BotState",
    "BotView",
    "BotsDrainingError",
    "BotsStatistics",
    "Deadlines",
    "Ending",
    "IdempotencyConflictError",
    "InvalidRequestError",
    "ProviderConnection",
    "ProviderLink",
    "ProviderState",
    "ProviderView",
    "UnknownBotError",
    "UnknownLobbyError",
    "UnknownProviderError",
    "bot_metrics",
    "bots_endpoint",
]
