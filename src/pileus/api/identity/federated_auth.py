"""What a client of a federated user asks: a token of ours for one of its identity provider's."""

from pileus.api.identity.auth import identify
from pileus.api.identity.documents import tokens_of
from pileus.api.identity.federated_logins import by_bearer
from pileus.api.identity.login_scopes import Scope
from pileus.api.identity.logins import Login, demand_enabled
from pileus.api.identity.receipts import take_receipt, unless_enough
from pileus.api.identity.token_documents import token_document
from pileus.api.request import Request, Response


async def authenticate(request: Request) -> Response:
    """GET, POST /v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth: a token for the provider's access token."""
    request.notes["login"] = None  # for the audit log
    login = await by_bearer(request, request.params["idp_id"], request.params["protocol_id"])
    return await answer(request, login)


async def answer(request: Request, login: Login) -> Response:
    """An unscoped token; 401 with a receipt where the user's rules want more."""
    await demand_enabled(request, login.user)
    take_receipt(request, login)
    if (refused := await unless_enough(request, login)) is not None:
        return refused
    identity = await identify(request, login, Scope())
    request.notes["login"] = identity
    document = await token_document(request, identity, catalog=False)
    return Response(201, document, {"X-Subject-Token": tokens_of(request).issue(identity), "Vary": "X-Auth-Token"})
