"""RBAC policies: a network given to one project, or to all."""

import uuid
from typing import Any

from pileus import clock
from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Attribute, Required, given, refused
from pileus.api.network.kinds import Call, Kind, Values, owns, project_of
from pileus.api.network.networks import NETWORK
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.model.errors import Conflict, NotImplementedYet
from pileus.model.networks import RbacPolicy
from pileus.store.networks import RBAC_POLICIES
from pileus.store.quotas import charge

ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("object_type", check.text(), put=False, default=Required),
    given("object_id", check.uuid, put=False, default=Required),
    given("target_tenant", check.text(), default=Required, column="target_project", guarded=True),
    given("action", check.choice("access_as_shared", "access_as_external"), put=False, default=Required),
]


async def views(request: Request, rows: list[RbacPolicy]) -> list[Values]:
    """Documents."""
    return [
        base_of(row)
        | {
            "object_type": row.object_type, "object_id": row.object_id, "target_tenant": row.target_project,
            "target_project_id": row.target_project, "action": row.action,
        }
        for row in rows
    ]  # fmt: skip


async def create(call: Call, values: Values) -> RbacPolicy:
    """Give a network of one's own to a project."""
    if values["object_type"] != "network":
        raise NotImplementedYet(f"RBAC policies for {values['object_type']} are not there yet; networks can be shared.")
    network = await NETWORK.load(call.request, call.tx, values["object_id"])
    if not owns(call.request, network):
        raise refused("create_rbac_policy")
    target = values["target_tenant"]
    if target == "*" and not call.admin:
        raise refused("restrict_wildcard")
    if values["action"] == "access_as_external" and not call.admin:
        raise refused("create_network:router:external")
    project_id = project_of(call, values)
    await charge(call.tx, project_id, rbac_policy=1)
    seen = await RBAC_POLICIES.first(call.tx, "object_id = ? AND target_project = ? AND action = ?", network.id, target, values["action"])
    if seen is not None:
        raise Conflict("An RBAC policy already exists with those values.", type="DuplicateRbacPolicy")
    now = clock.now()
    policy = RbacPolicy(
        id=str(uuid.uuid4()), created_at=now, updated_at=now, project_id=project_id, object_id=network.id, target_project=target,
        action=values["action"],
    )  # fmt: skip
    return await RBAC_POLICIES.insert(call.tx, policy)


async def update(call: Call, row: RbacPolicy, values: Values) -> RbacPolicy:
    """Give it to another project instead."""
    target = values.get("target_tenant", row.target_project)
    if target != row.target_project:
        if target == "*" and not call.admin:
            raise refused("restrict_wildcard")
        await _check_unused(call, row)
    return await RBAC_POLICIES.update(call.tx, row, target_project=target)


async def delete(call: Call, row: RbacPolicy) -> None:
    """Take the network back; a Conflict while it is used."""
    await _check_unused(call, row)
    await RBAC_POLICIES.delete(call.tx, row.id)


async def _check_unused(call: Call, row: RbacPolicy) -> None:
    args: list[Any] = [row.object_id]
    if row.action == "access_as_shared":
        sql = (
            "SELECT 1 FROM ports JOIN networks ON networks.id = network_id WHERE network_id = ? AND ports.project_id NOT IN ('', "
            "networks.project_id) AND device_owner NOT LIKE 'network:%' AND networks.shared = 0"
        )
        if row.target_project != "*":
            sql += " AND ports.project_id = ?"
            args.append(row.target_project)
    else:
        sql = (
            "SELECT 1 FROM routers JOIN networks ON networks.id = gateway_network_id WHERE gateway_network_id = ? "
            "AND networks.external = 0 AND routers.project_id <> networks.project_id"
        )
        if row.target_project != "*":
            sql += " AND routers.project_id = ?"
            args.append(row.target_project)
    if await call.tx.value(f"{sql} LIMIT 1", *args) is not None:
        raise Conflict(
            f"RBAC policy on object {row.object_id} cannot be removed because other objects depend on it.", type="RbacPolicyInUse"
        )


RBAC_POLICY = Kind(
    name="rbac_policy", plural="rbac_policies", title="RbacPolicy", table=RBAC_POLICIES, attributes=ATTRIBUTES, views=views, create=create,
    update=update, delete=delete,
)  # fmt: skip
