"""What must be found out before some requests can be carried out in one step: passwords compared, old chat read.

A preparation is asynchronous and changes nothing. What it returns are further arguments of the handler, which runs
right after it, before the next checkpoint, and looks again at what may have changed while the preparation took its time.
One is an exception: ``play_clear`` is done here, for how much has been heard is known only a tick after it was asked for.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from signaling.admission import JoinRequest
from signaling.messages import ChatHistory, ClientMessage, ErrorCode, Join, PlayClear, Resume, SetName
from signaling.request_error import RequestError
from signaling.requester import Requester, membership_of
from signaling.storage import StoreUnavailableError


async def prepare(requester: Requester, message: ClientMessage) -> tuple[Any, ...]:
    """Return what the handler of this message needs besides it.

    Raises: RequestError.
    """
    return await PREPARATIONS[type(message)](requester, message)


async def _join(requester: Requester, message: Join) -> tuple[Any, ...]:
    request = JoinRequest(
        session_id=requester.session.session_id,
        session_grants=requester.session.grants,
        client=requester.client_address,
        **dict(message),
    )
    return (await requester.gate.admit(request),)


async def _set_name(requester: Requester, message: SetName) -> tuple[Any, ...]:
    grants = membership_of(requester).grants
    owns_name = await requester.gate.admit_name(
        message.name, message.name_password, grants=grants, client=requester.client_address
    )
    return (owns_name,)


async def _chat_history(requester: Requester, message: ChatHistory) -> tuple[Any, ...]:
    chat = membership_of(requester).lobby.chat
    try:
        return (await chat.page(before=message.before, limit=message.limit),)
    except StoreUnavailableError as error:
        text = f"older lines of chat cannot be read now: {error}"
        raise RequestError(ErrorCode.STORAGE_UNAVAILABLE, text) from None


async def _resume(requester: Requester, message: Resume) -> tuple[Any, ...]:
    session = requester.find(message.resume_token)
    if session is not None and session.membership is not None:
        await session.membership.lobby.chat.recall_if_possible()
    return ()


async def _play_clear(requester: Requester, _: PlayClear) -> tuple[Any, ...]:
    membership_of(requester)
    voices = requester.session.voices
    return ({} if voices is None else await voices.clear(),)


PREPARATIONS: dict[type[ClientMessage], Callable[[Requester, Any], Awaitable[tuple[Any, ...]]]] = {
    Resume: _resume,
    Join: _join,
    SetName: _set_name,
    ChatHistory: _chat_history,
    PlayClear: _play_clear,
}
