"""Companies (tenants): made, limited, disabled and deleted by the administrator; a company may look at itself."""

from fastapi import APIRouter, Response, status
from pydantic import AwareDatetime, Field, StrictBool

from signaling.api.caller import Admin, Caller, Tenant
from signaling.api.errors import not_found
from signaling.api.fields import CompanyId, KeyId, Request, View
from signaling.api.paging import DEFAULT_LIMIT, After, Limit, page_of
from signaling.auth import Company, CompanyLimits
from signaling.messages.model import Name
from signaling.moderation import Moderation

router = APIRouter(prefix="/api/companies", tags=["companies"])


class NewCompany(Request):
    """A company to be made."""

    name: Name = Field(examples=["Example Ltd."])
    limits: CompanyLimits = Field(default=CompanyLimits(), description="what is left out has its default")


class CompanyChange(Request):
    """What is to be different; what is left out stays."""

    enabled: StrictBool | None = Field(
        default=None,
        description="false: its keys and tokens are refused; what it has open goes on",
    )
    limits: CompanyLimits | None = Field(
        default=None,
        description="all of its limits: what is left out in here gets its default; nothing it has is taken away",
    )


class UsageView(View):
    """What a company has now, and has done since the server started."""

    sessions: int
    lobbies: int
    participants: int
    bots: int
    messages: int = Field(description="requests over WebSockets")
    refused: dict[str, int] = Field(description="limit → how often it was met")


class CompanyView(View):
    """A company. Its keys are told by their ids only."""

    company_id: str
    name: str
    created_at: AwareDatetime
    enabled: bool
    limits: CompanyLimits
    key_ids: list[str] = Field(description="oldest first")
    usage: UsageView


class CreatedCompany(CompanyView):
    """A company with its first API key."""

    api_key: str = Field(description="shown this once: the server keeps a digest only")


class NewKey(View):
    """One more API key."""

    api_key: str = Field(description="shown this once: the server keeps a digest only")
    key_id: str


class CompanyPage(View):
    """Companies in the order of their ids."""

    companies: list[CompanyView]
    next: str | None = Field(description="the next page's `after`; null: this was the last")


@router.get("", summary="List companies")
async def listed(who: Admin, after: After = "", limit: Limit = DEFAULT_LIMIT) -> CompanyPage:
    """All of them."""
    page, following = page_of(who.service.access.companies.listed(), _id_of, after=after, limit=limit)
    return CompanyPage(companies=[_view(who, company) for company in page], next=following)


@router.post("", status_code=status.HTTP_201_CREATED, summary="Make a company")
async def create(who: Admin, new: NewCompany, response: Response) -> CreatedCompany:
    """It is in the database when this is answered."""
    limits = new.limits.model_dump(exclude_unset=True)
    company, api_key = await who.service.access.companies.create(new.name, limits)
    await who.record("company.create", company.company_id, {"name": company.name, "limits": limits})
    response.headers["Location"] = f"{router.prefix}/{company.company_id}"
    return CreatedCompany(**dict(_view(who, company)), api_key=api_key)


@router.get("/{company_id}", summary="Look at a company")
async def inspect(who: Tenant, company_id: CompanyId) -> CompanyView:
    """A company may look at itself: its limits, and how near it is to them."""
    if not who.sees(company_id):
        raise not_found("company")
    return _view(who, _find(who, company_id))


@router.patch("/{company_id}", summary="Limit, disable or enable a company")
async def change(who: Admin, company_id: CompanyId, change: CompanyChange) -> CompanyView:
    """It holds at once, even when the database does not answer (503): then ask again, for it may be forgotten by a restart."""
    _find(who, company_id)
    companies = who.service.access.companies
    limits = None if change.limits is None else change.limits.model_dump(exclude_unset=True)
    try:
        if limits is not None:
            await companies.set_limits(company_id, limits)
        if change.enabled is not None:
            await companies.set_enabled(company_id, enabled=change.enabled)
    finally:
        await who.record("company.update", company_id, {"enabled": change.enabled, "limits": limits})
    return _view(who, _find(who, company_id))


@router.delete(
    "/{company_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a company and all it has",
    response_class=Response,
)
async def delete(who: Admin, company_id: CompanyId) -> None:
    """Its sessions end, its lobbies are closed, its protected names are free, its keys and tokens are refused."""
    service = who.service
    company = service.access.companies.find(company_id)
    if company is None:
        # An earlier attempt may have got no further than memory.
        await service.access.companies.delete(company_id)
        raise not_found("company")
    try:
        # Disabled first, so that nothing of it begins while the rest ends.
        await service.access.companies.set_enabled(company_id, enabled=False)
        moderation = Moderation(lobbies=service.lobbies, sessions=service.sessions)
        await moderation.close_company(company_id)
        await service.access.names.clear_company(company_id)
        await service.access.companies.delete(company_id)
    finally:
        await who.record("company.delete", company_id, {"name": company.name})


@router.post(
    "/{company_id}/keys", status_code=status.HTTP_201_CREATED, summary="Give a company one more API key"
)
async def rotate(who: Admin, company_id: CompanyId) -> NewKey:
    """The former ones work until they are revoked. A company has five at most."""
    api_key = await who.service.access.companies.rotate(company_id)
    key_id = _find(who, company_id).key_ids[-1]
    await who.record("company.rotate_key", company_id, {"key": key_id})
    return NewKey(api_key=api_key, key_id=key_id)


@router.delete(
    "/{company_id}/keys/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke an API key",
    response_class=Response,
)
async def revoke(who: Admin, company_id: CompanyId, key_id: KeyId) -> None:
    """It is worth nothing from now on."""
    if key_id not in _find(who, company_id).key_ids:
        raise not_found("API key of this company")
    try:
        await who.service.access.companies.revoke(company_id, key_id)
    finally:
        await who.record("company.revoke_key", company_id, {"key": key_id})


def _find(who: Caller, company_id: str) -> Company:
    company = who.service.access.companies.find(company_id)
    if company is None:
        raise not_found("company")
    return company


def _view(who: Caller, company: Company) -> CompanyView:
    usage = who.service.access.companies.usage.of(company.company_id)
    held = {resource.name: number for resource, number in usage.held.items()}
    return CompanyView(
        company_id=company.company_id,
        name=company.name,
        created_at=company.created_at,
        enabled=company.enabled,
        limits=company.limits,
        key_ids=list(company.key_ids),
        usage=UsageView(
            sessions=held["SESSION"],
            lobbies=held["LOBBY"],
            participants=held["PARTICIPANT"],
            bots=held["BOT"],
            messages=usage.messages,
            refused=dict(usage.refused),
        ),
    )


def _id_of(company: Company) -> str:
    return company.company_id
