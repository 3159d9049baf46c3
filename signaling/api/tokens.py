"""Join tokens, made by the server for companies (with their own id in it, always) and for the administrator."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, status
from pydantic import AwareDatetime, Field, StrictBool, StrictInt

from signaling.api.caller import Tenant
from signaling.api.fields import Request, View
from signaling.auth import Grants
from signaling.auth.tokens import Identity
from signaling.messages.model import WHOLE, LobbyName, Name

router = APIRouter(prefix="/api/tokens", tags=["tokens"])

#: A token cannot be called back: who needs more makes new ones.
MAX_SECONDS = 7 * 24 * 3600
DEFAULT_SECONDS = 600


class NewToken(Request):
    """What the token shall say; see `docs/auth.md`."""

    lobby: LobbyName | None = Field(
        default=None, description="the one lobby it is for; null: any of the company"
    )
    identity: Identity | None = Field(default=None, description="who this is", examples=["ada@example.org"])
    name: Name | None = Field(default=None, description="the one display name it is for; null: any")
    can_publish: StrictBool = True
    can_subscribe: StrictBool = True
    can_chat: StrictBool = True
    is_bot: StrictBool = False
    expires_in_seconds: Annotated[StrictInt, Field(ge=1, le=MAX_SECONDS), WHOLE] = DEFAULT_SECONDS
    company_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="whose lobbies are meant; for the administrator, a company makes its own"
    )


class TokenView(View):
    """A join token."""

    token: str = Field(description="for `join`; whoever has it may use it until it expires")
    expires_at: AwareDatetime


@router.post("", status_code=status.HTTP_201_CREATED, summary="Make a join token")
async def create(who: Tenant, new: NewToken) -> TokenView:
    """A company's token is for its own lobbies, whatever is asked for."""
    company_id = who.speaks_for(new.company_id)
    now = datetime.now(UTC)
    expires_at = (now + timedelta(seconds=new.expires_in_seconds)).replace(microsecond=0)
    # Of a token that would expire within this second nobody could make use.
    expires_at = max(expires_at, now.replace(microsecond=0) + timedelta(seconds=1))
    grants = Grants(
        lobby=new.lobby,
        identity=new.identity,
        can_publish=new.can_publish,
        can_subscribe=new.can_subscribe,
        can_chat=new.can_chat,
        is_bot=new.is_bot,
        company_id=company_id,
        expires_at=expires_at,
        name=new.name,
    )
    token = who.service.access.tokens.issue(grants, now=now)
    if who.is_admin:
        await who.record(
            "token.create",
            new.identity or "",
            {"lobby": new.lobby, "name": new.name, "company_id": company_id, "expires_at": expires_at},
        )
    return TokenView(token=token, expires_at=expires_at)
