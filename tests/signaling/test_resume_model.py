"""Any interleaving of events, lost connections, lost replies and resumes: no event is lost, none comes twice.

Connections, sessions and lobbies are the real ones, the clock and the sockets are not. When a connection is lost, the
client has had any part of what was sent to it. Its mirror of the lobby is the voicebot's.
"""

import trio
import trio.testing
from connection_parts import Line, Parts, open_parts
from hypothesis import given, settings
from hypothesis import strategies as st

import voicebot
from signaling.messages import (
    ErrorCode,
    ErrorReply,
    Join,
    Joined,
    Left,
    Participant,
    Resume,
    Resumed,
    ServerFrame,
    Welcome,
)

CLIENTS = 3
LOBBIES = ("garden", "hall")

client = st.integers(0, CLIENTS - 1)
STEPS = st.one_of(
    st.tuples(st.just("chat"), client),
    st.tuples(st.just("rename"), client),
    st.tuples(st.just("cut"), client, st.floats(0, 1)),
    st.tuples(st.just("resume"), client),
    st.tuples(st.just("move"), client, st.sampled_from(LOBBIES)),
    st.tuples(st.just("take"), client),
    st.tuples(st.just("wait"), st.floats(0.1, 8)),
)


class Client:
    """What a client knows: its mirror, which events it has had, and how to come back."""

    def __init__(self, parts: Parts, number: int) -> None:
        self._parts = parts
        self._number = number
        self.roster = voicebot.Roster()
        self.token = ""
        self.replays = 0
        self.snapshots = 0
        self.line: Line | None = None
        self._fresh_token = ""

    async def connect(self) -> None:
        self.line = self._parts.connect()
        await trio.testing.wait_all_tasks_blocked()
        (welcome,) = self.line.take(1)
        assert isinstance(welcome.message, Welcome)
        self._fresh_token = welcome.message.resume_token
        self.token = self.token or self._fresh_token

    async def resume(self) -> None:
        await self.connect()
        assert self.line is not None
        self.line.say(
            Resume(
                resume_token=self.token,
                participant_id=self.roster.participant_id,
                last_seq=self.roster.seq,
            )
        )
        await trio.testing.wait_all_tasks_blocked()

    async def join(self, lobby: str) -> None:
        assert self.line is not None
        self.line.say(Join(lobby=lobby, name=f"client {self._number}"))
        await trio.testing.wait_all_tasks_blocked()

    def cut(self, share: float) -> None:
        assert self.line is not None
        self.take(round(share * len(self.line.socket.sent)))
        self.line.socket.lose()
        self.line = None

    def take(self, count: int | None = None) -> None:
        assert self.line is not None
        for frame in self.line.take(count):
            self._apply(frame)

    def _apply(self, frame: ServerFrame) -> None:
        message = frame.message
        if frame.seq is not None:
            # The whole point: the next one, neither an earlier nor a later one.
            assert self.roster.seq is not None
            assert frame.seq == self.roster.seq + 1, frame
        if isinstance(message, Resumed):
            self.replays += message.replayed
            self.snapshots += not message.replayed
        elif isinstance(message, ErrorReply):
            # It was away for too long: it is somebody new, in no lobby.
            assert message.code == ErrorCode.RESUME_FAILED, message
            self.token = self._fresh_token
            self.roster.apply(Left())
        else:
            assert (
                isinstance(message, Joined) or frame.re is None or message.type in {"chat_sent", "name_set"}
            )
        assert self.roster.apply(message, frame.seq)


def members(people: dict[str, Participant]) -> list[Participant]:
    return sorted(people.values(), key=lambda one: one.participant_id)


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_no_event_is_lost_and_none_comes_twice(steps) -> None:
    async def run() -> None:
        # Some six events: the buffer is often too small.
        async with open_parts(resume_seconds=20, replay_seconds=10, replay_characters=1500) as parts:
            clients = [Client(parts, number) for number in range(CLIENTS)]
            for one in clients:
                await one.connect()
                await one.join(LOBBIES[0])
            for step, *arguments in steps:
                await perform(parts, clients, step, arguments)
            for one in clients:
                if one.line is None:
                    await one.resume()
                one.take()
                if one.roster.lobby is None:
                    await one.join(LOBBIES[0])
            for one in clients:
                one.take()
                assert one.roster.lobby is not None
                lobby = parts.lobbies.find(one.roster.lobby)
                assert lobby is not None
                here = lobby.participants[one.roster.participant_id]
                truth = lobby.snapshot(here)
                assert one.roster.seq == truth.seq
                assert members(one.roster.participants) == members(
                    {each.participant_id: each for each in truth.participants}
                )

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0.001))


async def perform(parts: Parts, clients: list[Client], step: str, arguments: list) -> None:
    if step == "wait":
        await trio.sleep(arguments[0])
        return
    one = clients[arguments[0]]
    if step == "resume":
        if one.line is None:
            await one.resume()
        return
    if one.line is None:
        return
    if step == "take":
        one.take()
    elif step == "cut":
        one.cut(arguments[1])
        await trio.testing.wait_all_tasks_blocked()
    elif step == "move":
        await one.join(arguments[1])
    else:
        for session in parts.sessions:
            membership = session.membership
            if membership is not None and membership.participant.participant_id == one.roster.participant_id:
                if step == "chat":
                    membership.lobby.say(membership.participant, "hello")
                else:
                    session.rename(f"{membership.participant.name[:20]}+")


async def test_what_a_client_missed_is_replayed_and_what_is_too_old_is_shown_anew(autojump_clock) -> None:
    async with open_parts(resume_seconds=600, replay_seconds=10) as parts:
        ada, grace = Client(parts, 1), Client(parts, 2)
        for one in (ada, grace):
            await one.connect()
            await one.join("garden")
            one.take()
        ada.take()
        for pause, replays in ((5, 1), (11, 1), (9, 2)):
            ada.cut(1)
            await trio.testing.wait_all_tasks_blocked()
            await perform(parts, [grace], "chat", [0])
            grace.take()
            await trio.sleep(pause)
            await ada.resume()
            ada.take()
            assert ada.replays == replays
            assert ada.roster.seq == grace.roster.seq
        assert ada.snapshots == 1


async def test_numbers_of_another_lobby_mean_nothing(autojump_clock) -> None:
    """The reply to a `join` is lost; the number of the last event happens to be one of the new lobby as well."""
    async with open_parts() as parts:
        ada, grace, eve = (Client(parts, number) for number in range(3))
        for one, lobby in ((ada, "garden"), (grace, "garden"), (eve, "hall")):
            await one.connect()
            await one.join(lobby)
            one.take()
        for _ in range(3):
            await perform(parts, [grace], "chat", [0])
        ada.take()
        await ada.join("hall")
        ada.cut(0)
        for _ in range(4):
            await perform(parts, [eve], "chat", [0])
        hall = parts.lobbies.find("hall")
        assert hall is not None
        (here,) = [each for each in hall.participants.values() if each.name == "client 0"]
        assert ada.roster.seq is not None
        assert here.entered_seq <= ada.roster.seq <= hall.snapshot(here).seq
        await ada.resume()
        ada.take()
        assert (ada.replays, ada.snapshots, ada.roster.lobby) == (0, 1, "hall")
