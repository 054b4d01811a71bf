"""Gathers the world that `verify` looks at: records page by page, references by one statement each, and what each host's census says.

It is read without a transaction: what changes meanwhile is seen before or after, so that a breach counts only when it lasts. Between two
pages other work of the process has its turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pileus import clock
from pileus.core.availability import is_fenced
from pileus.core.network_names import namespace_name, tap
from pileus.core.servers import Next
from pileus.core.verify.references import REFERENCES, Reference
from pileus.core.verify.world import HeldLease, Taken, View, World
from pileus.model.census import Census
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.migrations import ENDED
from pileus.model.routing import RoutingDomain
from pileus.model.servers import Server
from pileus.store import contents, routing
from pileus.store.actions import ACTIONS, EVENTS
from pileus.store.aggregates import AGGREGATES
from pileus.store.allocations import CONSUMERS
from pileus.store.application_credentials import APPLICATION_CREDENTIALS
from pileus.store.database import Database, Reader, Row
from pileus.store.floating_ips import FLOATING_IPS
from pileus.store.groups import GROUPS
from pileus.store.hosts import HOSTS
from pileus.store.image_tasks import IMAGE_TASKS
from pileus.store.images import IMAGES
from pileus.store.leases import all_leases
from pileus.store.migration_records import MIGRATIONS
from pileus.store.networks import NETWORKS, RBAC_POLICIES
from pileus.store.ports import PORTS
from pileus.store.projects import PROJECTS
from pileus.store.providers import PROVIDERS
from pileus.store.quotas import COUNTABLES
from pileus.store.roles import ROLES
from pileus.store.routers import ROUTERS
from pileus.store.security_groups import RULES, SECURITY_GROUPS
from pileus.store.servers import SERVERS
from pileus.store.subnet_pools import SUBNET_POOLS
from pileus.store.subnets import SUBNETS
from pileus.store.tables import Table
from pileus.store.trusts import TRUSTS
from pileus.store.users import USERS

R = TypeVar("R", bound=msgspec.Struct)
Pause = Callable[[], Awaitable[None]]
PAGE = 500
UNREAD = {  # large, and no invariant looks at them
    "servers": {"image": "'{}'", "user_data": "NULL", "personality": "'{}'", "public_key": "NULL", "admin_password": "NULL",
                "metadata": "'{}'", "hints": "'{}'"},
    "ports": {"allowed_address_pairs": "'[]'", "extra_dhcp_opts": "'[]'", "profile": "'{}'"},
    "users": {"password_hash": "NULL", "extra": "'{}'"},
    "application_credentials": {"secret_hash": "''"},
    "server_migrations": {"target": "NULL", "progress": "NULL", "forecast": "NULL"},
}  # fmt: skip


async def breathe() -> None:
    """Let others go on."""
    await asyncio.sleep(0)


async def gather(db: Database, stores: Mapping[str, Path], pause: Pause = breathe) -> World:
    """The world as the records say; `stores` are the folders of images' contents."""
    parts: dict[str, Any] = {"now": clock.now()}
    for read in (_servers, _placement, _addresses, _networks, _hosts, _identity):
        parts |= await read(db, pause)
        await pause()
    parts |= await _images(db, stores, pause)
    dangling: dict[str, list[tuple[tuple[Any, ...], str]]] = {}
    for reference in REFERENCES:
        if rows := await db.all(_search(reference)):
            dangling[reference.name] = [(tuple(row[:-1]), str(row[-1])) for row in rows]
        await pause()
    return World(**parts, dangling=dangling)


def _search(reference: Reference) -> str:
    """The statement that finds the rows whose reference leads nowhere."""
    one, other = reference.table, "there"
    columns = ", ".join(f"{one}.{column}" for column in (*reference.key, reference.column))
    where = f" AND {reference.where}" if reference.where else ""
    return (
        f"SELECT {columns} FROM {one} WHERE {one}.{reference.column} IS NOT NULL AND NOT EXISTS "  # noqa: S608 names are ours
        f"(SELECT 1 FROM {reference.to} {other} WHERE {other}.{reference.to_column} = {one}.{reference.column}){where}"
    )


async def pages(db: Reader, table: Table[R], pause: Pause, where: str = "1 = 1") -> list[R]:
    """Every row for which the condition holds, without the columns that are not looked at."""
    unread = UNREAD.get(table.name, {})
    columns = ", ".join(unread.get(column, column) for column in table.columns)
    sql = f"SELECT {columns} FROM {table.name} WHERE {where} AND {table.key} > ? ORDER BY {table.key} LIMIT {PAGE}"  # noqa: S608
    found: list[R] = []
    last = ""
    while True:
        rows = await db.all(sql, last)
        found += [table.decode(row) for row in rows]
        await pause()
        if len(rows) < PAGE:
            return found
        last = str(getattr(found[-1], table.key))


