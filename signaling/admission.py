"""Who may enter which lobby under which name: join tokens, lobby passwords, protected names, bot tickets.

Comparing a password takes a while, so this is asked before the step in which a session joins. What can change meanwhile
is looked at again in that step (``Gate.confirm``); the name is checked last, and its verdict holds until the next
checkpoint.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from signaling.auth.errors import AuthError
from signaling.auth.grants import Grants
from signaling.auth.guarded_passwords import GuardedPasswords
from signaling.auth.names import NameVerdict, ProtectedNames
from signaling.auth.tokens import Tokens
from signaling.lobbies import ON_DEMAND, Lobbies, LobbyOptions
from signaling.messages import ErrorCode
from signaling.request_error import RequestError


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Somebody wants to enter a lobby."""

    session_id: str
    #: What the session may do without a token; its company is the only one whose tokens it may use, if it has one.
    session_grants: Grants
    lobby: str
    name: str
    is_bot: bool = False
    password: str | None = None
    token: str | None = None
    bot_ticket: str | None = None
    name_password: str | None = None
    #: Address that guesses at passwords are counted with.
    client: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """They may, with these grants."""

    lobby: str
    grants: Grants
    is_bot: bool = False
    #: The name is protected and theirs: whoever else uses it in the lobby must go.
    owns_name: bool = False
    #: How to make the lobby if it is not there, or not any more.
    opening: LobbyOptions = ON_DEMAND
    #: No password was needed: a token is as good.
    by_token: bool = False

    @property
    def company_id(self) -> str:
        """Whose lobby is meant."""
        return self.grants.company_id


class Gate(Protocol):
    """What a connection asks before its session joins or takes another name."""

    async def admit(self, request: JoinRequest) -> Admission:
        """Return how the lobby may be entered.

        Raises: RequestError.
        """

    async def admit_name(self, name: str, password: str | None, *, grants: Grants, client: str) -> bool:
        """Return if the name may be used; tell whether it is protected and theirs.

        Raises: RequestError.
        """

    def confirm(self, admission: Admission) -> None:
        """Return if the admission still holds; called in the step that acts on it.

        Raises: RequestError.
        """


class Tickets(Protocol):
    """Knows the tickets of bots that were asked to come."""

    def redeem(self, request: JoinRequest) -> Grants:
        """Return what the bot with this ticket may do.

        Raises: RequestError, or an AuthError.
        """


class LobbyGate:
    """The gate of a server with names, passwords and tokens."""

    def __init__(
        self,
        *,
        lobbies: Lobbies,
        names: ProtectedNames,
        passwords: GuardedPasswords,
        tokens: Tokens,
        tickets: Tickets | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lobbies = lobbies
        self._names = names
        self._passwords = passwords
        self._tokens = tokens
        self._tickets = tickets
        self._clock = clock

    async def admit(self, request: JoinRequest) -> Admission:
        """See ``Gate``."""
        try:
            grants = self._grants(request)
            grants.require_lobby(request.lobby, self._clock())
            by_token = request.token is not None or request.bot_ticket is not None
            opening = await self._admit_lobby(request, grants.company_id, by_token=by_token)
        except AuthError as error:
            raise refusal(error) from None
        owns_name = await self.admit_name(
            request.name, request.name_password, grants=grants, client=request.client
        )
        return Admission(
            lobby=request.lobby,
            grants=grants,
            is_bot=request.is_bot or grants.is_bot,
            owns_name=owns_name,
            opening=opening,
            by_token=by_token,
        )

    async def admit_name(self, name: str, password: str | None, *, grants: Grants, client: str) -> bool:
        """See ``Gate``."""
        try:
            grants.require_name(name)
            verdict = await self._names.check(name, password, client=client, company_id=grants.company_id)
        except AuthError as error:
            raise refusal(
                error, field="name_password" if error.field == "password" else error.field
            ) from None
        if verdict is NameVerdict.PASSWORD_REQUIRED:
            text = "this name is protected: send its `name_password`, or take another name"
            raise RequestError(ErrorCode.NAME_PROTECTED, text, field="name")
        if verdict is NameVerdict.WRONG:
            text = "this is not the password of this name"
            raise RequestError(ErrorCode.WRONG_PASSWORD, text, field="name_password")
        return verdict.takes_over

    def confirm(self, admission: Admission) -> None:
        """See ``Gate``."""
        lobby = self._lobbies.find(admission.lobby, admission.company_id)
        if lobby is None or not lobby.record.private or admission.by_token:
            return
        if lobby.record.password_hash is None:
            raise _private()
        if lobby.record.password_hash != admission.opening.password_hash:
            text = "the password of this lobby was changed a moment ago: join again"
            raise RequestError(ErrorCode.WRONG_PASSWORD, text, field="password")

    def _grants(self, request: JoinRequest) -> Grants:
        company_id = request.session_grants.company_id
        if request.bot_ticket is not None:
            if self._tickets is None:
                text = "no bot was asked to come with this ticket"
                raise RequestError(ErrorCode.TOKEN_INVALID, text, field="bot_ticket")
            return self._tickets.redeem(request)
        if request.token is None:
            return request.session_grants
        grants = self._tokens.verify(request.token, self._clock())
        if company_id and grants.company_id != company_id:
            text = "the join token is of another company than this session"
            raise RequestError(ErrorCode.FORBIDDEN, text, field="token")
        return grants

    async def _admit_lobby(self, request: JoinRequest, company_id: str, *, by_token: bool) -> LobbyOptions:
        """Make sure that the lobby may be entered, and is ready to be; return how to make it should it not be there."""
        lobby = self._lobbies.find(request.lobby, company_id)
        if lobby is None:
            if request.password is None:
                return ON_DEMAND
            # Who brings a password to a lobby that is not there makes it a private one.
            made = await self._passwords.passwords.hash(request.password)
            return LobbyOptions(private=True, password_hash=made)
        await lobby.chat.recall_if_possible()
        record = lobby.record
        opening = LobbyOptions(record.private, record.password_hash, record.capacity)
        if not record.private or by_token:
            return opening
        if record.password_hash is None:
            raise _private()
        if request.password is None:
            text = "this lobby is private: send its `password`, or a join `token`"
            raise RequestError(ErrorCode.PASSWORD_REQUIRED, text, field="password")
        verification = await self._passwords.verify(
            ("lobby", record.lobby_id), record.password_hash, request.password, client=request.client
        )
        if not verification.right:
            text = "this is not the password of this lobby"
            raise RequestError(ErrorCode.WRONG_PASSWORD, text, field="password")
        return opening


def refusal(error: AuthError, *, field: str | None = None) -> RequestError:
    """Return what a client is told of an error of the auth package."""
    known = {code.value for code in ErrorCode}
    code = error.code if error.code in known else ErrorCode.FORBIDDEN
    return RequestError(code, str(error), field=field or error.field)


def _private() -> RequestError:
    text = "this lobby is private and has no password: it takes a join `token`"
    return RequestError(ErrorCode.LOBBY_PRIVATE, text, field="lobby")
