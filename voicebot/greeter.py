"""A first bot: greets who joins and answers in chat.

    python -m voicebot.greeter ws://127.0.0.1:8080/ws --lobby demo

It speaks in text only; stop it with Ctrl-C or SIGTERM.
"""

import signal
from datetime import UTC, datetime
from typing import Annotated

import trio
import typer

import voicebot
from signaling.messages import ChatPosted, ParticipantJoined


def answer(text: str) -> str | None:
    """Return what the bot says to a line of chat; None when it keeps silent."""
    words = {word.strip(".,!?").lower() for word in text.split()}
    if words & {"hello", "hi", "hey"}:
        return "Hello! Ask me for the time."
    if "time" in words:
        return f"It is {datetime.now(UTC):%H:%M} UTC."
    return None


async def greet(url: str, lobby: str, name: str) -> None:
    """Stay in the lobby until cancelled; a lost connection is taken up again by the library."""
    async with voicebot.connect(url, lobby=lobby, name=name, is_bot=True) as bot:
        typer.echo(f"{name} is in the lobby {lobby!r}")
        async for event in bot.events():
            line: str | None = None
            match event:
                case ParticipantJoined(participant=participant) if not participant.is_bot:
                    line = f"Welcome, {participant.name}!"
                case ChatPosted(message=message):
                    author = bot.lobby.participants.get(message.participant_id)
                    if author is not None and not author.is_bot:  # two bots would never stop
                        line = answer(message.text)
                case voicebot.Disconnected(reason=reason):
                    typer.echo(f"disconnected: {reason}")
                case voicebot.Reconnected():
                    typer.echo("connected again")
            if line is not None:
                try:
                    await bot.chat(line)
                except voicebot.VoicebotError as error:
                    typer.echo(f"not said: {error}", err=True)


async def greet_until_signal(url: str, lobby: str, name: str) -> None:
    """Greet until SIGINT or SIGTERM; leaving the scope of ``connect`` says goodbye to the server."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greet, url, lobby, name)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


def main(
    url: Annotated[str, typer.Argument(help="Where the relay listens, e.g. ws://127.0.0.1:8080/ws")],
    lobby: Annotated[str, typer.Option(help="The lobby to join.")] = "demo",
    name: Annotated[str, typer.Option(help="The bot's name.")] = "Greeter",
) -> None:
    """Greet who joins a lobby, and answer in chat."""
    cause: BaseException | None = None
    try:
        trio.run(greet_until_signal, url, lobby, name)
    except* voicebot.VoicebotError as errors:
        cause = errors.exceptions[0]
    # Raised in `except*`, Python 3.11.2 wraps it in a group; Debian 12 has that one.
    if cause is not None:
        typer.echo(f"greeter: {cause}", err=True)
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