async def _servers(db: Database, pause: Pause) -> dict[str, Any]:
    ended = ", ".join(f"'{one.value}'" for one in ENDED)
    odd = f"keys IS NOT NULL OR status NOT IN ({ended}) OR (status IN ('error', 'failed') AND error = '')"
    holds = "id IN (SELECT consumer_id FROM allocations)"
    moves = await pages(db, MIGRATIONS, pause, f"(step <> 'done' OR {odd} OR {holds})")
    servers = await pages(db, SERVERS, pause, "removed_at IS NULL")
    strange = "(result IS NULL) <> (finished_at IS NULL) OR (result = 'Error' AND coalesce(details, '') = '')"
    return {
        "moves": moves,
        "servers": servers,
        "settled": frozenset(one.id for one in servers if one.next_step == Next.NOTHING and one.task_state is None),
        "gone": frozenset(row[0] for row in await db.all("SELECT id FROM servers WHERE removed_at IS NOT NULL")),
        "open_events": await _open_events(db),
        "odd_events": await EVENTS.find(db, strange),
    }


async def _open_events(db: Reader) -> list[tuple[Any, Any]]:
    events = await EVENTS.find(db, "result IS NULL AND finished_at IS NULL")
    ids = [event.action_id for event in events]
    actions: dict[str, Any] = {}
    for start in range(0, len(ids), PAGE):
        part = ids[start : start + PAGE]
        actions |= {one.id: one for one in await ACTIONS.find(db, f"id IN ({', '.join('?' * len(part))})", *part)}
    return [(actions[event.action_id], event) for event in events if event.action_id in actions]


async def _placement(db: Database, pause: Pause) -> dict[str, Any]:
    """Providers and what they give, in one transaction: they change together. What is newer comes later in each order."""

    async def rows(tx: Reader) -> tuple[list[Row], list[Row]]:
        return await tx.all(PROVIDERS.select), await tx.all("SELECT consumer_id, provider_id, resources FROM allocations")

    providers, allocations = await db.write(rows)
    await pause()
    held: dict[str, dict[str, dict[str, int]]] = {}
    for consumer, provider, resources in allocations:
        held.setdefault(consumer, {})[provider] = msgspec.json.decode(resources, type=dict[str, int])
    await pause()
    return {
        "providers": [PROVIDERS.decode(row) for row in providers],
        "allocations": held,
        "consumers": await pages(db, CONSUMERS, pause),
        "epoch": int(await db.value("SELECT value FROM placement_epoch") or 0),
        "custom_traits": frozenset(row[0] for row in await db.all("SELECT name FROM custom_traits")),
        "custom_classes": frozenset(row[0] for row in await db.all("SELECT name FROM custom_resource_classes")),
    }


async def _addresses(db: Database, pause: Pause) -> dict[str, Any]:
    """Ports and what follows them, in one transaction as above."""

    async def rows(tx: Reader) -> tuple[list[Row], ...]:
        unread = UNREAD["ports"]
        columns = ", ".join(unread.get(column, column) for column in PORTS.columns)
        return (
            await tx.all(f"SELECT {columns} FROM ports"),  # noqa: S608 names are ours
            await tx.all("SELECT subnet_id, ip_address, port_id, place FROM addresses"),
            await tx.all("SELECT subnet_id, place FROM address_cursors"),
            await tx.all("SELECT port_id, security_group_id FROM port_security_groups"),
        )

    ports, taken, cursors, memberships = await db.write(rows)
    decoded: list[Any] = []
    for start in range(0, len(ports), PAGE):
        decoded += [PORTS.decode(row) for row in ports[start : start + PAGE]]
        await pause()
    return {
        "ports": decoded,
        "taken": [Taken(subnet_id=row[0], ip_address=row[1], port_id=row[2], place=row[3]) for row in taken],
        "cursors": {row[0]: row[1] for row in cursors},
        "memberships": [(row[0], row[1]) for row in memberships],
    }


async def _networks(db: Database, pause: Pause) -> dict[str, Any]:
    return {
        "networks": await pages(db, NETWORKS, pause),
        "subnets": await pages(db, SUBNETS, pause),
        "subnet_pools": await pages(db, SUBNET_POOLS, pause),
        "rbac_policies": await pages(db, RBAC_POLICIES, pause),
        "routers": await pages(db, ROUTERS, pause),
        "floating_ips": await pages(db, FLOATING_IPS, pause),
        "security_groups": await pages(db, SECURITY_GROUPS, pause),
        "rules": await pages(db, RULES, pause),
        "network_tags": [(row[0], row[1]) for row in await db.all("SELECT resource_id, tag FROM network_tags")],
    }


