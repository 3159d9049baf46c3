"""Who may do what: join tokens, protected names, companies with API keys and limits, the administrator, the audit log.

Everything here is a part to be put together by whoever composes the service; nothing starts a task or opens a file.
"""

from signaling.auth.admin import CHALLENGE, AdminGate, Administrator, AdminTokenError
from signaling.auth.allowances import Allowance, Allowances, Rate
from signaling.auth.api_limits import ApiDecision, ApiLimits
from signaling.auth.audit import AuditLog
from signaling.auth.client_address import attempts_key, came_through_proxy, is_loopback
from signaling.auth.companies import Companies, Company
from signaling.auth.company_limits import CompanyLimits
from signaling.auth.company_usage import CompanyUsage, Resource, Usage
from signaling.auth.errors import (
    AdminDeniedError,
    AuthError,
    CompanyError,
    CompanyLimitError,
    NameRefusedError,
    PasswordFormatError,
    PasswordsBusyError,
    PermissionDeniedError,
    TokenError,
    TooManyAttemptsError,
)
from signaling.auth.grants import Grants
from signaling.auth.guarded_passwords import GuardedPasswords
from signaling.auth.name_key import name_key
from signaling.auth.names import NameVerdict, ProtectedName, ProtectedNames
from signaling.auth.passwords import PasswordParameters, Passwords, PasswordStatistics, Verification
from signaling.auth.token_key import TokenKey, TokenKeyError, key_from_pem, key_from_secret, load_token_key
from signaling.auth.tokens import Tokens

__all__ = [
    "CHALLENGE",
    "AdminDeniedError",
    "AdminGate",
    "AdminTokenError",
    "Administrator",
    "Allowance",
    "Allowances",
    "ApiDecision",
    "ApiLimits",
    "AuditLog",
    "AuthError",
    "Companies",
    "Company",
    "CompanyError",
    "CompanyLimitError",
    "CompanyLimits",
    "CompanyUsage",
    "Grants",
    "GuardedPasswords",
    "NameRefusedError",
    "NameVerdict",
    "PasswordFormatError",
    "PasswordParameters",
    "PasswordStatistics",
    "Passwords",
    "PasswordsBusyError",
    "PermissionDeniedError",
    "ProtectedName",
    "ProtectedNames",
    "Rate",
    "Resource",
    "TokenError",
    "TokenKey",
    "TokenKeyError",
    "Tokens",
    "TooManyAttemptsError",
    "Usage",
    "Verification",
    "attempts_key",
    "came_through_proxy",
    "is_loopback",
    "key_from_pem",
    "key_from_secret",
    "load_token_key",
    "name_key",
]
