"""Which URLs may be called at all. Names are resolved, and their addresses judged, when the connection is opened."""

import httpx

from signaling.address_policy import is_public
from signaling.outbound.errors import TargetRefusedError

MAX_URL_LENGTH = 2048


def check_url(url_untrusted: str, *, trusted: bool) -> httpx.URL:
    """Return the parsed URL; ``trusted`` says that it is the operator's own choice, so that private addresses are fine.

    Raises: TargetRefusedError.
    """
    if len(url_untrusted) > MAX_URL_LENGTH:
        raise TargetRefusedError(f"the URL is longer than {MAX_URL_LENGTH} characters")
    try:
        url = httpx.URL(url_untrusted)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise TargetRefusedError(f"not a URL: {error}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise TargetRefusedError("expected a URL that begins with http:// or https:// and names a host")
    if url.userinfo:
        raise TargetRefusedError("the URL must not contain a user name or password")
    if url.port == 0:
        raise TargetRefusedError("port 0 cannot be called")
    if not trusted and _is_private_literal(url.host):
        raise TargetRefusedError(
            f"{url.host} is not an address of the public Internet; private targets must be allowed by the operator"
        )
    return url.copy_with(fragment=None)


def origin_of(url: httpx.URL) -> str:
    """Return what may be told of a URL: the rest of it may be a secret."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _is_private_literal(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    digits = host.replace(".", "")
    looks_numeric = ":" in host or (digits.isascii() and digits.isdigit())
    return looks_numeric and not is_public(host)
