"""Security groups by way of compute, gone with 2.36: the network service's, in Nova's words of old. Only rules that let in are shown."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from pileus.api.compute import fields
from pileus.api.compute.server_security import group_view, rule_view
from pileus.api.network.attributes import parse_body
from pileus.api.network.handlers import write
from pileus.api.network.kinds import Call, Kind
from pileus.api.network.security_group_rules import SECURITY_GROUP_RULE
from pileus.api.network.security_groups import SECURITY_GROUP
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound, QuotaExceeded
from pileus.model.security_groups import SecurityGroup
from pileus.store import security_groups as store

T = TypeVar("T")
Port = Annotated[int, Meta(ge=-1, le=65535)] | Annotated[str, Meta(pattern=r"^(-1|[0-9]{1,5})\Z")]


class GroupFields(Model, frozen=True, kw_only=True):
    """What a group is called."""

    name: Annotated[str, Meta(max_length=255)]
    description: Annotated[str, Meta(max_length=255)] | None = ""


class WantedGroup(Model, frozen=True, kw_only=True):
    """POST and PUT of a group."""

    security_group: GroupFields


class RuleFields(Model, frozen=True, kw_only=True):
    """A rule that lets in from a prefix or from a group."""

    parent_group_id: fields.Uuid
    ip_protocol: str | None = None
    from_port: Port | None = None
    to_port: Port | None = None
    cidr: str | None = None
    group_id: fields.Uuid | None = None


class WantedRule(Model, frozen=True, kw_only=True):
    """POST of a rule."""

    security_group_rule: RuleFields


async def index(request: Request) -> dict[str, Any]:
    """GET /os-security-groups: the project's; with all_tenants, an administrator's, everybody's."""
    own = request.project_id
    if await request.cloud.db.value("SELECT 1 FROM security_groups WHERE project_id = ? AND is_default = 1", own) is None:
        await request.cloud.db.write(lambda tx: store.default_security_group(tx, own))
    every = request.identity.is_admin and fields.query_flag(request, "all_tenants", False)
    where, args = ("1 = 1", []) if every else ("project_id = ?", [own])
    found = await store.SECURITY_GROUPS.find(request.cloud.db, f"{where} ORDER BY created_at, id", *args)
    start = fields.query_integer(request, "offset", 0) or 0
    return {"security_groups": await _views(request, found[start : start + fields.page_limit(request)])}


async def show(request: Request) -> dict[str, Any]:
    """GET /os-security-groups/{group_id}."""
    return await _one(request, await _load(request))


async def create(request: Request) -> dict[str, Any]:
    """POST /os-security-groups."""
    return await _one(request, await _make(request, SECURITY_GROUP, _names(request)))


async def update(request: Request) -> dict[str, Any]:
    """PUT /os-security-groups/{group_id}."""
    group = await _load(request)
    values = parse_body(request, SECURITY_GROUP.name, SECURITY_GROUP.by_name, _names(request), creating=False)
    change = SECURITY_GROUP.update
    assert change is not None
    return await _one(request, await _written(request, lambda call: change(call, group, values)))


async def delete(request: Request) -> None:
    """DELETE /os-security-groups/{group_id}."""
    group = await _load(request)
    remove = SECURITY_GROUP.delete
    assert remove is not None
    await _written(request, lambda call: remove(call, group))


async def create_rule(request: Request) -> dict[str, Any]:
    """POST /os-security-group-rules."""
    wanted: RuleFields = request.body.security_group_rule
    if wanted.ip_protocol is None and wanted.cidr is None and wanted.group_id is None:
        raise Invalid("Not enough parameters to build a valid rule.")
    prefix = None if wanted.group_id else wanted.cidr or "0.0.0.0/0"
    version = 6 if prefix and ":" in prefix else 4
    rule = await _make(
        request,
        SECURITY_GROUP_RULE,
        {
            "security_group_id": wanted.parent_group_id,
            "direction": "ingress",
            "ethertype": f"IPv{version}",
            "protocol": wanted.ip_protocol,
            "port_range_min": wanted.from_port,
            "port_range_max": wanted.to_port,
            "remote_ip_prefix": prefix,
            "remote_group_id": wanted.group_id,
        },
    )
    remote = await store.SECURITY_GROUPS.get(request.cloud.db, wanted.group_id) if wanted.group_id else None
    return {"security_group_rule": rule_view(rule, {remote.id: remote} if remote else {})}


async def delete_rule(request: Request) -> None:
    """DELETE /os-security-group-rules/{rule_id}."""
    rule = await SECURITY_GROUP_RULE.load(request, request.cloud.db, request.params["rule_id"])
    remove = SECURITY_GROUP_RULE.delete
    assert remove is not None
    await _written(request, lambda call: remove(call, rule))


def _names(request: Request) -> dict[str, Any]:
    wanted: GroupFields = request.body.security_group
    return {"name": wanted.name, "description": wanted.description}


async def _make(request: Request, kind: Kind, body: dict[str, Any]) -> Any:
    values = parse_body(request, kind.name, kind.by_name, body, creating=True)
    make = kind.create
    assert make is not None
    return await _written(request, lambda call: make(call, values))


async def _written(request: Request, work: Callable[[Call], Awaitable[T]]) -> T:
    """The network service's answer in Nova's statuses: what is in use or there already is a bad request, a quota is forbidden."""
    try:
        return await write(request, work)
    except QuotaExceeded as error:
        raise QuotaExceeded(error.message, status=403) from error
    except Conflict as error:
        raise Invalid(error.message) from error


async def _load(request: Request) -> SecurityGroup:
    group: SecurityGroup = await SECURITY_GROUP.load(request, request.cloud.db, request.params["group_id"])
    if group.project_id != request.identity.project_id and not request.identity.is_admin:
        raise NotFound(f"Security group {group.id} not found.")
    return group


async def _one(request: Request, group: SecurityGroup) -> dict[str, Any]:
    return {"security_group": (await _views(request, [group]))[0]}


async def _views(request: Request, groups: list[SecurityGroup]) -> list[dict[str, Any]]:
    rules = await store.rules_of(request.cloud.db, [group.id for group in groups])
    names = {group.id: group for group in groups}
    remote = {rule.remote_group_id for found in rules.values() for rule in found if rule.remote_group_id} - names.keys()
    names |= {id: group for id in sorted(remote) if (group := await store.SECURITY_GROUPS.get(request.cloud.db, id))}
    return [group_view(group, rules[group.id], names) for group in groups]
