"""The security groups of a server: list, add, remove, on all its ports."""

from typing import Any

import msgspec

from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.compute.server_networks import group_ids
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.store.database import Transaction
from pileus.store.ports import PORTS, update_port
from pileus.store.security_groups import SECURITY_GROUPS, rules_of


class GroupName(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A security group, by name or id."""

    name: fields.Name


class AddGroup(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action addSecurityGroup."""

    group: GroupName = msgspec.field(name="addSecurityGroup")


class RemoveGroup(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The action removeSecurityGroup."""

    group: GroupName = msgspec.field(name="removeSecurityGroup")


async def index(request: Request) -> dict[str, Any]:
    """GET os-security-groups: the groups with their rules, in the words of old."""
    fields.check_queries(request, {}, (2, 102))
    db = request.cloud.db
    server = await resource.visible(request, db)
    ids = sorted({group for port in await PORTS.find(db, "device_id = ?", server.id) for group in port.security_groups})
    groups = [group for key in ids if (group := await SECURITY_GROUPS.get(db, key))]
    rules = await rules_of(db, ids)
    names = {group.id: group for group in groups}
    return {
        "security_groups": [group_view(group, rules[group.id], names) for group in groups],
    }


def group_view(group: SecurityGroup, rules: list[SecurityGroupRule], names: dict[str, SecurityGroup]) -> dict[str, Any]:
    """A group in the words of old; `names` has the groups that its rules refer to."""
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "tenant_id": group.project_id,
        "rules": [rule_view(rule, names) for rule in rules if rule.direction == "ingress"],
    }


def rule_view(rule: SecurityGroupRule, names: dict[str, SecurityGroup]) -> dict[str, Any]:
    """A rule in the words of old: all ports of TCP and UDP are 1 to 65535, all of another protocol -1."""
    remote = names.get(rule.remote_group_id or "")
    everywhere = "0.0.0.0/0" if rule.ethertype == "IPv4" else "::/0"
    low, high = rule.port_range_min, rule.port_range_max
    if rule.protocol and low is None and high is None:
        low, high = (1, 65535) if rule.protocol in ("tcp", "udp") else (-1, -1)
    return {
        "id": rule.id,
        "parent_group_id": rule.security_group_id,
        "ip_protocol": rule.protocol,
        "from_port": low,
        "to_port": high,
        "group": {"name": remote.name, "tenant_id": remote.project_id} if remote else {},
        "ip_range": {} if rule.remote_group_id else {"cidr": rule.remote_ip_prefix or everywhere},
    }


async def add(request: Request) -> None:
    """The action addSecurityGroup: on every port of the server that filters."""
    await _change(request, request.body.group.name, adding=True)


async def remove(request: Request) -> None:
    """The action removeSecurityGroup."""
    await _change(request, request.body.group.name, adding=False)


async def _change(request: Request, name: str, adding: bool) -> None:
    async def work(tx: Transaction) -> set[str]:
        server = await resource.unlocked(request, tx)
        try:
            found = await group_ids(tx, server.project_id, [name])
        except Invalid as error:
            raise NotFound(error.message) from error
        ports = await PORTS.find(tx, "device_id = ?", server.id)
        if not found or (not adding and not any(found[0] in port.security_groups for port in ports)):
            raise NotFound(f"Security group {name} not associated with the instance {server.id}")
        if adding and not ports:
            raise Conflict(f"Instance {server.id} has no port to add a security group to.", status=400)
        for port in ports:
            rest = [group for group in port.security_groups if group != found[0]]
            if port.port_security_enabled:
                await update_port(tx, port, security_groups=[*rest, found[0]] if adding else rest)
        return {port.network_id for port in ports}

    for network in await request.cloud.db.write(work):
        request.cloud.wake("routing", network)
