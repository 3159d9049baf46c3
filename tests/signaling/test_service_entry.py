"""Who may enter which lobby under which name, over real sockets: each refusal, and what those inside see of it."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
import trio
from offers import Section, make_offer
from running_server import running_server
from wire_client import Client, connected, in_lobby

from signaling.auth import Grants
from signaling.lobbies import LobbyOptions
from signaling.messages import (
    ChatSend,
    ChatSent,
    CloseCode,
    ErrorCode,
    Join,
    Joined,
    LobbyClosed,
    NameSet,
    Offer,
    ParticipantJoined,
    ParticipantLeft,
    Ping,
    Pong,
    PublishRequest,
    Removed,
    SetName,
)
from signaling.moderation import Moderation
from signaling.server import RunningServer

SECRET = "a-secret-for-tests-only-0123456789"
PASSWORD = "a good password"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


async def refused(client: Client, code: ErrorCode, field: str | None, message: Join | SetName) -> str:
    reply = await client.refused(message)
    assert (reply.code, reply.field) == (code, field), reply
    assert reply.correlation_id == client.welcome.correlation_id
    await client.expect(Ping(), Pong)
    return reply.error


async def private_lobby(server: RunningServer, password: str | None = PASSWORD, **more: object) -> None:
    made = None if password is None else await server.service.access.passwords.passwords.hash(password)
    await server.service.lobbies.create("vault", LobbyOptions(True, made, **more))


async def test_a_private_lobby_takes_its_password_and_nothing_else() -> None:
    async with running_server() as server, connected(server.url) as client:
        await private_lobby(server)
        join = Join(lobby="vault", name="Ada")
        await refused(client, ErrorCode.PASSWORD_REQUIRED, "password", join)
        wrong = join.model_copy(update={"password": "another password"})
        assert PASSWORD not in await refused(client, ErrorCode.WRONG_PASSWORD, "password", wrong)
        await client.join("vault", "Ada", password=PASSWORD)


async def test_who_brings_a_password_to_a_lobby_that_is_not_there_makes_it_private() -> None:
    async with running_server() as server, connected(server.url) as first, connected(server.url) as second:
        await first.join("den", "Ada", password=PASSWORD)
        await refused(second, ErrorCode.PASSWORD_REQUIRED, "password", Join(lobby="den", name="Eve"))
        await second.join("den", "Grace", password=PASSWORD)
        joined = await first.event(ParticipantJoined)
        assert joined.participant.name == "Grace"


async def test_guesses_at_a_password_are_limited() -> None:
    async with running_server() as server, connected(server.url) as client:
        await private_lobby(server)
        guess = Join(lobby="vault", name="Eve", password="a guess")
        codes = [(await client.refused(guess)).code for _ in range(25)]
        assert set(codes) == {ErrorCode.WRONG_PASSWORD, ErrorCode.RATE_LIMITED}
        assert codes[-1] == ErrorCode.RATE_LIMITED


async def test_a_private_lobby_without_password_takes_tokens_only() -> None:
    async with running_server(token_secret=SECRET) as server, connected(server.url) as client:
        await private_lobby(server, None)
        await refused(client, ErrorCode.LOBBY_PRIVATE, "lobby", Join(lobby="vault", name="Ada"))
        grants = Grants(lobby="vault", expires_at=soon())
        token = server.service.access.tokens.issue(grants, now=datetime.now(UTC))
        await client.join("vault", "Ada", token=token)


async def test_a_full_lobby_says_so_and_has_room_again() -> None:
    async with running_server() as server, connected(server.url) as client:
        await server.service.lobbies.create("pair", LobbyOptions(capacity=1, persistent=True))
        async with in_lobby(server.url, "pair", "Grace") as grace:
            error = await refused(client, ErrorCode.LOBBY_FULL, "lobby", Join(lobby="pair", name="Ada"))
            assert "1" in error
            await grace.socket.aclose()
        with trio.fail_after(10):
            while server.service.lobbies.participant_count:
                await trio.lowlevel.checkpoint()
        await client.join("pair", "Ada")


async def test_a_protected_name_needs_its_password_and_is_taken_over_with_it() -> None:
    async with running_server() as server:
        await server.service.access.names.protect("Ada", PASSWORD)
        async with connected(server.url) as eve, in_lobby(server.url, name="Grace") as grace:
            for name in ("Ada", "ADA", "\u0410da", "A\u200bda"):
                await refused(eve, ErrorCode.NAME_PROTECTED, "name", Join(lobby="garden", name=name))
            wrong = Join(lobby="garden", name="Ada", name_password="a guess")
            await refused(eve, ErrorCode.WRONG_PASSWORD, "name_password", wrong)
            await eve.join(name="Eve")
            await refused(eve, ErrorCode.NAME_PROTECTED, "name", SetName(name="Ada"))
            async with connected(server.url) as stale, connected(server.url) as fresh:
                await stale.join(name="Ada", name_password=PASSWORD)
                await fresh.join(name="Ada", name_password=PASSWORD)
                assert (await stale.until(Removed)).reason == "name_taken_over"
                code, _, _ = await stale.closed()
                assert code == CloseCode.SESSION_ENDED
                assert (await grace.until(ParticipantLeft)).reason == "name_taken_over"
            async with connected(server.url) as again:
                # Its client must not take the name back by itself.
                reply = await again.resume(stale.welcome.resume_token)
                assert (reply.code, reply.field) == (ErrorCode.SESSION_ENDED, "resume_token")


async def test_a_name_may_be_set_with_its_password() -> None:
    async with running_server() as server, in_lobby(server.url, name="Somebody") as client:
        await server.service.access.names.protect("Ada", PASSWORD)
        assert (await client.expect(SetName(name="Ada", name_password=PASSWORD), NameSet)).name == "Ada"


def forged(**claims: object) -> str:
    return jwt.encode({"exp": soon().timestamp(), **claims}, "another-secret-of-32-bytes-or-more", "HS256")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("nonsense", ErrorCode.TOKEN_INVALID),
        (forged(), ErrorCode.TOKEN_INVALID),
        (jwt.encode({"exp": 4e9}, "", "none"), ErrorCode.TOKEN_INVALID),
        (jwt.encode({"exp": 1e9}, SECRET, "HS256"), ErrorCode.TOKEN_EXPIRED),
        (jwt.encode({"exp": 4e9, "nbf": 3.9e9}, SECRET, "HS256"), ErrorCode.TOKEN_INVALID),
        (jwt.encode({"exp": 4e9, "lobby": "elsewhere"}, SECRET, "HS256"), ErrorCode.FORBIDDEN),
        (jwt.encode({"exp": 4e9, "name": "Grace"}, SECRET, "HS256"), ErrorCode.FORBIDDEN),
        (jwt.encode({"exp": 4e9, "company": "co-nobody"}, SECRET, "HS256"), ErrorCode.TOKEN_INVALID),
    ],
)
async def test_a_token_that_will_not_do_says_why(token: str, code: ErrorCode) -> None:
    async with running_server(token_secret=SECRET) as server, connected(server.url) as client:
        reply = await client.refused(Join(lobby="garden", name="Ada", token=token))
        assert reply.code == code, reply
        await client.join(name="Ada")


async def test_a_token_says_what_its_bearer_may_do() -> None:
    async with running_server(token_secret=SECRET) as server, connected(server.url) as client:
        token = jwt.encode({"exp": 4e9, "can_publish": False, "can_chat": False}, SECRET, "HS256")
        await client.join(name="Ada", token=token)
        reply = await client.refused(ChatSend(text="hello"))
        assert reply.code == ErrorCode.FORBIDDEN
        offer = Offer(
            sdp=make_offer(Section("0"), identity="ada"),
            publish=(PublishRequest(mid="0", source="microphone"),),
        )
        reply = await client.request(offer)
        refusals = [reply.code] if hasattr(reply, "code") else [one.code for one in reply.refused]
        assert refusals == [ErrorCode.FORBIDDEN]


async def test_a_company_s_limit_is_told_and_strangers_never_meet() -> None:
    async with running_server(token_secret=SECRET) as server:
        access = server.service.access
        company, _ = await access.companies.create("Example Ltd.", {"max_participants": 1})
        grants = Grants(company_id=company.company_id, expires_at=soon())
        token = access.tokens.issue(grants, now=datetime.now(UTC))
        async with (
            in_lobby(server.url, "garden", "Public") as public,
            connected(server.url) as first,
            connected(server.url) as second,
        ):
            joined = await first.join("garden", "Ada", token=token)
            assert [one.name for one in joined.participants] == ["Ada"]
            reply = await second.refused(Join(lobby="garden", name="Grace", token=token))
            assert reply.code == ErrorCode.COMPANY_LIMIT
            assert "max_participants" in reply.error
            await first.expect(ChatSend(text="a secret"), ChatSent)
            await public.expect(Ping(), Pong)
            assert not public.events


async def test_an_administrator_s_kick_ends_the_session_and_says_why() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        async with in_lobby(server.url, name="Eve") as eve:
            lobby = server.service.lobbies.find("garden")
            assert lobby is not None
            moderation = Moderation(lobbies=server.service.lobbies, sessions=server.service.sessions)
            moderation.kick(lobby, eve.joined.participant_id, "be kind")
            removed = await eve.until(Removed)
            assert removed.reason == "kicked"
            assert "be kind" in removed.text
            code, _, _ = await eve.closed()
            assert code == CloseCode.SESSION_ENDED
        assert (await ada.until(ParticipantLeft)).reason == "kicked"


async def test_a_lobby_that_is_closed_tells_everybody_and_lets_them_go_elsewhere() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        lobby = server.service.lobbies.find("garden")
        assert lobby is not None
        await server.service.lobbies.close(lobby, "the party is over")
        assert (await ada.until(LobbyClosed)).reason == "the party is over"
        reply = await ada.refused(ChatSend(text="where are you?"))
        assert reply.code == ErrorCode.NOT_IN_LOBBY
        await ada.expect(Join(lobby="elsewhere", name="Ada"), Joined)
