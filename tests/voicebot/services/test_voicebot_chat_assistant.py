"""The chat assistant in a fake lobby, with a chat service of our own over real sockets (so in real time, but nothing waits)."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing
from chat_server import KEY, ChatServer, endless, hang, open_chat_server, refuse, reply

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.bot import Assignment, UnansweredError
from voicebot.chat_assistant import APOLOGY, ChatAssistant, ChatAssistantSettings, is_addressed
from voicebot.chat_memory import ChatMemories, ChatMemory, token_estimate
from voicebot.services.api_key import ApiKey
from voicebot.services.openai_chat import ChatMessage, ChatSettings, ChatTimeouts
from voicebot.testing import FakeLobby
from voicebot.token_bucket import TokenBucket


class Room:
    """A lobby with Ann and the assistant, who is called Max, in it."""

    def __init__(self, lobby: FakeLobby, server: ChatServer) -> None:
        self.lobby = lobby
        self.server = server
        self.reports: list[str] = []
        self._reported = trio.Event()
        self.breaker = CircuitBreaker("the chat service")
        self.settings = ChatAssistantSettings(
            ChatSettings(
                key=ApiKey(KEY),
                base_url=server.url,
                retries=Backoff(initial_s=0.01, maximum_s=0.01, attempts=1),
                timeouts=ChatTimeouts(connect_s=1, read_s=0.2, total_s=2),
            ),
            person_burst=100,
            lobby_burst=100,
        )
        self.memories: ChatMemories | None = None
        self.ann = lobby.add_participant("Ann")
        self.bot: ChatAssistant

    async def enter(self, **config) -> ChatAssistant:
        running = await self.lobby.start(self.make, name="Max", config=config)
        assert isinstance(running.bot, ChatAssistant)
        self.running = running
        return running.bot

    def make(self, assignment: Assignment) -> ChatAssistant:
        return ChatAssistant(
            assignment,
            settings=self.settings,
            breaker=self.breaker,
            memories=self.memories,
            report=self.report,
        )

    def said(self) -> list[str]:
        return [line.text for line in self.lobby.chat if line.name == "Max"]

    async def wait_said(self, count: int) -> list[str]:
        await self.lobby.wait_for(lambda: len(self.said()) >= count)
        return self.said()

    async def settle(self) -> None:
        """Wait until everything that was written has been read: replies come after events."""
        await self.running.connection.ping()
        await trio.testing.wait_all_tasks_blocked()

    def report(self, text: str) -> None:
        self.reports.append(text)
        self._reported.set()
        self._reported = trio.Event()

    async def wait_reports(self, count: int) -> None:
        while len(self.reports) < count:
            await self._reported.wait()


@asynccontextmanager
async def room(**settings) -> AsyncIterator[Room]:
    async with open_chat_server() as server, FakeLobby() as lobby:
        there = Room(lobby, server)
        there.settings = replace(there.settings, **settings)
        yield there
        await there.running.stop()
        await trio.testing.wait_all_tasks_blocked()  # it says goodbye


def asked(server: ChatServer, number: int = -1) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in server.requests[number]["messages"]]


async def test_line_that_is_addressed_is_answered() -> None:
    async with room() as there:
        await there.enter(personality="You are a pirate.")
        there.ann.write("Good morning all")
        there.ann.write("Max, what is new?")
        assert await there.wait_said(1) == ["Hello there."]
        system, *rest = asked(there.server)
        assert system[0] == "system"
        assert "'Max'" in system[1]
        assert system[1].endswith("You are a pirate.")
        assert rest == [("user", "Ann: Good morning all"), ("user", "Ann: Max, what is new?")]
        there.ann.write("@max and now?")
        await there.wait_said(2)
        assert asked(there.server)[-2:] == [("assistant", "Hello there."), ("user", "Ann: @max and now?")]


async def test_bots_are_never_answered() -> None:
    async with room() as there:
        await there.enter(answer="all")
        other = there.lobby.add_participant("Robot", is_bot=True)
        other.write("Max, are you there?")
        there.ann.write("I am.")
        await there.wait_said(1)
        await there.settle()
        assert len(there.server.requests) == 1
        assert asked(there.server)[1:] == [("user", "Robot: Max, are you there?"), ("user", "Ann: I am.")]


async def test_questions_put_directly_stay_between_the_two() -> None:
    async with room() as there:
        bot = await there.enter()
        there.server.answers = deque(
            [reply("A secret."), reply("Another."), reply("For Bob."), reply("To all.")]
        )
        assert await bot.answer("Tell me", "p-ann") == "A secret."
        assert await bot.answer("And?", "p-ann") == "Another."
        assert asked(there.server)[1:] == [("user", "Tell me"), ("assistant", "A secret."), ("user", "And?")]
        assert await bot.answer("And me?", "p-bob") == "For Bob."
        assert asked(there.server)[1:] == [("user", "And me?")]
        there.ann.write("Max?")
        assert await there.wait_said(1) == ["To all."]
        assert asked(there.server)[1:] == [("user", "Ann: Max?")]
        assert bot.statistics().answered == 4


async def test_one_who_asks_too_often_is_told_once() -> None:
    async with room(person_burst=2, person_every_s=1000.0) as there:
        bot = await there.enter(answer="all")
        for number in range(6):
            there.ann.write(f"question {number}")
        said = await there.wait_said(3)
        await there.settle()
        assert sorted(said) == sorted(
            ["Hello there."] * 2 + ["Ann, one moment please: that are more questions than I can answer."]
        )
        assert len(there.server.requests) == 2
        there.lobby.add_participant("Bob").write("and I?")
        await there.wait_said(4)
        assert bot.statistics().limited == 4


async def test_lobby_that_asks_too_often_is_limited_as_well() -> None:
    async with room(lobby_burst=3, lobby_every_s=1000.0) as there:
        bot = await there.enter(answer="all")
        for number in range(6):
            there.lobby.add_participant(f"P{number}").write("a question")
        await there.lobby.wait_for(lambda: len(there.said()) == 6)
        assert there.said().count("Hello there.") == 3
        assert bot.statistics().limited == 3


async def test_direct_questions_are_limited_by_person() -> None:
    async with room(person_burst=1, person_every_s=30.0) as there:
        bot = await there.enter()
        await bot.answer("one", "p-1")
        with pytest.raises(UnansweredError, match="too many questions; ask again in 30 s"):
            await bot.answer("two", "p-1")
        assert await bot.answer("one", "p-2") == "Hello there."


async def test_direct_questions_at_a_time_are_bounded() -> None:
    async with room() as there:
        bot = await there.enter()
        there.server.answers = deque([hang])
        refused = []

        async def ask(number: int) -> None:
            try:
                await bot.answer("?", f"p-{number}")
            except UnansweredError as error:
                refused.append(str(error))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, number)
        assert sum("busy" in each for each in refused) == 2
        assert sum("cannot answer right now" in each for each in refused) == 8


async def test_failing_service_is_apologized_for_once_and_reported() -> None:
    async with room() as there:
        await there.enter(answer="all")
        there.server.answers = deque([refuse(500, "out of cheese")])
        there.ann.write("one")
        assert await there.wait_said(1) == [APOLOGY]
        there.ann.write("two")
        await there.wait_reports(2)
        await there.settle()
        assert there.said() == [APOLOGY]
        assert there.reports[0] == "the chat service answered HTTP 500: out of cheese"
        there.server.answers = deque([reply("Back.")])
        there.ann.write("three")
        assert await there.wait_said(2) == [APOLOGY, "Back."]


async def test_slow_service_holds_up_nobody_and_questions_are_bounded() -> None:
    async with room() as there:
        bot = await there.enter(answer="all")
        there.server.answers = deque([hang])
        for number in range(30):
            there.ann.write(f"question {number}")
        await there.settle()
        assert bot.statistics().dropped == 30 - 8 - 1  # eight wait, one is being answered
        there.server.answers = deque([reply("Direct.")])
        assert await bot.answer("and me?", "p-x") == "Direct."


async def test_answer_is_what_a_line_of_chat_may_hold() -> None:
    async with room() as there:
        await there.enter(answer="all")
        there.server.answers = deque([reply("Max: \x07ding\u202e\n", "dong ")])
        there.ann.write("ring")
        assert await there.wait_said(1) == ["ding\ndong"]
        there.server.answers = deque([endless])
        there.ann.write("talk")
        said = await there.wait_said(2)
        assert len(said[1]) <= 2000
        assert said[1].endswith("…")


async def test_empty_answer_says_nothing() -> None:
    async with room() as there:
        bot = await there.enter(answer="all")
        there.server.answers = deque([reply("", " ")])
        with pytest.raises(UnansweredError, match="nothing to say"):
            await bot.answer("two", "p-9")
        there.ann.write("one")
        await there.server.wait_requests(2)
        there.server.answers = deque([reply("Yes.")])
        there.ann.write("two")
        assert await there.wait_said(1) == ["Yes."]


async def test_context_is_bounded_and_the_question_always_in_it() -> None:
    async with room(context_tokens=400) as there:
        await there.enter()
        for number in range(50):
            there.ann.write(f"line {number} " + "x" * 60)
        there.ann.write("Max, " + "y" * 300)
        await there.wait_said(1)
        messages = asked(there.server)
        assert messages[-1] == ("user", "Ann: Max, " + "y" * 300)
        assert sum(token_estimate(text) for _, text in messages) <= 400
        assert messages[-2][1].startswith("Ann: line 49")


async def test_memory_outlives_the_bot_but_not_its_lobby() -> None:
    async with room() as there:
        there.memories = there.settings.memories()
        await there.enter()
        there.ann.write("My name is Ann.")
        await there.settle()
        await there.running.stop()
        await there.enter()
        there.ann.write("Max, who am I?")
        await there.wait_said(1)
        assert asked(there.server)[1:] == [("user", "Ann: My name is Ann."), ("user", "Ann: Max, who am I?")]


@pytest.mark.parametrize(
    ("line", "addressed"),
    [
        ("Max, hi", True),
        ("max: hi", True),
        ("Max", True),
        ("hey Max how are you", True),
        ("Hello, max!", True),
        ("what do you think @Max?", True),
        ("@max", True),
        ("Maximum speed", False),
        ("I like Max", False),
        ("@maxine hello", False),
        ("mail me at a@maximal.example", False),
        ("", False),
    ],
)
def test_who_is_addressed(line: str, addressed: bool) -> None:
    assert is_addressed(line, "Max") is addressed


def test_name_is_no_pattern() -> None:
    assert is_addressed("@M.x (1) hello", "M.x (1)")
    assert not is_addressed("@Max (1) hello", "M.x (1)")


def test_memories_are_bounded_by_number_lines_and_time() -> None:
    memories = ChatMemories(chats=2, lines=3, keep_s=100)
    for number in range(5):
        memories.of("a", 0).add("user", f"line {number}", number)
    assert len(memories.of("a", 0)) == 3
    assert memories.of("a", 0).recall(1000, but=3) == [
        ChatMessage("user", "line 2"),
        ChatMessage("user", "line 4"),
    ]
    memories.of("b", 10)
    memories.of("a", 20)
    memories.of("c", 30)  # b was not used for the longest time
    assert len(memories) == 2
    assert len(memories.of("a", 31)) == 3
    assert len(memories.of("a", 200)) == 0
    assert len(memories) == 1


def test_memory_recalls_the_newest_that_fits() -> None:
    memory = ChatMemory(10)
    for text in ("old", "x" * 3000, "new", "newest"):
        memory.add("user", text)
    assert [each.text for each in memory.recall(100)] == ["new", "newest"]
    assert memory.recall(0) == []


def test_bucket_gives_its_burst_and_then_a_steady_rate() -> None:
    bucket = TokenBucket(burst=2, every_s=10)
    assert [bucket.take(0), bucket.take(0), bucket.take(0)] == [True, True, False]
    assert bucket.wait_s(4) == pytest.approx(6)
    assert [bucket.take(9.9), bucket.take(10), bucket.take(10)] == [False, True, False]
    assert not bucket.is_full(20)
    assert bucket.is_full(1000)
    assert [bucket.take(1000), bucket.take(1000), bucket.take(1000)] == [True, True, False]
    assert not bucket.take(0)  # a clock that went back gives nothing
