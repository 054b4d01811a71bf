"""Security groups in the store: each project's default group, membership of ports, rules."""

import uuid
from typing import Any

import msgspec

from pileus import clock
from pileus.model.errors import Conflict, NotFound
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.store.database import Reader, Transaction
from pileus.store.quotas import charge
from pileus.store.tables import ResourceTable

SECURITY_GROUPS = ResourceTable("security_groups", SecurityGroup)
RULES = ResourceTable("security_group_rules", SecurityGroupRule)


async def default_security_group(tx: Transaction, project_id: str) -> str:
    """The id of the project's default group, made on first use: all may leave, members may talk to each other."""
    found = await tx.value("SELECT id FROM security_groups WHERE project_id = ? AND is_default = 1", project_id)
    if found is not None:
        return str(found)
    group = new_group(project_id, name="default", description="Default security group", is_default=True)
    await SECURITY_GROUPS.insert(tx, group)
    rules = egress_rules(group)
    for ethertype in ("IPv4", "IPv6"):
        rules.append(_rule(group, direction="ingress", ethertype=ethertype, remote_group_id=group.id))
    await RULES.insert_many(tx, rules)
    return group.id


def new_group(project_id: str, name: str, description: str = "", **rest: Any) -> SecurityGroup:
    """A group that is not in the store yet."""
    now = clock.now()
    id = str(uuid.uuid4())
    return SecurityGroup(id=id, created_at=now, updated_at=now, project_id=project_id, name=name, description=description, **rest)


def egress_rules(group: SecurityGroup) -> list[SecurityGroupRule]:
    """The rules that each new group starts with: everything may leave."""
    return [_rule(group, direction="egress", ethertype="IPv4"), _rule(group, direction="egress", ethertype="IPv6")]


def _rule(group: SecurityGroup, **what: Any) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=str(uuid.uuid4()), created_at=group.created_at, updated_at=group.created_at, project_id=group.project_id,
        security_group_id=group.id, **what,
    )  # fmt: skip


async def insert_group(tx: Transaction, group: SecurityGroup) -> SecurityGroup:
    """Add a group with the rules that each starts with; takes quota of both."""
    await charge(tx, group.project_id, security_group=1)
    await SECURITY_GROUPS.insert(tx, group)
    await RULES.insert_many(tx, egress_rules(group))
    return group


async def rules_of(db: Reader, group_ids: list[str]) -> dict[str, list[SecurityGroupRule]]:
    """Group id -> its rules, oldest first."""
    found: dict[str, list[SecurityGroupRule]] = {group_id: [] for group_id in group_ids}
    if group_ids:
        marks = ", ".join("?" * len(group_ids))
        for rule in await RULES.find(db, f"security_group_id IN ({marks}) ORDER BY created_at, id", *group_ids):
            found[rule.security_group_id].append(rule)
    return found


async def insert_rule(tx: Transaction, rule: SecurityGroupRule) -> SecurityGroupRule:
    """Add a rule; takes quota; a Conflict when the group has the same one."""
    await charge(tx, rule.project_id, security_group_rule=1)
    for seen in await RULES.find(tx, "security_group_id = ?", rule.security_group_id):
        if same_rule(seen, rule):
            raise Conflict(f"Security group rule already exists. Rule id is {seen.id}.", type="SecurityGroupRuleExists")
    return await RULES.insert(tx, rule)


def same_rule(one: SecurityGroupRule, other: SecurityGroupRule) -> bool:
    """Whether two rules say the same."""
    blank = {"id": "", "created_at": 0.0, "updated_at": 0.0, "generation": 0, "description": "", "project_id": ""}
    return msgspec.structs.replace(one, **blank) == msgspec.structs.replace(other, **blank)


async def remove_group(tx: Transaction, group: SecurityGroup) -> None:
    """Remove a group with its rules. A Conflict while ports are in it or it is a default group that is in use."""
    if await tx.value("SELECT 1 FROM port_security_groups WHERE security_group_id = ? LIMIT 1", group.id) is not None:
        raise Conflict(f"Security Group {group.id} in use.", type="SecurityGroupInUse")
    await tx.execute("DELETE FROM security_group_rules WHERE security_group_id = ? OR remote_group_id = ?", group.id, group.id)
    await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", group.id)
    await SECURITY_GROUPS.delete(tx, group.id)


async def check_groups(db: Reader, project_id: str, group_ids: list[str], admin: bool = False) -> list[str]:
    """The groups without repetition, in order; NotFound names one that is not the project's."""
    wanted = list(dict.fromkeys(group_ids))
    for group_id in wanted:
        owner = await db.value("SELECT project_id FROM security_groups WHERE id = ?", group_id)
        if owner is None or (owner != project_id and not admin):
            raise NotFound(f"Security group {group_id} does not exist", type="SecurityGroupNotFound")
    return wanted


async def set_membership(tx: Transaction, port_id: str, group_ids: list[str]) -> None:
    """Write which groups a port is in."""
    await tx.execute("DELETE FROM port_security_groups WHERE port_id = ?", port_id)
    await add_membership(tx, port_id, group_ids)


async def add_membership(tx: Transaction, port_id: str, group_ids: list[str]) -> None:
    """Write which groups a new port is in."""
    if group_ids:
        rows = [(port_id, group_id) for group_id in group_ids]
        await tx.many("INSERT INTO port_security_groups (port_id, security_group_id) VALUES (?, ?)", rows)


async def security_group_names(db: Reader, server_ids: list[str]) -> dict[str, list[str]]:
    """Server id -> names of the groups that its ports are in."""
    found: dict[str, list[str]] = {server_id: [] for server_id in server_ids}
    for start in range(0, len(server_ids), 1000):
        part = server_ids[start : start + 1000]
        rows = await db.all(
            "SELECT DISTINCT ports.device_id, security_groups.name FROM ports JOIN port_security_groups ON port_id = ports.id "  # noqa: S608
            f"JOIN security_groups ON security_groups.id = security_group_id WHERE ports.device_id IN ({', '.join('?' * len(part))})",
            *part,
        )
        for server_id, name in rows:
            found[server_id].append(name)
    return found
