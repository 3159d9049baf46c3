"""A bot provider: offers bots to a relay over ``/ws/bots`` (``signaling/BOTS.md``) and runs those it is asked for.

    await voicebot.provide("ws://127.0.0.1:8080", ChatBot, capacity=10, credential=api_key)

A lost connection is replaced, with back-off; the bots go on meanwhile, for they have connections of their own.
"""

import random
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from signaling.messages import ClientMessage, CloseCode, ErrorReply, Ping, Pong, ServerFrame
from signaling.messages.bots import (
    TO_PROVIDER_MESSAGES,
    AcceptBot,
    AnswerQuestion,
    BotStopped,
    DrainProvider,
    FailQuestion,
    Heartbeat,
    RefuseBot,
    Register,
    Registered,
)
from signaling.messages.server import Ok
from voicebot.backoff import Backoff
from voicebot.bot import Bot
from voicebot.bot_runner import BotRunner, MakeBot
from voicebot.connection import Connection
from voicebot.errors import ConnectError, ConnectionLostError, ProtocolError, VoicebotError
from voicebot.link import Dialect, Link, Loss, Timeouts, open_link
from voicebot.nursery import open_bare_nursery
from voicebot.opening import connect
from voicebot.stream import CLIENT_PATH, PROVIDER_PATH, WebSocketUrl, open_tcp, relay_url

#: Messages that wait to be sent. Overflow policy: the oldest goes; the relay's deadlines make up for it.
QUEUE_LENGTH = 4096
#: Close codes after which coming back would be wrong.
FINAL_CLOSE_CODES = frozenset({CloseCode.SESSION_RESUMED_ELSEWHERE, CloseCode.SESSION_ENDED})

_DIALECT = Dialect(
    TO_PROVIDER_MESSAGES,
    {
        Register: Registered,
        Ping: Pong,
        **dict.fromkeys(
            (
                Heartbeat,
                AcceptBot,
                RefuseBot,
                BotStopped,
                AnswerQuestion,
                FailQuestion,
                DrainProvider,
            ),
            Ok,
        ),
    },
    greets=False,
)
#: What a bot's connection does when it is lost: it comes back soon, or its session is over.
BOT_BACKOFF = Backoff(attempts=12, maximum_s=5.0)

Log = Callable[[str], None]


