"""``relay bot``: run bots from the command line.

Without ``--lobby`` a provider offers them to the relay, and they come when they are asked for. The first SIGINT or SIGTERM drains it: no new
bots, and those that run may finish for a while; then, or at the second signal, it says goodbye, and the relay gives what still ran to
other providers. With ``--lobby`` one bot joins that lobby at once; the first signal ends it.
"""

import importlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import trio
import typer
from pydantic import ValidationError

from signaling.messages import Join
from voicebot.announcer import Announcer
from voicebot.attendance import attend
from voicebot.bot import Bot
from voicebot.bot_runner import MakeBot
from voicebot.chat_bot import ChatBot
from voicebot.echo_bot import MAX_DELAY_MS, EchoBot
from voicebot.errors import VoicebotError
from voicebot.provider import Provider
from voicebot.recorder import Recorder
from voicebot.recording_files import FORMATS
from voicebot.stream import CLIENT_PATH, WebSocketUrl, relay_url

#: Longer than a service manager waits by default would help nobody.
DRAIN_SECONDS = 10.0
RELAY = "ws://127.0.0.1:8080"

app = typer.Typer(help="Offer bots to a relay, and run those it asks for.", no_args_is_help=True)

_Url = Annotated[str, typer.Option(help="Where the relay is.")]
_Name = Annotated[
    str | None,
    typer.Option(
        help="What the provider, or with --lobby the bot, is called; the bot's own title if left out."
    ),
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
_Wait = Annotated[bool, typer.Option(help="Whether to wait for a relay that is not there yet.")]
_Lobby = Annotated[
    str | None, typer.Option(help="Join this lobby at once, instead of waiting to be asked for.")
]
_Token = Annotated[
    str | None, typer.Option(envvar="RELAY_BOT_TOKEN", help="A join token for that lobby, if it needs one.")
]
_Password = Annotated[
    str | None, typer.Option(envvar="RELAY_BOT_PASSWORD", help="The password of that lobby, if it has one.")
]


class BotNotFoundError(Exception):
    """What was named is no bot; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A bot, and what the command line says of it."""

    bot: type[Bot]
    url: str
    name: str | None
    capacity: int
    credential: str | None
    drain_seconds: float
    wait: bool
    lobby: str | None
    token: str | None
    password: str | None
    #: Makes the bot, unless its class does.
    make: MakeBot | None = None
    #: What the one in ``lobby`` is to do.
    config: Mapping[str, Any] | None = None


@app.command()
def chat(
    url: _Url = RELAY,
    name: _Name = None,
    capacity: _Capacity = 100,
    credential: _Credential = None,
    drain_seconds: _Drain = DRAIN_SECONDS,
    wait: _Wait = True,
    lobby: _Lobby = None,
    token: _Token = None,
    password: _Password = None,
) -> None:
    """Greet who comes and answer in the chat."""
    _run(_Wish(ChatBot, url, name, capacity, credential, drain_seconds, wait, lobby, token, password))


@app.command()
def echo(
    delay_ms: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_DELAY_MS,
            help="Repeat so much later, while they speak; else when they have stopped.",
        ),
    ] = None,
    url: _Url = RELAY,
    name: _Name = None,
    capacity: _Capacity = 10,
    credential: _Credential = None,
    drain_seconds: _Drain = DRAIN_SECONDS,
    wait: _Wait = True,
    lobby: _Lobby = None,
    token: _Token = None,
    password: _Password = None,
) -> None:
    """Repeat what people say. Who asks for it may say `delay_ms` in its config; --delay-ms is for --lobby."""
    config = {} if delay_ms is None else {"delay_ms": delay_ms}
    if delay_ms is not None and lobby is None:
        _fail("--delay-ms goes with --lobby: a bot that is asked for is told by its config", 2)
    _run(
        _Wish(
            EchoBot,
            url,
            name,
            capacity,
            credential,
            drain_seconds,
            wait,
            lobby,
            token,
            password,
            config=config,
        )
    )


@app.command()
def announce(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="What to play, with --lobby: a WAV file, or another kind where PyAV is installed."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="What to say instead, with --lobby, where espeak-ng is installed.")
    ] = None,
    voice: Annotated[str, typer.Option(help="In which voice, such as en-gb or de.")] = "en",
    times: Annotated[int, typer.Option(min=1, max=100, help="How often.")] = 1,
    pause_s: Annotated[float, typer.Option(min=0, max=3600, help="Between two times, in seconds.")] = 1.0,
    directory: Annotated[
        Path | None,
        typer.Option(help="Where the files are that may be asked for; none may, if left out."),
    ] = None,
    url: _Url = RELAY,
    name: _Name = None,
    capacity: _Capacity = 10,
    credential: _Credential = None,
    drain_seconds: _Drain = DRAIN_SECONDS,
    wait: _Wait = True,
    lobby: _Lobby = None,
    token: _Token = None,
    password: _Password = None,
) -> None:
    """Say a text or play a file to a lobby, and go."""
    config: dict[str, Any] = {"times": times, "pause_s": pause_s}
    if lobby is None and (file is not None or text is not None):
        _fail("a file or --text goes with --lobby: a bot that is asked for is told by its config", 2)
    if lobby is not None and (file is None) == (text is None):
        _fail("expected a file, or --text, and not both", 2)
    if text is not None:
        config |= {"text": text, "voice": voice}
    elif file is not None:
        directory, config["file"] = file.resolve().parent, file.name
    _run(
        _Wish(
            Announcer,
            url,
            name,
            capacity,
            credential,
            drain_seconds,
            wait,
            lobby,
            token,
            password,
            make=partial(Announcer, directory=directory),
            config=config,
        )
    )


