"""Server groups: servers to be placed together or apart."""

import uuid
from typing import Any, Literal

from pileus import clock
from pileus.api import policy
from pileus.api.compute import fields
from pileus.api.policy import owned
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound, QuotaExceeded
from pileus.model.server_groups import ServerGroup
from pileus.store import quotas, server_groups
from pileus.store.database import Reader, Transaction

QUERIES = {"all_projects": (2, 1), "limit": (2, 1), "offset": (2, 1)}


class Rules(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules of the policy anti-affinity."""

    max_server_per_host: fields.Count | None = None


class NewGroup(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name and a policy."""

    name: fields.Name
    policy: Literal["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]
    rules: Rules | None = None


class CreateGroup(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /os-server-groups."""

    server_group: NewGroup


async def index(request: Request) -> dict[str, Any]:
    """GET /os-server-groups."""
    fields.check_queries(request, QUERIES, (2, 75))
    where, args = "project_id = ?", [request.identity.project_id]
    if request.identity.is_admin and "all_projects" in request.query:
        policy.require(request, "os_compute_api:os-server-groups:index:all_projects")
        where, args = "1 = 1", []
    offset = fields.query_integer(request, "offset", 0) or 0
    page = f"{where} ORDER BY created_at, id LIMIT {fields.page_limit(request)} OFFSET {offset}"
    groups = await server_groups.GROUPS.find(request.cloud.db, page, *args)
    members = await server_groups.members_of_all(request.cloud.db, [group.id for group in groups])
    return {"server_groups": [_view(group, members[group.id]) for group in groups]}


async def show(request: Request) -> dict[str, Any]:
    """GET /os-server-groups/{group_id}."""
    fields.check_queries(request, {}, (2, 102))
    group = await _find(request, request.cloud.db)
    return {"server_group": _view(group, await server_groups.members(request.cloud.db, group.id))}


async def create(request: Request) -> dict[str, Any]:
    """POST /os-server-groups."""
    new: NewGroup = request.body.server_group
    most = new.rules.max_server_per_host if new.rules else None
    if most is not None and new.policy != "anti-affinity":
        raise Invalid("Only anti-affinity policy supports rules.", field="rules")
    now = clock.now()
    group = ServerGroup(
        id=str(uuid.uuid4()),
        created_at=now,
        updated_at=now,
        project_id=request.project_id,
        user_id=request.identity.user_id,
        name=new.name,
        policy=new.policy,
        rules={"max_server_per_host": int(most)} if most is not None else {},
    )

    async def work(tx: Transaction) -> None:
        try:
            await quotas.charge(tx, group.project_id, server_groups=1)
        except QuotaExceeded as error:
            raise QuotaExceeded("Quota exceeded, too many server groups.") from error
        await server_groups.GROUPS.insert(tx, group)

    await request.cloud.db.write(work)
    return {"server_group": _view(group, [])}


async def delete(request: Request) -> None:
    """DELETE /os-server-groups/{group_id}."""

    async def work(tx: Transaction) -> None:
        await server_groups.remove(tx, (await _find(request, tx)).id)

    await request.cloud.db.write(work)


async def _find(request: Request, db: Reader) -> ServerGroup:
    key = request.params["group_id"]
    try:
        return owned(request, await server_groups.GROUPS.get(db, key), "Instance group", key)
    except NotFound as error:
        raise NotFound(f"Instance group {key} could not be found.") from error


def _view(group: ServerGroup, members: list[str]) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "policy": group.policy,
        "rules": group.rules,
        "members": members,
        "project_id": group.project_id,
        "user_id": group.user_id,
    }
