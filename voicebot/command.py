"""``relay bot``: run a provider of bots from the command line.

The first SIGINT or SIGTERM drains it: no new bots, and those that run may finish for a while; then, or at the second
signal, it says goodbye, and the relay gives what still ran to other providers.
"""

import importlib
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import trio
import typer

from voicebot.bot import Bot
from voicebot.chat_bot import ChatBot
from voicebot.errors import VoicebotError
from voicebot.provider import Provider

#: Longer than a service manager waits by default would help nobody.
DRAIN_SECONDS = 10.0

app = typer.Typer(help="Offer bots to a relay, and run those it asks for.", no_args_is_help=True)

_Url = Annotated[str, typer.Option(help="Where the relay is.")]
_Name = Annotated[
    str | None, typer.Option(help="What the provider is called; the bot's own title if left out.")
]
_Capacity = Annotated[int, typer.Option(min=1, max=1000, help="Bots at a time.")]
_Credential = Annotated[
    str | None,
    typer.Option(
        envvar="RELAY_BOT_CREDENTIAL",
        help="The relay's admin token, or a company's API key. Better in the environment: others see command lines.",
    ),
]
_Drain = Annotated[
    float, typer.Option(min=0, help="How long bots may go on after the first signal, in seconds.")
]


class BotNotFoundError(Exception):
    """What was named is no bot; the text says what was expected."""


@app.command()
def chat(
    url: _Url = "ws://127.0.0.1:8080",
    name: _Name = None,
    capacity: _Capacity = 100,
    credential: _Credential = None,
    drain_seconds: _Drain = DRAIN_SECONDS,
) -> None:
    """Offer a bot that greets who comes and answers in the chat."""
    _run(ChatBot, url, name, capacity, credential, drain_seconds)


@app.command()
def run(
    bot: Annotated[str, typer.Argument(help="The bot's class, such as package.module:Class.")],
    url: _Url = "ws://127.0.0.1:8080",
    name: _Name = None,
    capacity: _Capacity = 10,
    credential: _Credential = None,
    drain_seconds: _Drain = DRAIN_SECONDS,
) -> None:
    """Offer a bot of your own: a class derived from voicebot.Bot."""
    try:
        found = load_bot(bot)
    except BotNotFoundError as error:
        _fail(str(error), 2)
    _run(found, url, name, capacity, credential, drain_seconds)


def load_bot(named: str) -> type[Bot]:
    """Return the class that ``module:Class`` names; modules in the working directory are found as well.

    Raises: BotNotFoundError.
    """
    module, separator, attribute = named.partition(":")
    if not module or not separator or not attribute:
        raise BotNotFoundError(f"expected module:Class, such as voicebot.chat_bot:ChatBot, not {named!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise BotNotFoundError(f"the module {module!r} cannot be imported: {error}") from None
    except AttributeError:
        raise BotNotFoundError(f"the module {module!r} has no {attribute!r}") from None
    if not isinstance(found, type) or not issubclass(found, Bot):
        raise BotNotFoundError(f"{named} is no class derived from voicebot.Bot")
    return found


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


async def _drain(provider: Provider, seconds: float, scope: trio.CancelScope) -> None:
    with trio.move_on_after(seconds):
        await provider.drain("its operator stops it")
    scope.cancel()


def _run(
    bot: type[Bot], url: str, name: str | None, capacity: int, credential: str | None, drain_seconds: float
) -> None:
    try:
        provider = Provider(
            url, bot, name=name, capacity=capacity, credential=credential, log=partial(typer.echo, err=True)
        )
    except ValueError as error:
        _fail(str(error), 2)
    cause: BaseException | None = None
    try:
        trio.run(provide_until_signal, provider, drain_seconds, strict_exception_groups=True)
    except* (VoicebotError, trio.TooSlowError) as errors:
        cause = errors
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if cause is not None:
        _fail(str(cause) or "the relay did not answer in time", 1)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"bot: {text}", err=True)
    raise SystemExit(code)
