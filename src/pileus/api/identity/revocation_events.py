"""What was revoked, for services that validate tokens by themselves (Keystone's OS-REVOKE); and what is gone for good (OS-SIMPLE-CERT)."""

from pileus.api.identity.documents import Document, parse_time, timestamp
from pileus.api.request import Request
from pileus.model.errors import Gone
from pileus.store.revocations import since
from pileus.store.roles import role_named

FIELDS = {
    "audit": ("audit_id",),
    "chain": ("audit_chain_id",),
    "user": ("user_id",),
    "project": ("project_id",),
    "domain": ("domain_id",),
    "trust": ("OS-TRUST:trust_id",),
    "oauth": ("OS-OAUTH1:access_token_id",),
    "user-project": ("user_id", "project_id"),
    "user-domain": ("user_id", "domain_scope_id"),
    "user-system": ("user_id",),
}
"""Kind of a key -> what its ids are called. Keystone has no event for an application credential."""


async def list_events(request: Request) -> Document:
    """GET /v3/OS-REVOKE/events: from `since` on, else all that may matter to a token that lives."""
    moment = parse_time(request.query["since"], "since") if "since" in request.query else 0.0
    events: list[Document] = []
    for key, issued_before in await since(request.cloud.db, moment):
        named = await _named(request, key)
        if named:  # one that names nothing would void every token
            events.append({**named, "issued_before": timestamp(issued_before), "revoked_at": timestamp(issued_before)})
    return {"events": events, "links": {"next": None, "self": f"{request.service_url}/v3/OS-REVOKE/events", "previous": None}}


async def _named(request: Request, key: str) -> Document:
    kind, _, rest = key.partition(":")
    if kind == "role":
        role = await role_named(request.cloud.db, rest)
        return {"role_id": role.id} if role else {}
    names = FIELDS.get(kind, ())
    return dict(zip(names, rest.split(":"), strict=True)) if names else {}


async def no_certificates(request: Request) -> None:
    """GET /v3/OS-SIMPLE-CERT/ca, .../certificates: tokens have not been signed by certificates for long, in Keystone neither."""
    raise Gone("This API is no longer available: no tokens are signed by certificates. Validate tokens instead.")
