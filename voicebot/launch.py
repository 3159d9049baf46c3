"""Runs what a command of ``relay bot`` was told to: a provider, or one bot in one lobby, until a signal comes.

What goes wrong is told in one line on standard error: status 2 for what the command line says, 1 for what happened.
"""

import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import trio
import typer
from pydantic import ValidationError

from signaling.messages import Join
from voicebot.attendance import attend
from voicebot.bot import Bot
from voicebot.bot_runner import MakeBot
from voicebot.command_options import CommonOptions
from voicebot.errors import ConnectError, VoicebotError
from voicebot.provider import Provider
from voicebot.stream import CLIENT_PATH, WebSocketUrl, relay_url

#: HTTP statuses by which a relay turns away a provider it does not know.
REFUSALS = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Wish:
    """A bot, and what the command line says of it."""

    bot: type[Bot]
    common: CommonOptions
    #: Makes the bot, unless its class does.
    make: MakeBot | None = None
    #: What the one in ``lobby`` is to do.
    config: Mapping[str, Any] | None = None


def launch(wish: Wish) -> None:
    """Do it, to the end of the program.

    Raises: SystemExit when it cannot be done.
    """
    log = partial(typer.echo, err=True)
    until_signal: Callable[[], Awaitable[None]]
    try:
        if wish.common.lobby is not None:
            until_signal = partial(attend_until_signal, _attendance(wish, wish.common.lobby, log))
        else:
            provider = Provider(
                wish.common.url,
                wish.bot,
                name=wish.common.name,
                capacity=wish.common.capacity,
                credential=wish.common.credential,
                make=wish.make,
                patient=wish.common.wait,
                log=log,
            )
            until_signal = partial(provide_until_signal, provider, wish.common.drain_seconds)
    except ValueError as error:
        fail(str(error), 2)
    cause: BaseException | None = None
    try:
        trio.run(until_signal, strict_exception_groups=True)
    except* (VoicebotError, trio.TooSlowError) as errors:
        cause = errors
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if cause is not None:
        fail(_explain(cause, wish), 1)


def _explain(cause: BaseException, wish: Wish) -> str:
    """Return what went wrong, and what to do about it where that is known."""
    text = str(cause) or "the relay did not answer in time"
    if isinstance(cause, ConnectError) and cause.status in REFUSALS:
        given = "this credential is none of its" if wish.common.credential else "it wants a credential"
        text += f": {given}. Set RELAY_BOT_CREDENTIAL to the RELAY_ADMIN_TOKEN it was started with, or a company's API key"
    return text


def parse_config(text: str, lobby: str | None) -> dict[str, Any]:
    """Return what ``--config`` says; the program ends if it is no config, or nobody would read it."""
    try:
        config = json.loads(text)
    except ValueError as error:
        fail(f"--config is no JSON: {error}", 2)
    if not isinstance(config, dict):
        fail(f"--config is to be a JSON object, not {text}", 2)
    if config and lobby is None:
        fail("--config goes with --lobby: a bot that is asked for is told by its config", 2)
    return config


def fail(text: str, code: int) -> NoReturn:
    """Say what was wrong, and end the program."""
    typer.echo(f"bot: {text}", err=True)
    raise SystemExit(code)


async def provide_until_signal(provider: Provider, drain_seconds: float) -> None:
    """Run a provider until the first signal, then drain it; the second ends it.

    Raises: as ``Provider.run``.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.run)
            received = aiter(signals)
            await anext(received)
            nursery.start_soon(_drain, provider, drain_seconds, nursery.cancel_scope)
            await anext(received)
            nursery.cancel_scope.cancel()


async def attend_until_signal(attendance: Callable[[], Awaitable[None]]) -> None:
    """Run one bot to its end, or until the first signal.

    Raises: as ``attend``.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def run_to_end() -> None:
                await attendance()
                nursery.cancel_scope.cancel()

            nursery.start_soon(run_to_end)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


async def _drain(provider: Provider, seconds: float, scope: trio.CancelScope) -> None:
    with trio.move_on_after(seconds):
        await provider.drain("its operator stops it")
    scope.cancel()


def _attendance(wish: Wish, lobby: str, log: Callable[[str], None]) -> Callable[[], Awaitable[None]]:
    """Return what is to be done.

    Raises: ValueError for a URL or a name that cannot be one.
    """
    name = wish.common.name or wish.bot.title
    WebSocketUrl.parse(relay_url(wish.common.url, CLIENT_PATH))
    try:
        Join(lobby=lobby, name=name)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"--{fault['loc'][0]}: {fault['msg']}") from None
    return partial(
        attend,
        wish.common.url,
        wish.make or wish.bot,
        lobby=lobby,
        name=name,
        config=wish.config,
        token=wish.common.token,
        password=wish.common.password,
        patient=wish.common.wait,
        log=log,
    )
