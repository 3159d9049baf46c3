"""Bots written for Twilio as bots of the bots' API: a provider named ``twilio`` that is a part of this program.

    POST /api/lobbies/{id}/bots  {"provider": "twilio", "config": {"url": "wss://...", "parameters": {...}}}

So they are asked for, listed, stopped, counted and tried again like all other bots. The line is opened with the bot's ticket in
its ``metadata``, by which the participant becomes the bot's. A URL in a lobby of nobody's is the operator's own choice and may
lead anywhere; one in a company's lobby leads to the public Internet only.
"""

from collections import Counter
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any

import trio

from signaling.bots import BotService
from signaling.bots.in_process import InProcessProvider
from signaling.logs import get_logger
from signaling.messages import ServerMessage
from signaling.messages.bots import AcceptBot, BotOffer, BotStop, BotStopped, RefuseBot, Register
from signaling.outbound.errors import TargetRefusedError
from signaling.supervisor import supervise
from signaling.telephony.bot_dialer import BotDialer, BotUnreachableError, check_target
from signaling.telephony.line import BOT_TICKET, PROVIDER, LineRefusedError, OpenLine
from signaling.telephony.mirror import MirrorEnd, attach_bot
from signaling.telephony.twilio import RATE

NAME = "twilio"
DESCRIPTION = "bots written for Twilio Media Streams: the relay opens their WebSocket and behaves as Twilio"
#: As long as a reason may be (``messages.model.Line``).
MAX_REASON_LENGTH = 300
CONFIG_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "minLength": 1, "maxLength": 2048},
        "parameters": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 500}},
        "auth_token": {"type": "string", "maxLength": 256},
    },
    "required": ["url"],
    "additionalProperties": False,
}

#: lobby id -> the keys that are pressed there from now on.
Digits = Callable[[str], AsyncIterable[str]]

_log = get_logger(__name__)


class TwilioBots:
    """See the module. ``run`` must run as long as they are to be had."""

    def __init__(
        self,
        bots: BotService,
        open_line: OpenLine,
        *,
        capacity: int,
        failures: Counter[str],
        dialer: BotDialer | None = None,
        digits: Digits | None = None,
    ) -> None:
        self._provider = InProcessProvider(bots, self._hear)
        self._open_line = open_line
        self._capacity = capacity
        self._failures = failures
        self._dialer = dialer or BotDialer()
        self._digits = digits
        self._nursery: trio.Nursery
        #: bot id -> set when it is to go.
        self._running: dict[str, trio.Event] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a provider until cancelled; then its bots' connections are closed."""
        async with trio.open_nursery() as self._nursery:
            self._provider.tell(
                Register(
                    name=NAME,
                    description=DESCRIPTION,
                    capabilities=("telephony", "audio"),
                    capacity=self._capacity,
                    config_schema=CONFIG_SCHEMA,
                )
            )
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._provider.leave("the server stops")

    def _hear(self, message: ServerMessage) -> None:
        """Do what the service says; neither waits nor raises."""
        if isinstance(message, BotOffer):
            self._nursery.start_soon(self._run_bot, message)
        elif isinstance(message, BotStop) and message.bot_id in self._running:
            self._running[message.bot_id].set()

    async def _run_bot(self, offer: BotOffer) -> None:
        url, trusted = str(offer.config["url"]), not offer.company_id
        try:
            check_target(url, trusted=trusted)
        except TargetRefusedError as error:
            self._provider.tell(RefuseBot(bot_id=offer.bot_id, reason=_line(str(error))))
            return
        self._provider.tell(AcceptBot(bot_id=offer.bot_id))
        hang_up = self._running[offer.bot_id] = trio.Event()
        ended = MirrorEnd("the server failed; its log has the details", failed=True)

        async def serve() -> None:
            nonlocal ended
            ended = await self._attach(offer, url, hang_up, trusted=trusted)

        try:
            await supervise("twilio_bot", self._failures, serve)
        finally:
            # The same bot may have been offered again meanwhile.
            if self._running.get(offer.bot_id) is hang_up:
                del self._running[offer.bot_id]
        _log.info("a Twilio bot ended", bot=offer.bot_id, reason=ended.reason, failed=ended.failed)
        self._provider.tell(BotStopped(bot_id=offer.bot_id, reason=_line(ended.reason), failed=ended.failed))

    async def _attach(self, offer: BotOffer, url: str, hang_up: trio.Event, *, trusted: bool) -> MirrorEnd:
        opening = self._open_line(
            lobby=offer.lobby,
            name=offer.name,
            rate=RATE,
            live=False,
            metadata={PROVIDER: NAME, BOT_TICKET: offer.ticket},
        )
        parameters: Mapping[str, str] = offer.config.get("parameters", {})
        try:
            return await attach_bot(
                url,
                opening,
                parameters,
                trusted=trusted,
                dialer=self._dialer,
                auth_token=offer.config.get("auth_token", ""),
                digits=None if self._digits is None else self._digits(offer.lobby_id),
                hang_up=hang_up,
            )
        except (BotUnreachableError, LineRefusedError) as error:
            return MirrorEnd(str(error), failed=True)


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:MAX_REASON_LENGTH]