async def _hosts(db: Database, pause: Pause) -> dict[str, Any]:
    hosts = await pages(db, HOSTS, pause)
    returned = {row[0] for row in await db.all("SELECT name FROM leases WHERE expires_at <= 0")}
    leases = await db.write(all_leases)
    return {
        "hosts": hosts,
        "fenced": frozenset(one.name for one in hosts if is_fenced(one)),
        "aggregates": await pages(db, AGGREGATES, pause),
        "leases": [HeldLease(name=one.name, holder=one.holder, left=one.left, returned=one.name in returned) for one in leases],
        "quota_limits": [(row[0], row[1], row[2]) for row in await db.all("SELECT project_id, resource, limit_value FROM quotas")],
        "countables": frozenset(COUNTABLES),
    }


async def _identity(db: Database, pause: Pause) -> dict[str, Any]:
    return {
        "projects": await pages(db, PROJECTS, pause),
        "users": await pages(db, USERS, pause),
        "groups": await pages(db, GROUPS, pause),
        "roles": await pages(db, ROLES, pause),
        "implied_roles": [(row[0], row[1]) for row in await db.all("SELECT prior_id, implied_id FROM implied_roles")],
        "trusts": await pages(db, TRUSTS, pause),
        "application_credentials": await pages(db, APPLICATION_CREDENTIALS, pause),
        "access_rules": frozenset(row[0] for row in await db.all("SELECT id FROM access_rules")),
        "regions": {row[0]: row[1] for row in await db.all("SELECT id, parent_region_id FROM regions")},
    }


async def _images(db: Database, stores: Mapping[str, Path], pause: Pause) -> dict[str, Any]:
    found = {
        "images": await pages(db, IMAGES, pause),
        "image_tags": [(row[0], row[1]) for row in await db.all("SELECT image_id, tag FROM image_tags")],
        "image_properties": [(row[0], row[1], row[2]) for row in await db.all("SELECT image_id, name, value FROM image_properties")],
        "image_tasks": await pages(db, IMAGE_TASKS, pause),
    }
    return found | {"image_files": await asyncio.to_thread(_contents, stores)}


def _contents(stores: Mapping[str, Path]) -> dict[tuple[str, str], int]:
    folders = [(name, folder) for name, folder in stores.items() if folder.is_dir()]
    return {
        (name, one.name): contents.size_of(one)
        for name, folder in folders
        for one in folder.iterdir()
        if one.is_file() and len(one.name) == 64
    }


async def view(db: Reader, world: World, host: str, census: Census) -> View:
    """What a host has, with what records want there."""
    return view_of(world, host, census, await routing.all_domains(db, host))


def view_of(world: World, host: str, census: Census, wanted_domains: list[RoutingDomain]) -> View:
    """The same, where it is known which domains the records want there."""
    wanted = {namespace_name(census.tag, domain.id): domain for domain in wanted_domains}
    domains = {name: [tap(port.id) for port in domain.ports if port.local] for name, domain in wanted.items()}
    built = frozenset(one.id for one in world.settled_on.get(host, []) if one.fault is None and one.observed is not None)
    guests = (world.server_of.get(one) for one in census.guest_directories)
    return View(
        host=host,
        guests=[_guest(server, census.processes.get(server.id)) for server in guests if server is not None],
        guest_directories=census.guest_directories,
        processes=census.processes,
        namespaces=census.namespaces,
        taps=census.taps,
        domains=domains,
        broken_disks=census.broken_disks,
        disks=census.disks,
        unfiltered=[name for name in census.unfiltered if name in domains],
        addresses=census.addresses,
        served={name: _served(domain) for name, domain in wanted.items()},
        local={name: sorted(_served(domain, built)) for name, domain in wanted.items()},
        needed=sorted(name for name, domain in wanted.items() if any(port.local and port.guest_id in built for port in domain.ports)),
    )


def _served(domain: RoutingDomain, guests: frozenset[str] | None = None) -> dict[str, str]:
    """{address: MAC} of what DHCP (of IPv4) gives a domain's ports, or those on this host of these guests."""
    dhcp = {
        subnet.id for network in domain.networks for subnet in network.subnets if subnet.dhcp and subnet.dhcp_ip and subnet.ip_version == 4
    }
    ports = [port for port in domain.ports if guests is None or (port.local and port.guest_id in guests)]
    return {address: port.mac.lower() for port in ports for subnet_id, address in port.fixed_ips if subnet_id in dhcp}


def _guest(server: Server, pids: list[int] | None) -> ObservedGuest:
    """A guest as the process table has it: a paused one has a process too."""
    if not pids:
        return ObservedGuest(id=server.id, power=ObservedPower.STOPPED)
    paused = server.observed is not None and server.observed.power == ObservedPower.PAUSED
    return ObservedGuest(id=server.id, power=ObservedPower.PAUSED if paused else ObservedPower.RUNNING, pid=pids[0])
