"""Who asks, and what they may: the dependencies with which every route says whom it serves.

``Anybody`` needs no credential, ``Tenant`` is a company (by its API key) or the administrator, ``Admin`` the latter
only. A company sees what is its own; all else is for it as if it were not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.openapi.models import HTTPBase, HTTPBearer
from fastapi.security.base import SecurityBase

from signaling.api.errors import ApiError
from signaling.auth import Company
from signaling.auth.api_keys import PREFIX
from signaling.problem_codes import ProblemCode
from signaling.report import Service

#: Where ``entry.py`` puts a request's ``Call`` in the ASGI scope.
CALL = "relay.call"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as ``entry.py`` has seen it."""

    service: Service
    #: Of the client, as trusted proxies say.
    address: str
    #: By name in lower case; what came in several lines is joined with commas.
    headers: Mapping[str, str]
    correlation_id: str
    #: The one whose API key came with it.
    company: Company | None


class Role(Enum):
    """What kind of caller it is."""

    ANONYMOUS = "anonymous"
    COMPANY = "company"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in the name of whom."""

    service: Service
    role: Role
    #: What the audit log calls them.
    actor: str
    #: Empty: of none.
    company_id: str
    address: str
    correlation_id: str

    @property
    def is_admin(self) -> bool:
        """Whether it is the administrator, who sees and may do everything."""
        return self.role is Role.ADMIN

    def sees(self, company_id: str) -> bool:
        """Tell whether what belongs to this company is for the caller to know of."""
        return self.is_admin or (self.role is Role.COMPANY and company_id == self.company_id)

    def speaks_for(self, company_id: str | None) -> str:
        """Return the company in whose name to act: a company's own, or the one that the administrator names.

        Raises: ApiError when a company names another one, or the administrator one that is not there.
        """
        if not self.is_admin:
            if company_id not in {None, self.company_id}:
                raise ApiError(
                    ProblemCode.FORBIDDEN, "a company acts in its own name only", field="company_id"
                )
            return self.company_id
        if company_id and self.service.access.companies.find(company_id) is None:
            raise ApiError(ProblemCode.COMPANY_UNKNOWN, "there is no company of this id", field="company_id")
        return company_id or ""

    async def record(self, action: str, target: str, detail: Mapping[str, Any] | None = None) -> None:
        """Note in the audit log what the caller did."""
        await self.service.access.audit.record(self.actor, action, target, detail, self.correlation_id)


class _Documented(SecurityBase):
    """A way to prove who one is, for the documentation; what came is looked at by ``entry.py`` and below."""

    def __init__(self, name: str, model: HTTPBase) -> None:
        self.scheme_name = name
        self.model = model

    async def __call__(self) -> None:
        return None


COMPANY_KEY = _Documented(
    "companyKey", HTTPBearer(bearerFormat="tr_...", description="The API key of a company.")
)
ADMIN_TOKEN = _Documented(
    "adminToken", HTTPBearer(description="The administrator's token (`RELAY_ADMIN_TOKEN`).")
)
ADMIN_PASSWORD = _Documented(
    "adminPassword",
    HTTPBase(scheme="basic", description="User `admin`, with the administrator's token as its password."),
)


def call_of(request: Request) -> Call:
    """Return what ``entry.py`` knows of a request."""
    call: Call = request.scope[CALL]
    return call


async def anybody(request: Request, _key: Annotated[None, Security(COMPANY_KEY)]) -> Caller:
    """Return the caller, who need not say who it is; a credential that is wrong is refused all the same."""
    call = call_of(request)
    if "authorization" in call.headers:
        return _tenant(call)
    return _caller(call, Role.ANONYMOUS, f"anonymous@{call.address}")


async def tenant(
    request: Request,
    _key: Annotated[None, Security(COMPANY_KEY)],
    _token: Annotated[None, Security(ADMIN_TOKEN)],
    _password: Annotated[None, Security(ADMIN_PASSWORD)],
) -> Caller:
    """Return the company or the administrator who asks.

    Raises: ApiError, AdminDeniedError.
    """
    call = call_of(request)
    if "authorization" not in call.headers and not call.service.access.admin.is_open:
        raise ApiError(
            ProblemCode.UNAUTHORIZED,
            "this needs a company's API key or the administrator's token, and none was given",
        )
    return _tenant(call)


async def administrator(
    request: Request,
    _token: Annotated[None, Security(ADMIN_TOKEN)],
    _password: Annotated[None, Security(ADMIN_PASSWORD)],
) -> Caller:
    """Return the administrator who asks.

    Raises: ApiError, AdminDeniedError.
    """
    caller = _tenant(call_of(request))
    if not caller.is_admin:
        raise ApiError(ProblemCode.FORBIDDEN, "this is the administrator's; an API key is not enough")
    return caller


Anybody = Annotated[Caller, Depends(anybody)]
Tenant = Annotated[Caller, Depends(tenant)]
Admin = Annotated[Caller, Depends(administrator)]


def presented_key(headers: Mapping[str, str]) -> str | None:
    """Return the API key that came with a request, if what came looks like one."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    key = rest.strip()
    return key if scheme.lower() == "bearer" and key.startswith(PREFIX) else None


def _tenant(call: Call) -> Caller:
    if call.company is not None:
        company_id = call.company.company_id
        return _caller(call, Role.COMPANY, f"company {company_id}@{call.address}", company_id)
    if presented_key(call.headers) is not None:
        raise ApiError(ProblemCode.UNAUTHORIZED, "this API key is not known here, or its company is disabled")
    administrator = call.service.access.admin.admit(call.headers, call.address)
    return _caller(call, Role.ADMIN, administrator.actor)


def _caller(call: Call, role: Role, actor: str, company_id: str = "") -> Caller:
    return Caller(call.service, role, actor, company_id, call.address, call.correlation_id)
