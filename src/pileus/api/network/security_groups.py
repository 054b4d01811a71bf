"""Security groups."""

from typing import Any

from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Attribute, Required, given, shown
from pileus.api.network.kinds import Call, Kind, Values, project_of
from pileus.api.network.listing import list_documents
from pileus.api.network.security_group_rules import rule_view
from pileus.api.network.tags import save_tags
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.model.errors import Conflict, Forbidden
from pileus.model.security_groups import SecurityGroup
from pileus.store import security_groups as store

ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("name", check.text(), default=Required),
    given("description", check.text_or_empty(), default=""),
    given("stateful", check.boolean, default=True),
    given("tags", check.listed(check.tag), put=False, default=[], column=None),
    shown("is_default", "is_default"),
    shown("security_group_rules"),
    shown("shared"),
]


async def views(request: Request, rows: list[SecurityGroup]) -> list[Values]:
    """Documents with their rules, which are read in one query."""
    rules = await store.rules_of(request.cloud.db, [row.id for row in rows])
    return [
        base_of(row)
        | {
            "name": row.name,
            "description": row.description,
            "stateful": row.stateful,
            "shared": False,
            "tags": row.tags,
            "security_group_rules": [rule_view(rule) for rule in rules[row.id]],
        }
        for row in rows
    ]


async def index(request: Request) -> dict[str, Any]:
    """The list; the project's default group is made when it is not there yet."""
    own = request.identity.project_id
    if own is not None:
        seen = await request.cloud.db.value("SELECT 1 FROM security_groups WHERE project_id = ? AND is_default = 1", own)
        if seen is None:
            await request.cloud.db.write(lambda tx: store.default_security_group(tx, own))
    return await list_documents(request, SECURITY_GROUP)


async def create(call: Call, values: Values) -> SecurityGroup:
    """Make a group; beside it the project's default one, as in Neutron."""
    project_id = project_of(call, values)
    if values["name"].lower() == "default":
        raise Conflict("Default security group already exists.", type="SecurityGroupDefaultAlreadyExists")
    await store.default_security_group(call.tx, project_id)
    group = store.new_group(project_id, values["name"], values["description"], stateful=values["stateful"], tags=values["tags"])
    await store.insert_group(call.tx, group)
    await save_tags(call.tx, group.id, group.tags)
    return group


async def update(call: Call, row: SecurityGroup, values: Values) -> SecurityGroup:
    """Change a group; the default one keeps its name."""
    if not row.is_default and values.get("name", "").lower() == "default":
        raise Conflict("Default security group already exists.", type="SecurityGroupDefaultAlreadyExists")
    if row.is_default and values.get("name", row.name) != row.name:
        raise Forbidden("Updating default security group not allowed.", type="SecurityGroupCannotUpdateDefault", status=409)
    if values.get("stateful", row.stateful) != row.stateful:
        await _check_unused(call, row)
    changed = await store.SECURITY_GROUPS.update(call.tx, row, **values)
    await wake_members(call, row.id)
    return changed


async def _check_unused(call: Call, row: SecurityGroup) -> None:
    if await call.tx.value("SELECT 1 FROM port_security_groups WHERE security_group_id = ? LIMIT 1", row.id) is not None:
        raise Conflict(f"Security Group {row.id} in use.", type="SecurityGroupInUse")


async def delete(call: Call, row: SecurityGroup) -> None:
    """Remove a group that no port is in; not the default one."""
    if row.is_default and not call.admin:
        raise Conflict("Insufficient rights for removing default security group.", type="SecurityGroupCannotRemoveDefault")
    await wake_members(call, row.id)
    await store.remove_group(call.tx, row)


async def wake_members(call: Call, group_id: str) -> None:
    """Have the networks looked at where the group, or one that refers to it, has ports."""
    rows = await call.tx.all(
        "SELECT DISTINCT network_id FROM ports JOIN port_security_groups ON port_id = ports.id WHERE security_group_id = ? OR "
        "security_group_id IN (SELECT security_group_id FROM security_group_rules WHERE remote_group_id = ?)",
        group_id, group_id,
    )  # fmt: skip
    call.wake(*(row[0] for row in rows))


SECURITY_GROUP = Kind(
    name="security_group", plural="security_groups", title="SecurityGroup", table=store.SECURITY_GROUPS, attributes=ATTRIBUTES, views=views,
    create=create, update=update, delete=delete,
    filters={"shared": lambda values: ("1 = 0" if values[-1].lower() == "true" else "1 = 1", [])},
)  # fmt: skip
