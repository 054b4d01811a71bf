"""Trusts: a user (the trustor) lets another (the trustee) act on a project with some of its roles, in its own name or in the trustor's."""

from typing import Annotated

from msgspec import Meta

from pileus import clock
from pileus.api.identity import visibility as may
from pileus.api.identity.documents import Document, collection, found, fresh, parse_time, self_link, timestamp, write
from pileus.api.identity.roles import find_role, role_document
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Forbidden, Invalid
from pileus.model.roles import Role
from pileus.model.trusts import Trust
from pileus.store.assignments import roles_on_project
from pileus.store.database import Reader, Transaction
from pileus.store.projects import PROJECTS
from pileus.store.roles import ROLES
from pileus.store.trusts import TRUSTS, delete_trust, trusts_between
from pileus.store.users import USERS

LONGEST_CHAIN = 3


class GivenRole(Model, frozen=True, kw_only=True):
    """A role by id or name."""

    id: str | None = None
    name: str | None = None


class NewTrust(Model, frozen=True, kw_only=True):
    """Attributes of a new trust."""

    trustor_user_id: str
    trustee_user_id: str
    impersonation: bool
    project_id: str
    roles: Annotated[list[GivenRole], Meta(min_length=1)]
    expires_at: str | None = None
    remaining_uses: Annotated[int, Meta(ge=1)] | None = None
    allow_redelegation: bool = False
    redelegation_count: Annotated[int, Meta(ge=0, le=LONGEST_CHAIN)] | None = None


class CreateTrust(Model, frozen=True, kw_only=True):
    """POST /v3/OS-TRUST/trusts."""

    trust: NewTrust


def _brief(request: Request, trust: Trust) -> Document:
    return {
        "id": trust.id,
        "trustor_user_id": trust.trustor_user_id,
        "trustee_user_id": trust.trustee_user_id,
        "project_id": trust.project_id,
        "impersonation": trust.impersonation,
        "expires_at": timestamp(trust.expires_at),
        "deleted_at": None,
        "remaining_uses": trust.remaining_uses,
        "redelegation_count": trust.redelegation_count,
        "redelegated_trust_id": trust.redelegated_trust_id,
        "links": self_link(request, "OS-TRUST", "trusts", trust.id),
    }


async def _document(request: Request, trust: Trust) -> Document:
    links = {**self_link(request, "OS-TRUST", "trusts", trust.id, "roles"), "next": None, "previous": None}
    roles = [role_document(request, role) for role in await trust_roles(request.cloud.db, trust)]
    return {**_brief(request, trust), "roles": roles, "roles_links": links}


async def trust_roles(db: Reader, trust: Trust) -> list[Role]:
    """The roles that the trust hands on, as far as they are still there."""
    return await ROLES.find(db, f"id IN ({', '.join('?' * len(trust.role_ids))}) ORDER BY name", *trust.role_ids)


async def list_trusts(request: Request) -> Document:
    """GET /v3/OS-TRUST/trusts: one's own as trustor or trustee; all for an admin."""
    _demand_own(request)
    trustor, trustee = request.query.get("trustor_user_id"), request.query.get("trustee_user_id")
    may.demand(may.sees_all(request) or request.identity.user_id in (trustor, trustee), "identity:list_trusts")
    rows = await trusts_between(request.cloud.db, trustor, trustee)
    return collection(request, "trusts", [_brief(request, row) for row in rows if _alive(row)])


def _demand_own(request: Request) -> None:
    """Forbidden for tokens of what was lent; one of a trust may hand that on, as far as the trust says."""
    if request.identity.is_delegated and not request.identity.trust_id:
        raise Forbidden("A token of an application credential, an access token or an EC2 key has no say in trusts.")


def _alive(trust: Trust) -> bool:
    return (trust.expires_at is None or trust.expires_at > clock.now()) and trust.remaining_uses != 0


async def _find(request: Request, db: Reader) -> Trust:
    """The path's trust, when the caller is a party of it or sees all."""
    _demand_own(request)
    key = request.params["trust_id"]
    trust = await TRUSTS.get(db, key)
    trust = found(trust if trust and _alive(trust) else None, "trust", key)
    party = request.identity.user_id in (trust.trustor_user_id, trust.trustee_user_id)
    may.demand(party or may.sees_all(request), "identity:get_trust")
    return trust


