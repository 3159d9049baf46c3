"""``relay bot``: run bots from the command line.

Without ``--lobby`` a provider offers them to the relay, and they come when they are asked for. The first SIGINT or SIGTERM drains it: no new
bots, and those that run may finish for a while; then, or at the second signal, it says goodbye, and the relay gives what still ran to
other providers. With ``--lobby`` one bot joins that lobby at once; the first signal ends it.
"""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from voicebot.announcer import Announcer
from voicebot.bot import Bot
from voicebot.chat_bot import ChatBot
from voicebot.command_options import CommonOptions, Config, with_common_options
from voicebot.echo_bot import MAX_DELAY_MS, EchoBot
from voicebot.launch import Wish, fail, launch, parse_config
from voicebot.recorder import Recorder
from voicebot.recording_files import FORMATS
from voicebot.service_commands import add_service_commands

app = typer.Typer(help="Offer bots to a relay, and run those it asks for.", no_args_is_help=True)


class BotNotFoundError(Exception):
    """What was named is no bot; the text says what was expected."""


@app.command()
@with_common_options(capacity=100)
def chat(common: CommonOptions) -> None:
    """Greet who comes and answer in the chat."""
    launch(Wish(ChatBot, common))


@app.command()
@with_common_options()
def echo(
    common: CommonOptions,
    delay_ms: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_DELAY_MS,
            help="Repeat so much later, while they speak; else when they have stopped.",
        ),
    ] = None,
) -> None:
    """Repeat what people say. Who asks for it may say `delay_ms` in its config; --delay-ms is for --lobby."""
    config = {} if delay_ms is None else {"delay_ms": delay_ms}
    if delay_ms is not None and common.lobby is None:
        fail("--delay-ms goes with --lobby: a bot that is asked for is told by its config", 2)
    launch(
        Wish(
            EchoBot,
            common,
            config=config,
        )
    )


@app.command()
@with_common_options()
def announce(
    common: CommonOptions,
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
) -> None:
    """Say a text or play a file to a lobby, and go."""
    config: dict[str, Any] = {"times": times, "pause_s": pause_s}
    if common.lobby is None and (file is not None or text is not None):
        fail("a file or --text goes with --lobby: a bot that is asked for is told by its config", 2)
    if common.lobby is not None and (file is None) == (text is None):
        fail("expected a file, or --text, and not both", 2)
    if text is not None:
        config |= {"text": text, "voice": voice}
    elif file is not None:
        if not file.is_file():
            fail(f"there is no file {file}", 2)
        directory, config["file"] = file.resolve().parent, file.name
    launch(
        Wish(
            Announcer,
            common,
            make=partial(Announcer, directory=directory),
            config=config,
        )
    )


@app.command()
@with_common_options()
def record(
    common: CommonOptions,
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
) -> None:
    """Record a lobby: everybody by themselves, and all together, in files that begin at the same instant."""
    if format_ not in FORMATS:
        fail(f"--format is {' or '.join(FORMATS)}, not {format_!r}", 2)
    launch(
        Wish(
            Recorder,
            common,
            make=partial(Recorder, directory=directory),
            config={"format": format_, "mixed": mixed, "participants": participants},
        )
    )


@app.command()
@with_common_options()
def run(
    common: CommonOptions,
    bot: Annotated[str, typer.Argument(help="The bot's class, such as package.module:Class.")],
    config: Config = "{}",
) -> None:
    """Run a bot of your own: a class derived from voicebot.Bot."""
    try:
        found = load_bot(bot)
    except BotNotFoundError as error:
        fail(str(error), 2)
    launch(
        Wish(
            found,
            common,
            config=parse_config(config, common.lobby),
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


add_service_commands(app)
