"""Subnet pools."""

import uuid
from ipaddress import ip_network
from typing import Any

import msgspec

from pileus import clock
from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Absent, Attribute, Required, given, shown
from pileus.api.network.kinds import Call, Kind, Values, Where, project_of
from pileus.api.network.tags import save_tags
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.core.subnet_pools import check_lengths, check_quota, choose_prefix, merged
from pileus.model.errors import Conflict, Invalid
from pileus.model.subnet_pools import SubnetPool
from pileus.store import subnet_pools as store

SHORTEST, LONGEST = {4: 8, 6: 64}, {4: 32, 6: 128}  # what a subnet of a pool may be unless the pool says otherwise
length = check.integer(0, 128)
prefixes = check.listed(check.cidr)


def _prefixes(value: Any) -> list[str]:
    return prefixes([value] if isinstance(value, str) else value)


ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("name", check.text(), default=Required),
    given("description", check.text_or_empty(), default=""),
    given("prefixes", _prefixes, default=Required, column=None),
    given("default_prefixlen", length),
    given("min_prefixlen", length),
    given("max_prefixlen", length),
    given("default_quota", check.optional(check.integer(0)), default=None),
    given("shared", check.boolean, put=False, default=False, guarded=True),
    given("is_default", check.boolean, default=False, guarded=True),
    given("address_scope_id", check.optional(check.choice()), default=Absent, column=None),
    given("tags", check.listed(check.tag), put=False, default=[], column=None),
    shown("ip_version", "ip_version"),
]


async def visible(request: Request) -> Where:
    """Own pools, and shared ones."""
    return "subnet_pools.project_id = ? OR subnet_pools.shared = 1", [request.identity.project_id]


async def views(request: Request, rows: list[SubnetPool]) -> list[Values]:
    """Documents: lengths are strings, as in Neutron."""
    return [
        base_of(row)
        | {
            "name": row.name,
            "description": row.description,
            "prefixes": row.prefixes,
            "ip_version": row.ip_version,
            "default_prefixlen": str(row.default_prefixlen),
            "min_prefixlen": str(row.min_prefixlen),
            "max_prefixlen": str(row.max_prefixlen),
            "default_quota": row.default_quota,
            "shared": row.shared,
            "is_default": row.is_default,
            "address_scope_id": None,
            "tags": row.tags,
        }
        for row in rows
    ]


async def create(call: Call, values: Values) -> SubnetPool:
    """Make a pool."""
    found = merged(values["prefixes"])
    version = ip_network(found[0]).version
    shortest = values.get("min_prefixlen", SHORTEST[version])
    now = clock.now()
    pool = SubnetPool(
        id=str(uuid.uuid4()), created_at=now, updated_at=now, project_id=project_of(call, values), name=values["name"],
        description=values["description"], prefixes=found, ip_version=version, min_prefixlen=shortest,
        max_prefixlen=values.get("max_prefixlen", LONGEST[version]), default_prefixlen=values.get("default_prefixlen", shortest),
        default_quota=values["default_quota"], shared=values["shared"], is_default=values["is_default"], tags=values["tags"],
    )  # fmt: skip
    await _check(call, pool)
    await save_tags(call.tx, pool.id, pool.tags)
    return await store.insert_pool(call.tx, pool)


async def update(call: Call, row: SubnetPool, values: Values) -> SubnetPool:
    """Change a pool. Prefixes can be added, not taken away."""
    if "prefixes" in values:
        values["prefixes"] = merged(values["prefixes"])
        there = [ip_network(one) for one in values["prefixes"]]
        for one in map(ip_network, row.prefixes):
            if not any(one.version == wider.version and one.subnet_of(wider) for wider in there):  # pyright: ignore[reportArgumentType]
                words = "A subnet pool's prefixes can grow, but none can be taken away."
                raise Invalid(f"Illegal update to prefixes: {words}", type="IllegalSubnetPoolUpdate")
    await _check(call, msgspec.structs.replace(row, **values))
    return await store.SUBNET_POOLS.update(call.tx, row, **values)


async def _check(call: Call, pool: SubnetPool) -> None:
    check_lengths(pool)
    if pool.is_default:
        other = await store.default_pool(call.tx, pool.ip_version)
        if other is not None and other.id != pool.id:
            words = f"A default subnetpool for IPv{pool.ip_version} has already been set: {other.id}."
            raise Invalid(f"Invalid input for operation: {words}", type="InvalidInput")


async def delete(call: Call, row: SubnetPool) -> None:
    """Remove a pool; a Conflict while there are subnets of it."""
    if await store.taken(call.tx, row.id):
        raise Conflict(
            f"Unable to complete operation on subnet pool {row.id}. There are one or more subnets allocated.",
            type="SubnetPoolInUse",
            status=409,
        )
    await store.remove_pool(call.tx, row.id)


async def cut(call: Call, values: Values, project_id: str) -> tuple[str, str | None]:
    """(prefix, pool) of a new subnet: what it names, or what the pool that it names has."""
    pool_id = values["subnetpool_id"]
    if pool_id is None and values["use_default_subnetpool"]:
        default = await store.default_pool(call.tx, values["ip_version"])
        if default is None:
            raise Invalid(f"No default subnetpool found for IPv{values['ip_version']}", type="BadRequest")
        pool_id = default.id
    if pool_id is None:
        return values["cidr"], None
    if values["cidr"] and values["prefixlen"] is not None:
        raise Invalid("Bad subnets request: cidr and prefixlen must not be supplied together.", type="BadRequest")
    pool = await store.usable_pool(call.tx, pool_id, call.request.identity.project_id, call.admin)
    if pool.ip_version != values["ip_version"]:
        raise Invalid(
            f"Bad subnets request: Cannot allocate IPv{values['ip_version']} subnet from IPv{pool.ip_version} subnet pool.",
            type="BadRequest",
        )
    prefix = choose_prefix(pool, await store.taken(call.tx, pool.id), values["cidr"], values["prefixlen"])
    check_quota(pool, await store.taken(call.tx, pool.id, project_id), prefix)
    return str(prefix), pool.id


SUBNETPOOL = Kind(
    name="subnetpool", plural="subnetpools", title="SubnetPool", table=store.SUBNET_POOLS, attributes=ATTRIBUTES, views=views,
    create=create, update=update, delete=delete, visible=visible,
)  # fmt: skip
