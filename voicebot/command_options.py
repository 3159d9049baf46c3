"""What all commands of ``relay bot`` take: where the relay is, who the bot is, and when it goes."""

from typing import Annotated

import typer

#: Longer than a service manager waits by default would help nobody.
DRAIN_SECONDS = 10.0
RELAY = "ws://127.0.0.1:8080"

Url = Annotated[str, typer.Option(help="Where the relay is.")]
Name = Annotated[
    str | None,
    typer.Option(
        help="What the provider, or with --lobby the bot, is called; the bot's own title if left out."
    ),
]
Capacity = Annotated[int, typer.Option(min=1, max=1000, help="Bots at a time.")]
Credential = Annotated[
    str | None,
    typer.Option(
        envvar="RELAY_BOT_CREDENTIAL",
        help="The relay's admin token, or a company's API key. Better in the environment: others see command lines.",
    ),
]
Drain = Annotated[
    float, typer.Option(min=0, help="How long bots may go on after the first signal, in seconds.")
]
Wait = Annotated[bool, typer.Option(help="Whether to wait for a relay that is not there yet.")]
Lobby = Annotated[
    str | None, typer.Option(help="Join this lobby at once, instead of waiting to be asked for.")
]
Token = Annotated[
    str | None, typer.Option(envvar="RELAY_BOT_TOKEN", help="A join token for that lobby, if it needs one.")
]
Password = Annotated[
    str | None, typer.Option(envvar="RELAY_BOT_PASSWORD", help="The password of that lobby, if it has one.")
]
Config = Annotated[str, typer.Option(help="The bot's config, a JSON object, with --lobby.")]
