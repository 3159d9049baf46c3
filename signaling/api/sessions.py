"""Sessions: made for a client that connects later, looked at, ended."""

from fastapi import APIRouter, Response, status
from pydantic import AwareDatetime, Field

from signaling.api.caller import Anybody, Caller, Tenant
from signaling.api.errors import ApiError, not_found
from signaling.api.fields import ReasonQuery, SessionId, View
from signaling.api.paging import DEFAULT_LIMIT, After, Limit, page_of
from signaling.messages import MediaStateName
from signaling.moderation import Moderation
from signaling.problem_codes import ProblemCode
from signaling.request_head import WEBSOCKET_PATH
from signaling.session import Session

router = APIRouter(prefix="/api/sessions", tags=["sessions"])

#: Sessions for each WebSocket there may be: most wait for nobody, and whoever makes them needs no credential.
SESSIONS_PER_CONNECTION = 4


class NewSession(View):
    """A session that waits for its client. Who has the token is the client: hand it to nobody else."""

    session_id: str = Field(examples=["s-4fzTqTQ0c3k"])
    resume_token: str = Field(
        description="for `resume`, the client's first message; it is shown this once",
        examples=["pCsTv3w5cQ4kTkz9X0mCTAL5zpx6XqI1"],
    )
    resume_seconds: float = Field(description="the session ends if no client has come by then")
    websocket_path: str = Field(examples=["/ws"])


class SessionView(View):
    """A session, and where it is."""

    session_id: str
    company_id: str = Field(description="of its lobby, or that it was made for; empty: of none")
    created_at: AwareDatetime
    connected: bool = Field(description="whether a client is connected; else it waits to be resumed")
    media_state: MediaStateName
    lobby_id: str | None
    lobby: str | None
    participant_id: str | None
    name: str | None
    is_bot: bool


class SessionPage(View):
    """Sessions in the order of their ids."""

    sessions: list[SessionView]
    next: str | None = Field(description="the next page's `after`; null: this was the last")


@router.post("", status_code=status.HTTP_201_CREATED, summary="Make a session for a client to come")
async def create(who: Anybody) -> NewSession:
    """With an API key the session is the company's: its client enters the company's lobbies, and no others."""
    service = who.service
    if (refusal := service.drain.refusal()) is not None:
        raise ApiError(ProblemCode.DRAINING, refusal)
    if len(service.sessions) >= SESSIONS_PER_CONNECTION * service.settings.max_connections:
        raise ApiError(
            ProblemCode.AT_CAPACITY, "too many sessions wait for their clients: try again in a moment"
        )
    session, token = await service.sessions.open(company_id=who.company_id, waiting=True)
    return NewSession(
        session_id=session.session_id,
        resume_token=token,
        resume_seconds=service.sessions.resume_seconds,
        websocket_path=WEBSOCKET_PATH.decode(),
    )


@router.get("", summary="List sessions")
async def listed(who: Tenant, after: After = "", limit: Limit = DEFAULT_LIMIT) -> SessionPage:
    """All of them for the administrator, a company's own for a company."""
    seen = (session for session in who.service.sessions if session.alive and who.sees(session.belongs_to))
    page, following = page_of(seen, _id_of, after=after, limit=limit)
    return SessionPage(sessions=[view_of(session) for session in page], next=following)


@router.get("/{session_id}", summary="Look at a session")
async def inspect(who: Tenant, session_id: SessionId) -> SessionView:
    """Where it is, and whether its client is connected."""
    return view_of(find_session(who, session_id))


@router.delete(
    "/{session_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="End a session",
    response_class=Response,
)
async def end(who: Tenant, session_id: SessionId, reason: ReasonQuery = "") -> None:
    """Its client is told the reason and closed with 4010; the others in its lobby see it leave."""
    session = find_session(who, session_id)
    Moderation(lobbies=who.service.lobbies, sessions=who.service.sessions).kick_session(
        session.session_id, reason
    )
    await who.record("session.kick", session_id, {"reason": reason})


def find_session(who: Caller, session_id: str) -> Session:
    """Return a session that the caller may know of.

    Raises: ApiError.
    """
    session = who.service.sessions.get(session_id)
    if session is None or not who.sees(session.belongs_to):
        raise not_found("session")
    return session


def view_of(session: Session) -> SessionView:
    """Return a session as it is shown."""
    membership = session.membership
    participant = None if membership is None else membership.participant
    return SessionView(
        session_id=session.session_id,
        company_id=session.belongs_to,
        created_at=session.created_at,
        connected=session.attached,
        media_state=session.media.state,
        lobby_id=None if membership is None else membership.lobby.lobby_id,
        lobby=None if membership is None else membership.lobby.name,
        participant_id=None if participant is None else participant.participant_id,
        name=None if participant is None else participant.name,
        is_bot=participant is not None and participant.is_bot,
    )


def _id_of(session: Session) -> str:
    return session.session_id
