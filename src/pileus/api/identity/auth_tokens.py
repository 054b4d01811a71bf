"""GET, HEAD, DELETE /v3/auth/tokens, and what a token's owner may see of it: its catalog and where else it may go."""

from typing import Any

from pileus.api.identity.catalog import catalog_of
from pileus.api.identity.documents import boolean, collection, tokens_of, write
from pileus.api.identity.domains import domain_document
from pileus.api.identity.projects import project_document
from pileus.api.identity.token_documents import token_document
from pileus.api.identity.tokens import EXPIRED_WINDOW
from pileus.api.policy import require
from pileus.api.request import Request, Response
from pileus.model.assignments import Target
from pileus.model.errors import Forbidden, Invalid, NotFound, Unauthorized
from pileus.model.identity import Identity
from pileus.store import assignments, revocations
from pileus.store.projects import by_ids


def _subject(request: Request, grace: float = 0.0) -> tuple[Identity, bool]:
    """The token that the request is about, and whether it is the caller's own."""
    text = request.headers.get("x-subject-token")
    if not text:
        raise Invalid("The request needs the header X-Subject-Token.", field="X-Subject-Token")
    try:
        identity = tokens_of(request).inspect(text, grace)
    except Unauthorized as error:
        raise NotFound("Could not find token.") from error
    return identity, text == request.headers.get("x-auth-token") or identity.user_id == request.identity.user_id


async def validate_token(request: Request) -> Response:
    """GET and HEAD /v3/auth/tokens."""
    expired = boolean(request.query.get("allow_expired", "false"))
    subject, own = _subject(request, EXPIRED_WINDOW if expired else 0.0)
    if not own:
        require(request, "identity:validate_token")
    catalog = not boolean(request.query.get("nocatalog", "false"))
    document = await token_document(request, subject, catalog)
    return Response(200, document, {"X-Subject-Token": request.headers["x-subject-token"], "Vary": "X-Auth-Token"})


async def revoke_token(request: Request) -> None:
    """DELETE /v3/auth/tokens: this token alone."""
    subject, own = _subject(request)
    if not own:
        require(request, "identity:revoke_token")
    await write(request, lambda tx: revocations.revoke(tx, f"audit:{subject.audit_ids[0]}"))


def _said(request: Request) -> tuple[str, ...]:
    """The groups that the user's identity provider has said for this token."""
    return request.identity.federation.group_ids if request.identity.federation else ()


async def show_catalog(request: Request) -> dict[str, Any]:
    """GET /v3/auth/catalog."""
    if not request.identity.roles:
        raise Forbidden("A scoped token is needed: an unscoped one has no catalog.")
    return {"catalog": await catalog_of(request, request.identity), "links": {"self": f"{request.service_url}/v3/auth/catalog"}}


async def list_projects(request: Request) -> dict[str, Any]:
    """GET /v3/auth/projects: where this user may go."""
    db = request.cloud.db
    found = await by_ids(db, await assignments.projects_of(db, request.identity.user_id, _said(request)))
    return collection(request, "projects", [project_document(request, one) for one in found if one.enabled])


async def list_domains(request: Request) -> dict[str, Any]:
    """GET /v3/auth/domains."""
    db = request.cloud.db
    mine = await assignments.of_actors(db, request.identity.user_id, _said(request))
    ids = {one.target_id for one in mine if one.target is Target.DOMAIN and not one.inherited}
    return collection(request, "domains", [domain_document(request, one) for one in await by_ids(db, sorted(ids)) if one.enabled])


async def list_systems(request: Request) -> dict[str, Any]:
    """GET /v3/auth/system."""
    has = bool(await assignments.roles_on_system(request.cloud.db, request.identity.user_id, _said(request)))
    return {"system": [{"all": True}] if has else [], "links": {"self": f"{request.service_url}/v3/auth/system"}}
