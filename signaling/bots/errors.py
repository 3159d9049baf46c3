"""What can be wrong with what is asked of the bots; every text says what was expected."""


class BotError(Exception):
    """Base; ``code`` is stable, the text is for people."""

    code = "bot_error"


class IllegalStepError(BotError):
    """A step that the table of states does not have: our own fault."""

    code = "illegal_step"


class UnknownBotError(BotError):
    """There is no such bot, or it belongs to another company."""

    code = "unknown_bot"


class UnknownProviderError(BotError):
    """There is no such provider, or it belongs to another company."""

    code = "unknown_provider"


class BotConfigError(BotError):
    """The config does not fit the schema of any provider that could take the bot. ``field`` is a path in it."""

    code = "invalid_config"

    def __init__(self, error: str, *, field: str) -> None:
        super().__init__(error)
        self.field = field


class BotCapacityError(BotError):
    """There are as many bots, or providers, as there may be."""

    code = "at_capacity"


class IdempotencyConflictError(BotError):
    """The idempotency key was used for another request."""

    code = "idempotency_conflict"


class InvalidSchemaError(BotError):
    """A provider's config schema is not one that can be checked. ``field`` is a path in it."""

    code = "invalid_schema"

    def __init__(self, error: str, *, field: str) -> None:
        super().__init__(error)
        self.field = field


class StaleOfferError(BotError):
    """A provider speaks of a bot that is not, or not any more, its to speak of."""

    code = "stale_offer"


class NoChatBotError(BotError):
    """There is no bot to answer."""

    code = "no_bot"


class ChatBotFailedError(BotError):
    """The bot did not answer: too slow, too busy, gone, or it said why."""

    code = "bot_failed"
