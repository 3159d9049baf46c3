"""What all commands of ``relay bot`` take: where the relay is, who the bot is, and when it goes."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

P = ParamSpec("P")

#: Longer than a service manager waits by default would help nobody.
DRAIN_SECONDS = 10.0
RELAY = "ws://127.0.0.1:8080"

Config = Annotated[str, typer.Option(help="The bot's config, a JSON object, with --lobby.")]


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """Each field is an option of every command; see `with_common_options`."""

    url: Annotated[str, typer.Option(help="Where the relay is.")] = RELAY
    name: Annotated[
        str | None,
        typer.Option(
            help="What the provider, or with --lobby the bot, is called; the bot's own title if left out."
        ),
    ] = None
    capacity: Annotated[int, typer.Option(min=1, max=1000, help="Bots at a time.")] = 10
    credential: Annotated[
        str | None,
        typer.Option(
            envvar="RELAY_BOT_CREDENTIAL",
            help="The relay's admin token, or a company's API key. Better in the environment: others see command lines.",
        ),
    ] = None
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="How long bots may go on after the first signal, in seconds.")
    ] = DRAIN_SECONDS
    wait: Annotated[bool, typer.Option(help="Whether to wait for a relay that is not there yet.")] = True
    lobby: Annotated[
        str | None, typer.Option(help="Join this lobby at once, instead of waiting to be asked for.")
    ] = None
    token: Annotated[
        str | None,
        typer.Option(envvar="RELAY_BOT_TOKEN", help="A join token for that lobby, if it needs one."),
    ] = None
    password: Annotated[
        str | None,
        typer.Option(envvar="RELAY_BOT_PASSWORD", help="The password of that lobby, if it has one."),
    ] = None


def with_common_options(
    *, capacity: int = 10
) -> Callable[[Callable[Concatenate[CommonOptions, P], None]], Callable[..., None]]:
    """Let a command that takes `CommonOptions` and options of its own take all of them from the command line.

    `capacity`: what is said if nobody says it.
    """

    def decorate(command: Callable[Concatenate[CommonOptions, P], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**options: Any) -> None:
            common = CommonOptions(**{each.name: options.pop(each.name) for each in fields(CommonOptions)})
            command(common, **options)  # type: ignore[call-arg]

        own = list(inspect.signature(command).parameters.values())[1:]
        shared = inspect.signature(CommonOptions).parameters.values()
        given = [each.replace(default=capacity) if each.name == "capacity" else each for each in shared]
        # This is what typer reads the options from.
        run.__signature__ = inspect.Signature([*own, *given])  # type: ignore[attr-defined]
        return run

    return decorate