@app.command()
def record(
    directory: Annotated[
        Path, typer.Option(help="Where recordings go, each into a directory of its own.")
    ] = Path("recordings"),
    format_: Annotated[
        str, typer.Option("--format", help=f"Of the files, with --lobby: {' or '.join(FORMATS)}.")
    ] = "wav",
    mixed: Annotated[bool, typer.Option(help="Whether to record all together, with --lobby.")] = True,
    participants: Annotated[
        bool, typer.Option(help="Whether to record everybody by themselves, with --lobby.")
    ] = True,
    url: _Url = RELAY,
    name: _Name = None,
    capacity: _Capacity = 10,
    credential: _Credential = None,
    drain_seconds: _Drain = DRAIN_SECONDS,
    wait: _Wait = True,
    lobby: _Lobby = None,
    token: _Token = None,
    password: _Password = None,
) -> None:
    """Record a lobby: everybody by themselves, and all together, in files that begin at the same instant."""
    if format_ not in FORMATS:
        _fail(f"--format is {' or '.join(FORMATS)}, not {format_!r}", 2)
    _run(
        _Wish(
            Recorder,
            url,
            name,
            capacity,
            credential,
            drain_seconds,
            wait,
            lobby,
            token,
            password,
            make=partial(Recorder, directory=directory),
            config={"format": format_, "mixed": mixed, "participants": participants},
        )
    )


@app.command()
def run(
    bot: Annotated[str, typer.Argument(help="The bot's class, such as package.module:Class.")],
    config: Annotated[str, typer.Option(help="Its config, a JSON object, with --lobby.")] = "{}",
    url: _Url = RELAY,
    name: _Name = None,
    capacity: _Capacity = 10,
    credential: _Credential = None,
    drain_seconds: _Drain = DRAIN_SECONDS,
    wait: _Wait = True,
    lobby: _Lobby = None,
    token: _Token = None,
    password: _Password = None,
) -> None:
    """Run a bot of your own: a class derived from voicebot.Bot."""
    try:
        found = load_bot(bot)
    except BotNotFoundError as error:
        _fail(str(error), 2)
    try:
        parsed = json.loads(config)
    except ValueError as error:
        _fail(f"--config is no JSON: {error}", 2)
    if not isinstance(parsed, dict):
        _fail(f"--config is to be a JSON object, not {config}", 2)
    if parsed and lobby is None:
        _fail("--config goes with --lobby: a bot that is asked for is told by its config", 2)
    _run(
        _Wish(
            found, url, name, capacity, credential, drain_seconds, wait, lobby, token, password, config=parsed
        )
    )


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


def _run(wish: _Wish) -> None:
    log = partial(typer.echo, err=True)
    until_signal: Callable[[], Awaitable[None]]
    try:
        if wish.lobby is not None:
            until_signal = partial(attend_until_signal, _attendance(wish, wish.lobby, log))
        else:
            provider = Provider(
                wish.url,
                wish.bot,
                name=wish.name,
                capacity=wish.capacity,
                credential=wish.credential,
                make=wish.make,
                patient=wish.wait,
                log=log,
            )
            until_signal = partial(provide_until_signal, provider, wish.drain_seconds)
    except ValueError as error:
        _fail(str(error), 2)
    cause: BaseException | None = None
    try:
        trio.run(until_signal, strict_exception_groups=True)
    except* (VoicebotError, trio.TooSlowError) as errors:
        cause = errors
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if cause is not None:
        _fail(str(cause) or "the relay did not answer in time", 1)


def _attendance(wish: _Wish, lobby: str, log: Callable[[str], None]) -> Callable[[], Awaitable[None]]:
    """Return what is to be done.

    Raises: ValueError for a URL or a name that cannot be one.
    """
    name = wish.name or wish.bot.title
    WebSocketUrl.parse(relay_url(wish.url, CLIENT_PATH))
    try:
        Join(lobby=lobby, name=name)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"--{fault['loc'][0]}: {fault['msg']}") from None
    return partial(
        attend,
        wish.url,
        wish.make or wish.bot,
        lobby=lobby,
        name=name,
        config=wish.config,
        token=wish.token,
        password=wish.password,
        patient=wish.wait,
        log=log,
    )


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"bot: {text}", err=True)
    raise SystemExit(code)
