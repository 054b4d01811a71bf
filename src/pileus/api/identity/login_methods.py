"""The methods of a login by name, and how several together show one user."""

from collections.abc import Awaitable, Callable
from typing import Any

from pileus.api.identity.federated_logins import by_mapped
from pileus.api.identity.login_bodies import Methods
from pileus.api.identity.logins import Login, by_application_credential, by_password, by_token, demand_enabled
from pileus.api.identity.oauth1_login import by_oauth1
from pileus.api.identity.tokens import INVALID
from pileus.api.identity.totp_login import by_totp
from pileus.api.request import Request
from pileus.model.errors import Invalid, NotImplementedYet, Unauthorized

METHODS: dict[str, Callable[[Request, Any], Awaitable[Login]]] = {
    "password": lambda request, given: by_password(request, given.user),
    "token": lambda request, given: by_token(request, given.id),
    "application_credential": by_application_credential,
    "totp": lambda request, given: by_totp(request, given.user),
    "oauth1": by_oauth1,
    "mapped": by_mapped,
    "openid": by_mapped,
}
"""Name -> what looks at the method's own part of the body."""
KNOWN = frozenset(METHODS)
ABSENT = ("saml2",)


async def log_in(request: Request, given: Methods) -> Login:
    """Who it is; every method must show the same user, who is enabled, in a domain that is."""
    if not given.methods:
        raise Invalid("Invalid input: at least one method is needed - at `$.auth.identity.methods`", field="methods")
    login: Login | None = None
    for name in dict.fromkeys(given.methods):
        shown = await _method(request, name, given)
        if login is None:
            login = shown
            continue
        if login.user.id != shown.user.id or login.delegated or shown.delegated:
            raise Unauthorized(INVALID)
        login.methods += shown.methods
        login.latest = min(login.latest, shown.latest)
        login.chain = login.chain or shown.chain
        login.federation = login.federation or shown.federation
    assert login is not None
    await demand_enabled(request, login.user)
    return login


async def _method(request: Request, name: str, given: Methods) -> Login:
    if name in METHODS:
        part = getattr(given, name)
        if part is None:
            raise Invalid(f"Expecting to find {name} in identity. The server could not comply with the request.", field=name)
        return await METHODS[name](request, part)
    if name in ABSENT:
        raise NotImplementedYet(f"The authentication method {name} is not available; use one of {', '.join(METHODS)}.")
    raise Unauthorized("Attempted to authenticate with an unsupported method.")