async def show_trust(request: Request) -> Document:
    """GET /v3/OS-TRUST/trusts/{trust_id}."""
    return {"trust": await _document(request, await _find(request, request.cloud.db))}


async def list_trust_roles(request: Request) -> Document:
    """GET /v3/OS-TRUST/trusts/{trust_id}/roles."""
    trust = await _find(request, request.cloud.db)
    return collection(request, "roles", [role_document(request, role) for role in await trust_roles(request.cloud.db, trust)])


async def show_trust_role(request: Request) -> Document:
    """GET, HEAD /v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}."""
    trust = await _find(request, request.cloud.db)
    key = request.params["role_id"]
    role = await find_role(request.cloud.db, key)
    return {"role": role_document(request, found(role if role.id in trust.role_ids else None, "role", key))}


async def create_trust(request: Request) -> Document:
    """POST /v3/OS-TRUST/trusts: by the trustor, of roles that it has on the project."""
    body: NewTrust = request.body.trust
    who = request.identity
    may.demand(who.user_id == body.trustor_user_id, "identity:create_trust")
    _demand_own(request)
    expires_at = parse_time(body.expires_at, "expires_at") if body.expires_at else None
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid("expires_at lies in the past.", field="expires_at")

    async def work(tx: Transaction) -> Trust:
        found(await USERS.get(tx, body.trustee_user_id), "user", body.trustee_user_id)
        parent = found(await TRUSTS.get(tx, who.trust_id), "trust", who.trust_id) if who.trust_id else None
        trust = Trust(
            **fresh(),
            trustor_user_id=body.trustor_user_id,
            trustee_user_id=body.trustee_user_id,
            project_id=body.project_id,
            impersonation=body.impersonation,
            role_ids=await _roles(tx, body, parent),
            expires_at=expires_at,
            remaining_uses=body.remaining_uses,
            redelegation_count=_count(body, parent),
            redelegated_trust_id=parent.id if parent else None,
        )
        _narrower(trust, parent)
        return await TRUSTS.insert(tx, trust)

    return {"trust": await _document(request, await write(request, work))}


async def _roles(tx: Transaction, body: NewTrust, parent: Trust | None) -> list[str]:
    project = found(await PROJECTS.get(tx, body.project_id), "project", body.project_id)
    have = await roles_on_project(tx, body.trustor_user_id, project)
    chosen: dict[str, None] = {}
    for one in body.roles:
        if one.id is None and one.name is None:
            raise Invalid("A role is named by its id or its name.", field="roles")
        role = next((role for role in have if (role.id == one.id if one.id is not None else role.name == one.name)), None)
        if role is None or (parent is not None and role.id not in parent.role_ids):
            raise Forbidden(f"The trustor can't hand on the role {one.id or one.name}: it does not have it on the project.")
        chosen[role.id] = None
    return list(chosen)


def _count(body: NewTrust, parent: Trust | None) -> int:
    if not body.allow_redelegation:
        return 0
    most = LONGEST_CHAIN if parent is None else parent.redelegation_count - 1
    count = most if body.redelegation_count is None else body.redelegation_count
    if count > most:
        raise Forbidden(f"Requested redelegation depth of {count} is greater than allowed {most}.")
    return count


def _narrower(trust: Trust, parent: Trust | None) -> None:
    """What is handed on must not be more than what was had."""
    if parent is None:
        return
    if parent.redelegation_count < 1 or parent.project_id != trust.project_id:
        raise Forbidden("The trust that the token is of may not be handed on.")
    if trust.remaining_uses is not None:
        raise Forbidden("The uses of a trust that is handed on can't be counted.")
    if parent.expires_at is not None and (trust.expires_at is None or trust.expires_at > parent.expires_at):
        raise Forbidden("A trust that is handed on can't last longer than the one that it is of.")
    if trust.impersonation and not parent.impersonation:
        raise Forbidden("Impersonation is not allowed because redelegated trust does not specify impersonation.")


async def remove_trust(request: Request) -> None:
    """DELETE /v3/OS-TRUST/trusts/{trust_id}: by the trustor, or an admin; tokens of it are void."""

    async def work(tx: Transaction) -> None:
        trust = await _find(request, tx)
        may.demand(request.identity.is_admin or request.identity.user_id == trust.trustor_user_id, "identity:delete_trust")
        await delete_trust(tx, trust.id)

    await write(request, work)
