"""What one provider says, message by message: the table from message to deed. Whatever carries the messages uses this."""

from collections.abc import Callable
from typing import Any

from signaling.bots.config_schema import ConfigSchema
from signaling.bots.errors import BotError, InvalidSchemaError, StaleOfferError
from signaling.bots.lifecycle import ProviderState
from signaling.bots.link import ProviderLink
from signaling.bots.provider import Provider, ProviderSpec
from signaling.bots.service import BotService
from signaling.messages import ClientMessage, ErrorCode
from signaling.messages.bots import (
    AcceptBot,
    AnswerQuestion,
    BotStopped,
    DrainProvider,
    FailQuestion,
    Heartbeat,
    ProviderErrorCode,
    RefuseBot,
    Register,
    Registered,
)
from signaling.messages.server import Ok, ServerMessage
from signaling.request_error import RequestError


class ProviderConnection:
    """See the module. ``company_id``: whose provider it is; empty: the operator's.

    A provider ``has_heartbeat`` unless it is a part of this program, which needs none.
    """

    def __init__(
        self, bots: BotService, link: ProviderLink, company_id: str, *, has_heartbeat: bool = True
    ) -> None:
        self._bots = bots
        self._link = link
        self._company_id = company_id
        self._has_heartbeat = has_heartbeat
        self._provider: Provider | None = None

    @property
    def registered(self) -> bool:
        """Whether the provider has said who it is."""
        return self._provider is not None

    def handle(self, message: ClientMessage) -> ServerMessage:
        """Do what a message says, and return the reply.

        Raises: RequestError.
        """
        if isinstance(message, Register):
            return self._register(message)
        if self._provider is None or self._provider.state is ProviderState.GONE:
            raise RequestError(ProviderErrorCode.NOT_REGISTERED, "send `register` first")
        self._bots.hear(self._provider)
        try:
            HANDLERS[type(message)](self._bots, self._provider, message)
        except StaleOfferError as error:
            raise RequestError(error.code, str(error), field="bot_id") from None
        return Ok()

    def lost(self, reason: str, *, goodbye: bool = False) -> None:
        """Note that the connection has ended; with ``goodbye``, that the provider does not come back."""
        provider, self._provider = self._provider, None
        if provider is not None:
            self._bots.lose(self._link, provider, reason, goodbye=goodbye)

    def _register(self, message: Register) -> ServerMessage:
        if self._provider is not None:
            text = "you are registered already: open another connection for another provider"
            raise RequestError(ProviderErrorCode.NOT_REGISTERED, text)
        try:
            spec = _spec(message)
            running = frozenset(message.running)
            token = message.resume_token
            self._provider = (
                None
                if token is None
                else self._bots.resume(self._link, spec, token, self._company_id, running)
            )
            resumed = self._provider is not None
            if self._provider is None:
                self._provider, token = self._bots.register(
                    self._link, spec, self._company_id, has_heartbeat=self._has_heartbeat, running=running
                )
        except InvalidSchemaError as error:
            raise RequestError(ProviderErrorCode.INVALID_SCHEMA, str(error), field=error.field) from None
        except BotError as error:
            raise RequestError(ErrorCode.AT_CAPACITY, str(error)) from None
        assert token is not None
        return Registered(
            provider_id=self._provider.provider_id,
            resume_token=token,
            resumed=resumed,
            heartbeat_seconds=self._bots.deadlines.heartbeat_s,
            away_seconds=self._bots.deadlines.away_s,
        )


def _spec(message: Register) -> ProviderSpec:
    return ProviderSpec(
        name=message.name,
        description=message.description,
        capabilities=message.capabilities,
        capacity=message.capacity,
        config_schema=ConfigSchema(message.config_schema),
    )


def _heartbeat(bots: BotService, provider: Provider, message: Heartbeat) -> None:
    bots.hear(provider, message.load)


def _accept(bots: BotService, provider: Provider, message: AcceptBot) -> None:
    bots.accept(provider, message.bot_id)


def _refuse(bots: BotService, provider: Provider, message: RefuseBot) -> None:
    bots.refuse(provider, message.bot_id, message.reason or "it gave no reason")


def _stopped(bots: BotService, provider: Provider, message: BotStopped) -> None:
    bots.stopped(provider, message.bot_id, message.reason or "it gave no reason", failed=message.failed)


def _answer(bots: BotService, provider: Provider, message: AnswerQuestion) -> None:
    if not bots.answered(provider, message.question_id, text=message.text):
        raise _unknown_question()


def _no_answer(bots: BotService, provider: Provider, message: FailQuestion) -> None:
    if not bots.answered(provider, message.question_id, fault=message.reason or "it gave no reason"):
        raise _unknown_question()


def _drain(bots: BotService, provider: Provider, message: DrainProvider) -> None:
    bots.drain_provider(provider.provider_id, message.reason or "it asked for it")


def _unknown_question() -> RequestError:
    text = "nobody waits for this answer: it came too late, or the question was not yours"
    return RequestError(ProviderErrorCode.UNKNOWN_QUESTION, text, field="question_id")


HANDLERS: dict[type[ClientMessage], Callable[[BotService, Provider, Any], None]] = {
    Heartbeat: _heartbeat,
    AcceptBot: _accept,
    RefuseBot: _refuse,
    BotStopped: _stopped,
    AnswerQuestion: _answer,
    FailQuestion: _no_answer,
    DrainProvider: _drain,
}
