"""Who may do what, put together: the parts of ``signaling.auth`` for one server, from its settings and its store."""

from dataclasses import dataclass

from signaling.auth import (
    AdminGate,
    ApiLimits,
    AuditLog,
    Companies,
    GuardedPasswords,
    Passwords,
    ProtectedNames,
    TokenKey,
    Tokens,
    load_token_key,
)
from signaling.settings import Settings
from signaling.storage import Snapshot, Store


@dataclass(frozen=True, slots=True)
class Access:
    """See the module."""

    companies: Companies
    names: ProtectedNames
    passwords: GuardedPasswords
    tokens: Tokens
    admin: AdminGate
    audit: AuditLog
    api_limits: ApiLimits


def make_access(
    settings: Settings, *, store: Store, snapshot: Snapshot, token_key: TokenKey | None
) -> Access:
    """Return the parts, with what the store has kept of them.

    Raises: AdminTokenError.
    """
    companies = Companies(store=store, records=snapshot.companies)
    passwords = GuardedPasswords(Passwords())
    return Access(
        companies=companies,
        names=ProtectedNames(store=store, guarded=passwords, records=snapshot.names),
        passwords=passwords,
        tokens=Tokens(
            token_key,
            is_company=companies.is_enabled,
            leeway_seconds=settings.token_leeway_seconds,
            issuer=settings.token_issuer,
            audience=settings.token_audience,
        ),
        admin=admin_gate(settings),
        audit=AuditLog(store),
        api_limits=ApiLimits(per_minute=settings.api_requests_per_minute),
    )


def admin_gate(settings: Settings) -> AdminGate:
    """Return the gate of the admin interface.

    Raises: AdminTokenError.
    """
    token = settings.admin_token
    return AdminGate(
        token=None if token is None else token.get_secret_value(),
        listens_on=settings.host,
        development=settings.development,
    )


def token_key_of(settings: Settings) -> TokenKey | None:
    """Return the key of join tokens, if there is one. Blocks: it may be in a file.

    Raises: TokenKeyError.
    """
    secret = settings.token_secret
    return load_token_key(None if secret is None else secret.get_secret_value(), settings.token_key_file)