class Provider:
    """See the module; ``provide`` is the short way. ``run`` runs until cancelled, or the relay does not want it any more."""

    def __init__(
        self,
        url: str,
        bot: type[Bot],
        *,
        name: str | None = None,
        capacity: int = 10,
        credential: str | None = None,
        make: MakeBot | None = None,
        backoff: Backoff | None = None,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        patient: bool = False,
        log: Log = lambda _: None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """``url``: where the relay is, such as ``ws://127.0.0.1:8080``. ``credential``: its admin token, or an API key.

        ``make`` makes the bots, unless the class itself shall. ``patient``: a relay that is not there yet is waited for.

        Raises: ValueError for a malformed URL.
        """
        self._address = WebSocketUrl.parse(relay_url(url, PROVIDER_PATH))
        self._open_stream = partial(open_tcp, self._address, ssl_context)
        self._timeouts = timeouts or Timeouts()
        self._backoff = backoff or Backoff(attempts=None)
        self._patient = patient
        self._log = log
        self._dice = dice
        self._headers = (
            [] if credential is None else [(b"authorization", b"Bearer " + credential.encode("ascii"))]
        )
        self._offer = Register(
            name=name or bot.title,
            description=bot.description,
            capabilities=bot.capabilities,
            capacity=capacity,
            config_schema=dict(bot.config_schema),
        )
        self._resume_token: str | None = None
        self._outgoing = _Outgoing()
        #: Who runs the bots.
        self.runner = BotRunner(
            make or bot,
            capacity=capacity,
            connect=partial(_connect, relay_url(url, CLIENT_PATH), self._timeouts, ssl_context),
            tell=self._outgoing.put,
            report=lambda bot_id, error: log(f"bot {bot_id} failed: {error!r}"),
        )
        #: Set while the relay knows the provider.
        self.registered = trio.Event()
        self.provider_id = ""

    async def run(self) -> None:
        """Offer bots until cancelled; leaving says goodbye, and the relay gives the bots to others.

        Raises: ConnectError when the first attempt fails, unless it is patient and the relay may only be late; ProtocolError when the
        relay refuses the registration; ConnectionLostError when it does not want the provider any more, or coming back was given up.
        """
        async with open_bare_nursery() as nursery:
            await nursery.start(self.runner.run)
            await self._stay()

    async def drain(self, reason: str = "") -> None:
        """Take no new bots, and wait until those that run have ended."""
        self.runner.draining = True
        self._outgoing.put(DrainProvider(reason=reason))
        await self.runner.wait_empty()

    async def _stay(self) -> None:
        attempt = 0
        first = True
        while True:
            try:
                since = trio.current_time()
                loss = await self._serve()
                first = False
                if loss.code in FINAL_CLOSE_CODES:
                    raise loss.error()
                if trio.current_time() - since >= self._backoff.maximum_s:
                    attempt = 0
            except (ConnectError, ProtocolError, trio.TooSlowError) as error:
                if first and not (self._patient and may_be_late(error)):
                    raise
                loss = Loss(str(error) or "the relay did not answer in time")
            self._log(f"{'waiting for the relay' if first else 'disconnected'}: {loss.reason}")
            if not self._backoff.allows(attempt):
                raise ConnectionLostError(f"gave up after {attempt} attempts: {loss.reason}")
            await trio.sleep(self._backoff.delay_s(attempt, self._dice()))
            attempt += 1

    async def _serve(self) -> Loss:
        """Be registered over one connection until it is lost."""
        async with open_link(
            self._address,
            self._open_stream,
            self._receive,
            self._timeouts,
            dialect=_DIALECT,
            headers=self._headers,
        ) as link:
            self._outgoing.clear()
            with trio.fail_after(self._timeouts.request_s):
                try:
                    registered = await link.request(self._registration())
                except ConnectionLostError as error:
                    return Loss(error.reason, error.code)
            assert isinstance(registered, Registered)  # `Waiter` has seen to it
            self._become(registered)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, link)
                nursery.start_soon(self._beat, link, registered.heartbeat_seconds)
                loss = await link.wait_lost()
                nursery.cancel_scope.cancel()
        self.registered = trio.Event()
        self.runner.abandon_joining()
        return loss

    def _registration(self) -> Register:
        return self._offer.model_copy(
            update={"resume_token": self._resume_token, "running": self.runner.running}
        )

    def _become(self, registered: Registered) -> None:
        self._resume_token = registered.resume_token
        self.provider_id = registered.provider_id
        self._log(
            f"{'back' if registered.resumed else 'registered'} as {self._offer.name!r} ({self.provider_id})"
        )
        if self.runner.draining:
            self._outgoing.put(DrainProvider())
        self.registered.set()

    def _receive(self, frame: ServerFrame) -> None:
        if isinstance(frame.message, ErrorReply):
            # That a bot was given to somebody else meanwhile is no fault; the relay says `stop` as well.
            self._log(f"the relay refused: {frame.message.error}")
        elif frame.re is None:
            self.runner.handle(frame.message)

    async def _send(self, link: Link) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await link.send(message)  # many at once may be accepted: nothing waits for replies
            except ConnectionLostError:
                return

    async def _beat(self, link: Link, seconds: float) -> None:
        while True:
            await trio.sleep(seconds)
            try:
                await link.request(Heartbeat(load=self.runner.load))
            except VoicebotError:
                return


def may_be_late(error: Exception) -> bool:
    """Tell whether a relay that could not be connected to may be there later, as it is: it did not say no for a reason of its own."""
    return isinstance(error, ConnectError) and (error.status in {None, 429} or (error.status or 0) >= 500)


async def provide(url: str, bot: type[Bot], **options: object) -> None:
    """Offer bots of this class to a relay until cancelled; ``options`` and errors are those of ``Provider``."""
    await Provider(url, bot, **options).run()  # type: ignore[arg-type] # passed on as they are


def _connect(
    url: str, timeouts: Timeouts, ssl_context: ssl.SSLContext | None
) -> AbstractAsyncContextManager[Connection]:
    return connect(url, reconnect=BOT_BACKOFF, timeouts=timeouts, ssl_context=ssl_context)


class _Outgoing:
    """Messages that wait to be sent, in order."""

    def __init__(self) -> None:
        self._messages: deque[ClientMessage] = deque(maxlen=QUEUE_LENGTH)
        self._arrived = trio.Event()

    def put(self, message: ClientMessage) -> None:
        """Append a message; never waits."""
        self._messages.append(message)
        self._arrived.set()

    async def get(self) -> ClientMessage:
        """Wait for the next message."""
        while not self._messages:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._messages.popleft()

    def clear(self) -> None:
        """Forget what the relay of another connection was to be told."""
        self._messages.clear()
