"""What can be wrong with what is asked of the bots; every text says what was expected."""


class BotError(Exception):
    """Base; ``code`` is stable, the text is for people. ``field`` is what is at fault, as a path."""

    code = "bot_error"

    def __init__(self, error: str, *, field: str | None = None) -> None:
        super().__init__(error)
        self.field = field


class IllegalStepError(BotError):
    """A step that the table of states does not have: our own fault."""

    code = "illegal_step"


class InvalidRequestError(BotError):
    """A field of a request is none."""

    code = "invalid_message"


class UnknownLobbyError(BotError):
    """There is no such lobby, or it belongs to another company."""

    code = "unknown_lobby"


class UnknownBotError(BotError):
    """There is no such bot, or it belongs to another company."""

    code = "unknown_bot"


class UnknownProviderError(BotError):
    """There is no such provider, or it belongs to another company."""

    code = "unknown_provider"


class BotConfigError(BotError):
    """The config does not fit the schema of any provider that could take the bot."""

    code = "invalid_config"


class BotCapacityError(BotError):
    """There are as many bots, or providers, as there may be."""

    code = "at_capacity"


class BotsDrainingError(BotError):
    """The server takes nobody new, bots included."""

    code = "draining"


class IdempotencyConflictError(BotError):
    """The idempotency key was used for another request."""

    code = "idempotency_conflict"


class InvalidSchemaError(BotError):
    """A provider's config schema is not one that can be checked."""

    code = "invalid_schema"


class StaleOfferError(BotError):
    """A provider speaks of a bot that is not, or not any more, its to speak of."""

    code = "stale_offer"
