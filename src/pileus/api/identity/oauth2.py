"""OAuth 2: the client credentials grant (RFC 6749, 4.4). The client is an application credential, the access token a token as any other."""

import base64
from urllib.parse import parse_qs, unquote_plus

from pileus import clock
from pileus.api.identity.auth import identify
from pileus.api.identity.documents import tokens_of
from pileus.api.identity.login_bodies import ApplicationCredentialMethod
from pileus.api.identity.login_methods import demand_enabled
from pileus.api.identity.login_scopes import find_scope
from pileus.api.identity.logins import by_application_credential
from pileus.api.identity.receipts import unless_enough
from pileus.api.request import Request, Response
from pileus.model.errors import TooLarge, Unauthorized

LONGEST = 16 << 10
"""Bytes of the form."""
NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def _error(status: int, error: str, words: str) -> Response:
    headers = {"WWW-Authenticate": 'Basic realm="Keystone"'} if status == 401 else {}
    return Response(status, {"error": error, "error_description": words}, {**NOT_KEPT, **headers})


async def create_access_token(request: Request) -> Response:
    """POST /v3/OS-OAUTH2/token."""
    request.notes["login"] = None  # for the audit log
    form = await _form(request)
    grant = form.get("grant_type")
    if grant is None:
        return _error(400, "invalid_request", "The parameter grant_type is required.")
    if grant != "client_credentials":
        return _error(400, "unsupported_grant_type", "Only the grant_type client_credentials is supported.")
    client, secret = _client(request, form)
    if not client or not secret:
        return _error(401, "invalid_client", "Client authentication failed.")
    try:
        login = await by_application_credential(request, ApplicationCredentialMethod(id=client, secret=secret))
        await demand_enabled(request, login.user)
        if await unless_enough(request, login) is not None:
            raise Unauthorized
        scope = await find_scope(request, login, None)
    except Unauthorized:
        return _error(401, "invalid_client", "Client authentication failed.")
    identity = await identify(request, login, scope)
    request.notes["login"] = identity
    seconds = max(0, int(identity.expires_at - clock.now()))
    document = {"access_token": tokens_of(request).issue(identity), "token_type": "Bearer", "expires_in": seconds}
    return Response(200, document, NOT_KEPT)


async def _form(request: Request) -> dict[str, str]:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > LONGEST:
            raise TooLarge(f"The form is longer than {LONGEST} bytes.")
    return {name: values[-1] for name, values in parse_qs(data.decode(errors="replace"), max_num_fields=100).items()}


def _client(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Who the client says it is: by the Authorization header, or in the form."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        name, _, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except ValueError:  # no base 64, or no UTF-8 in it
        return "", ""
    return unquote_plus(name), unquote_plus(secret)
