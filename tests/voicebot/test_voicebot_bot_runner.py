"""The runner of bots, by itself: what it takes, what it says, and that bots are nobody's affair but their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio

import voicebot
from signaling.messages import ChatSend, ClientMessage, ParticipantJoined
from signaling.messages.bots import (
    AcceptBot,
    AnswerQuestion,
    BotOffer,
    BotQuestion,
    BotStop,
    BotStopped,
    FailQuestion,
    ProviderDraining,
    RefuseBot,
)
from voicebot.bot_runner import in_one_line
from voicebot.command import BotNotFoundError, load_bot


class Patient(voicebot.Bot):
    """Stays until it is told to go."""

    async def run(self, connection: voicebot.Connection) -> None:
        await trio.sleep_forever()

    async def answer(self, text: str, participant_id: str) -> str:
        if text == "fail":
            raise KeyError("no\nsuch thing")
        if text == "wait":
            await trio.sleep_forever()
        return f"{participant_id} says {text}"


class Desk:
    """The relay as the runner sees it: what it is told, in order, and connections that always succeed."""

    def __init__(self) -> None:
        self._said, self._told = trio.open_memory_channel[ClientMessage](1000)
        self.reported: list[BaseException] = []
        self.joined: list[dict[str, object]] = []

    def tell(self, message: ClientMessage) -> None:
        self._said.send_nowait(message)

    async def hear(self) -> ClientMessage:
        with trio.fail_after(5):
            return await self._told.receive()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SimpleNamespace]:
        async def join(lobby: str, name: str, **more: object) -> None:
            await trio.lowlevel.checkpoint()
            self.joined.append({"lobby": lobby, "name": name} | more)

        yield SimpleNamespace(join=join)


@asynccontextmanager
async def running(make: voicebot.bot_runner.MakeBot = Patient, capacity: int = 2):
    desk = Desk()
    runner = voicebot.BotRunner(
        make,
        capacity=capacity,
        connect=desk.connect,
        tell=desk.tell,
        report=lambda _, error: desk.reported.append(error),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        yield runner, desk
        nursery.cancel_scope.cancel()


def offer(bot_id: str = "b-1", ticket: str = "t") -> BotOffer:
    return BotOffer(
        bot_id=bot_id,
        lobby="garden",
        lobby_id="l-1",
        company_id="",
        name="Echo",
        config={},
        ticket=ticket,
        accept_seconds=2.0,
        join_seconds=10.0,
    )


def question(text: str, bot_id: str = "b-1", seconds: float = 5.0) -> BotQuestion:
    return BotQuestion(question_id=7, bot_id=bot_id, text=text, participant_id="p-1", answer_seconds=seconds)


async def test_it_takes_an_offer_joins_with_its_ticket_and_stops_when_told(autojump_clock) -> None:
    async with running() as (runner, desk):
        runner.handle(offer())
        assert await desk.hear() == AcceptBot(bot_id="b-1")
        assert (runner.running, runner.load) == (("b-1",), 0.5)
        await trio.sleep(1)
        assert desk.joined == [{"lobby": "garden", "name": "Echo", "is_bot": True, "bot_ticket": "t"}]
        runner.handle(BotStop(bot_id="b-1", reason="enough"))
        runner.handle(BotStop(bot_id="b-unknown", reason="enough"))
        assert await desk.hear() == BotStopped(bot_id="b-1", reason="stopped as told")
        await runner.wait_empty()
        assert runner.running == ()


async def test_it_takes_no_more_than_it_can_and_none_while_it_drains() -> None:
    async with running(capacity=1) as (runner, desk):
        runner.handle(offer("b-1"))
        runner.handle(offer("b-2"))
        assert await desk.hear() == AcceptBot(bot_id="b-1")
        assert await desk.hear() == RefuseBot(bot_id="b-2", reason="it runs 1 bots, as many as it can")
        runner.handle(ProviderDraining(reason="deploy"))
        runner.handle(offer("b-3"))
        assert await desk.hear() == RefuseBot(bot_id="b-3", reason="it is draining")


async def test_an_offer_of_a_bot_that_is_still_ending_begins_it_anew(autojump_clock) -> None:
    async with running(capacity=1) as (runner, desk):
        runner.handle(offer(ticket="first"))
        assert await desk.hear() == AcceptBot(bot_id="b-1")
        await trio.sleep(1)
        runner.handle(BotStop(bot_id="b-1", reason="the connection was lost"))
        runner.handle(offer(ticket="second"))
        assert await desk.hear() == AcceptBot(bot_id="b-1")
        await trio.sleep(1)
        assert [each["bot_ticket"] for each in desk.joined] == ["first", "second"]
        assert runner.running == ("b-1",)
        # The end of the first is no news: the relay would take it for that of the second.
        runner.handle(BotStop(bot_id="b-1", reason="enough"))
        assert await desk.hear() == BotStopped(bot_id="b-1", reason="stopped as told")


async def test_a_bot_that_fails_is_told_of_and_others_go_on(autojump_clock) -> None:
    class Fragile(Patient):
        async def run(self, connection: voicebot.Connection) -> None:
            if self.assignment.bot_id == "b-1":
                async with trio.open_nursery():
                    raise KeyError("no\nsuch thing")
            await super().run(connection)

    async with running(Fragile) as (runner, desk):
        runner.handle(offer("b-1"))
        runner.handle(offer("b-2"))
        assert [await desk.hear(), await desk.hear()] == [AcceptBot(bot_id="b-1"), AcceptBot(bot_id="b-2")]
        stopped = await desk.hear()
        assert stopped == BotStopped(bot_id="b-1", reason=r"KeyError: 'no\nsuch thing'", failed=True)
        assert len(desk.reported) == runner.failures == 1
        assert runner.running == ("b-2",)


async def test_a_bot_that_returns_has_finished() -> None:
    class Brief(voicebot.Bot):
        async def run(self, connection: voicebot.Connection) -> None:
            await trio.lowlevel.checkpoint()

    async with running(Brief) as (runner, desk):
        runner.handle(offer())
        runner.handle(question("hello"))
        heard = [await desk.hear() for _ in range(3)]
        assert BotStopped(bot_id="b-1", reason="it has finished") in heard
        assert FailQuestion(question_id=7, reason="UnansweredError: Bot answers no questions") in heard


async def test_questions_are_answered_beside_each_other_or_a_reason_is_given(autojump_clock) -> None:
    async with running() as (runner, desk):
        runner.handle(offer())
        assert await desk.hear() == AcceptBot(bot_id="b-1")
        runner.handle(question("wait", seconds=3.0))
        runner.handle(question("hello"))
        assert await desk.hear() == AnswerQuestion(question_id=7, text="p-1 says hello")
        runner.handle(question("fail"))
        assert await desk.hear() == FailQuestion(question_id=7, reason=r"KeyError: 'no\nsuch thing'")
        assert await desk.hear() == FailQuestion(question_id=7, reason="TooSlowError")
        runner.handle(question("hello", bot_id="b-unknown"))
        assert await desk.hear() == FailQuestion(question_id=7, reason="the bot is not here any more")


async def test_bots_on_their_way_are_given_up_when_the_relay_is_lost(autojump_clock) -> None:
    async with running() as (runner, desk):
        runner.handle(offer("b-1"))
        await desk.hear()
        await trio.sleep(1)
        runner.handle(offer("b-2"))
        await desk.hear()
        runner.abandon_joining()
        assert await desk.hear() == BotStopped(bot_id="b-2", reason="stopped as told")
        assert runner.running == ("b-1",)


def test_what_an_exception_says_fits_in_one_line() -> None:
    assert in_one_line(ExceptionGroup("two", [ExceptionGroup("one", [ValueError("a\nb\x1b[31m")])])) == (
        "ValueError: a b [31m"
    )
    assert in_one_line(ValueError()) == "ValueError"
    assert len(in_one_line(ValueError("x" * 1000))) == 300
    BotStopped(bot_id="b", reason=in_one_line(ValueError("\ud800 \u202e \x00")))


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        ("Hi {name}\x00\x1b[31m\u202e!", "Hi Ada[31m!"),
        ("{name}" * 1000, ("Ada" * 1000)[:2000]),
        ("\x00", None),
        ("", None),
    ],
)
async def test_the_chat_bot_says_only_what_can_be_said(greeting: str, said: str | None) -> None:
    """Whatever its config and people's names are made of, it stays."""
    lines: list[str] = []

    async def chat(text: str) -> None:
        lines.append(ChatSend(text=text).text)
        raise voicebot.ConnectionLostError("just now")

    async def events():
        yield ParticipantJoined(
            participant={
                "participant_id": "p-1",
                "name": "Ada",
                "is_bot": False,
                "joined_at": "2026-01-31T12:00:00Z",
                "tracks": (),
            }
        )

    config = {"greeting": greeting}
    bot = voicebot.ChatBot(voicebot.Assignment("b-1", "garden", "l-1", "", "Chat", config))
    await bot.run(SimpleNamespace(events=events, chat=chat))
    assert lines == ([] if said is None else [said])


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ("nothing", "expected module:Class"),
        (":Class", "expected module:Class"),
        ("no_such_module:Class", "cannot be imported"),
        ("voicebot:NoSuchClass", "has no 'NoSuchClass'"),
        ("voicebot:Backoff", "no class derived from voicebot.Bot"),
    ],
)
def test_what_is_no_bot_is_explained(named: str, fault: str) -> None:
    with pytest.raises(BotNotFoundError, match=fault):
        load_bot(named)


def test_a_bot_is_found_by_its_name() -> None:
    assert load_bot("voicebot.chat_bot:ChatBot") is voicebot.ChatBot
