"""``relay bot transcriber``, ``assistant`` and ``chat-assistant``: the bots that need a service outside.

Their keys are read from the environment and nowhere else; a missing one is told before anything is connected. All bots of one
provider share a circuit breaker: a service that is down is tried by one of them at a time.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.assistant import Assistant
from voicebot.bot import Assignment, Bot
from voicebot.bot_runner import MakeBot
from voicebot.chat_assistant import ChatAssistant, ChatAssistantSettings
from voicebot.command_options import CommonOptions, Config, with_common_options
from voicebot.launch import Wish, fail, launch, parse_config
from voicebot.services.deepgram import SERVICE as DEEPGRAM
from voicebot.services.errors import MissingKeyError
from voicebot.services.openai_chat import SERVICE as CHAT_SERVICE
from voicebot.services.openai_realtime import SERVICE as REALTIME
from voicebot.services.openai_realtime import RealtimeSettings
from voicebot.transcriber import Transcriber, TranscriberSettings

_ServiceUrl = Annotated[
    str | None, typer.Option(help="The service's base URL, if it is another one that speaks the same.")
]
_Model = Annotated[str | None, typer.Option(help="Which of the service's models.")]
_TextFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="A file with what the bot is to be like, in words."),
]

Report = Callable[[str], None]


def add_service_commands(app: typer.Typer) -> None:
    """Add the commands of this module to ``relay bot``."""
    app.command("transcriber")(transcriber)
    app.command("assistant")(assistant)
    app.command("chat-assistant")(chat_assistant)


@with_common_options()
def transcriber(
    common: CommonOptions,
    config: Config = "{}",
    service_url: _ServiceUrl = None,
    model: _Model = None,
    language: Annotated[
        str | None, typer.Option(help="What is spoken, such as en, de or multi; configs may say otherwise.")
    ] = None,
    transcripts: Annotated[
        Path | None,
        typer.Option(
            envvar="RELAY_TRANSCRIPTS",
            file_okay=False,
            help="A directory to keep transcripts in; without, none are kept.",
        ),
    ] = None,
    max_speakers: Annotated[
        int, typer.Option(min=1, max=1000, help="People written down in one lobby.")
    ] = 20,
) -> None:
    """Write down who says what, by Deepgram. The key: DEEPGRAM_API_KEY, or DEEPGRAM_API_KEY_FILE."""
    environment = _with(DEEPGRAM_URL=service_url, DEEPGRAM_MODEL=model, DEEPGRAM_LANGUAGE=language)
    settings = _read(TranscriberSettings.from_environment, environment)
    settings = replace(settings, directory=transcripts, max_speakers=max_speakers)
    breaker = CircuitBreaker(DEEPGRAM)

    def make(assignment: Assignment) -> Bot:
        return Transcriber(assignment, settings=settings, breaker=breaker, report=_reporter(assignment))

    _run(
        Transcriber,
        make,
        common,
        config,
    )


@with_common_options()
def assistant(
    common: CommonOptions,
    config: Config = "{}",
    service_url: _ServiceUrl = None,
    model: _Model = None,
    voice: Annotated[str | None, typer.Option(help="Which of the service's voices.")] = None,
    instructions: _TextFile = None,
) -> None:
    """Talk with people, by OpenAI's Realtime API. The key: OPENAI_API_KEY, or OPENAI_API_KEY_FILE."""
    environment = _with(
        OPENAI_REALTIME_URL=service_url, OPENAI_REALTIME_MODEL=model, OPENAI_REALTIME_VOICE=voice
    )
    settings = _read(RealtimeSettings.from_environment, environment)
    settings = replace(settings, instructions=_text(instructions))
    breaker = CircuitBreaker(REALTIME)

    def make(assignment: Assignment) -> Bot:
        return Assistant(assignment, settings=settings, breaker=breaker, report=_reporter(assignment))

    _run(Assistant, make, common, config)


@with_common_options(capacity=100)
def chat_assistant(
    common: CommonOptions,
    config: Config = "{}",
    service_url: _ServiceUrl = None,
    model: _Model = None,
    personality: _TextFile = None,
    context_tokens: Annotated[
        int, typer.Option(min=500, help="How much of the model's context is used, the answer not counted.")
    ] = 4000,
    max_tokens: Annotated[int, typer.Option(min=1, help="How long an answer may be.")] = 500,
) -> None:
    """Answer in the chat, by any API like OpenAI's. The key: OPENAI_API_KEY, or OPENAI_API_KEY_FILE."""
    environment = _with(OPENAI_BASE_URL=service_url, OPENAI_CHAT_MODEL=model)
    settings = _read(ChatAssistantSettings.from_environment, environment)
    settings = replace(
        settings,
        chat=replace(settings.chat, max_tokens=max_tokens),
        personality=_text(personality) or settings.personality,
        context_tokens=context_tokens,
    )
    breaker, memories = CircuitBreaker(CHAT_SERVICE), settings.memories()

    def make(assignment: Assignment) -> Bot:
        return ChatAssistant(
            assignment,
            settings=settings,
            breaker=breaker,
            memories=memories,
            report=_reporter(assignment),
        )

    _run(
        ChatAssistant,
        make,
        common,
        config,
    )


def _run(bot: type[Bot], make: MakeBot, common: CommonOptions, config: str) -> None:
    launch(Wish(bot, common, make=make, config=parse_config(config, common.lobby)))


def _with(**options: str | None) -> dict[str, str]:
    """Return the environment, with what the command line says instead."""
    return {**os.environ, **{name: value for name, value in options.items() if value}}


def _read(read: Callable[[dict[str, str]], Any], environment: dict[str, str]) -> Any:
    try:
        return read(environment)
    except (MissingKeyError, ValueError) as error:
        fail(str(error), 2)


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        fail(f"{path} cannot be read: {error}", 2)


def _reporter(assignment: Assignment) -> Report:
    def report(text: str) -> None:
        typer.echo(f"{assignment.name!r} in {assignment.lobby!r}: {text}", err=True)

    return report
