"""The chat of a lobby, read by a company's backend or the administrator. Writing is for those who are in it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from signaling.api.caller import Tenant
from signaling.api.fields import LobbyId, View
from signaling.api.lobbies import find_lobby
from signaling.api.paging import DEFAULT_LIMIT, Limit
from signaling.messages import ChatMessage
from signaling.messages.model import MAX_REQUEST_ID

router = APIRouter(prefix="/api/lobbies", tags=["lobbies"])

Before = Annotated[
    int | None,
    Query(ge=1, le=MAX_REQUEST_ID, description="lines with lower numbers only; the newest without it"),
]


class ChatPage(View):
    """Lines in ascending order."""

    lines: list[ChatMessage]
    more: bool = Field(description="there are older ones: ask with `before` the first one's `seq`")


@router.get("/{lobby_id}/chat", summary="Read the chat, the newest lines first")
async def history(
    who: Tenant, lobby_id: LobbyId, before: Before = None, limit: Limit = DEFAULT_LIMIT
) -> ChatPage:
    """Go back through it a page at a time."""
    page = await find_lobby(who, lobby_id).chat.page(before=before, limit=limit)
    return ChatPage(lines=list(page.lines), more=page.more)
