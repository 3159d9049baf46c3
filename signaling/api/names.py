"""Protected display names, set and cleared by the administrator. A name stands in the query: it may hold any character."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from pydantic import AwareDatetime, Field

from signaling.api.caller import Admin
from signaling.api.errors import not_found
from signaling.api.fields import CompanyName, Request, View
from signaling.api.paging import DEFAULT_LIMIT, Limit
from signaling.messages.model import MAX_NAME_LENGTH, Name, Password

#: Compatibility forms of Unicode may be eighteen times as long as what they stand for.
MAX_KEY_LENGTH = 18 * MAX_NAME_LENGTH

router = APIRouter(prefix="/api/admin/names", tags=["admin"])


class NewProtectedName(Request):
    """A name and the password that it needs from now on."""

    name: Name = Field(examples=["Ada"])
    password: Password
    company_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="in whose lobbies; null: in those of none"
    )


class ProtectedNameView(View):
    """A name that only who knows its password may use."""

    name: str
    company_id: str
    protected_at: AwareDatetime


class NamePage(View):
    """Protected names in the order in which they are compared: `ada` before `Bob`."""

    names: list[ProtectedNameView]
    next: str | None = Field(description="the next page's `after`; null: this was the last")


@router.get("", summary="List protected names")
async def listed(
    who: Admin,
    company_id: CompanyName = "",
    after: Annotated[str, Query(max_length=MAX_KEY_LENGTH, description="`next` of the page before")] = "",
    limit: Limit = DEFAULT_LIMIT,
) -> NamePage:
    """Of one company, or of none."""
    page, following = who.service.access.names.page(company_id, after=after, limit=limit)
    return NamePage(
        names=[
            ProtectedNameView(name=each.name, company_id=each.company_id, protected_at=each.protected_at)
            for each in page
        ],
        next=following,
    )


@router.put("", summary="Protect a name, or change its password")
async def protect(who: Admin, new: NewProtectedName) -> ProtectedNameView:
    """Who uses it already keeps it until they join again, or until its owner comes."""
    company_id = who.speaks_for(new.company_id)
    kept = await who.service.access.names.protect(new.name, new.password, company_id=company_id)
    await who.record("name.protect", kept.name, {"company_id": company_id})
    return ProtectedNameView(name=kept.name, company_id=kept.company_id, protected_at=kept.protected_at)


@router.delete(
    "",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Free a protected name",
    response_class=Response,
)
async def clear(
    who: Admin,
    name: Annotated[str, Query(min_length=1, max_length=MAX_NAME_LENGTH)],
    company_id: CompanyName = "",
) -> None:
    """Anybody may use it from now on."""
    found = await who.service.access.names.clear(name, company_id=company_id)
    await who.record("name.clear", name, {"company_id": company_id, "found": found})
    if not found:
        raise not_found("protected name")
