"""Quota: limits of a project, and the count of what it has, inside the transaction that adds to it.

A resource's row says its default and the SQL that counts a project's use (one placeholder: the project's id). -1 is unlimited.
Limits are a service's own (the table `quotas`), or unified ones where the cloud's settings say so (`unified_quotas`): asked for here alone.
"""

import msgspec

from pileus.core.placement_request import resources_of
from pileus.model.base import Model
from pileus.model.errors import Invalid, QuotaExceeded
from pileus.model.limits import Allowance
from pileus.model.servers import ServerFlavor
from pileus.store.database import Reader, Transaction
from pileus.store.unified_quotas import Allowances, allowances, source


class Countable(Model, frozen=True, kw_only=True):
    """A resource that is limited. `count` None: a limit on one request (metadata items), checked where that is parsed."""

    service: str  # compute, network, image, block_storage
    default: int
    count: str | None = None
    unified: str | None = None  # what it is called as a unified limit, where that is another name


SERVERS = "FROM servers WHERE project_id = ? AND removed_at IS NULL"
COUNTABLES: dict[str, Countable] = {
    "instances": Countable(service="compute", default=50, count=f"SELECT count(*) {SERVERS}", unified="servers"),
    "cores": Countable(service="compute", default=100, count=f"SELECT coalesce(sum(vcpus), 0) {SERVERS}", unified="class:VCPU"),
    "ram": Countable(service="compute", default=204800, count=f"SELECT coalesce(sum(memory_mib), 0) {SERVERS}", unified="class:MEMORY_MB"),
    "metadata_items": Countable(service="compute", default=128, unified="server_metadata_items"),
    "injected_files": Countable(service="compute", default=5, unified="server_injected_files"),
    "injected_file_content_bytes": Countable(service="compute", default=10240, unified="server_injected_file_content_bytes"),
    "injected_file_path_bytes": Countable(service="compute", default=255, unified="server_injected_file_path_bytes"),
    "key_pairs": Countable(service="compute", default=100, unified="server_key_pairs"),
    "server_groups": Countable(service="compute", default=10, count="SELECT count(*) FROM server_groups WHERE project_id = ?"),
    "server_group_members": Countable(service="compute", default=10),
    "network": Countable(service="network", default=100, count="SELECT count(*) FROM networks WHERE project_id = ?"),
    "subnet": Countable(service="network", default=100, count="SELECT count(*) FROM subnets WHERE project_id = ?"),
    "subnetpool": Countable(service="network", default=-1, count="SELECT count(*) FROM subnet_pools WHERE project_id = ?"),
    "port": Countable(service="network", default=500, count="SELECT count(*) FROM ports WHERE project_id = ?"),
    "router": Countable(service="network", default=10, count="SELECT count(*) FROM routers WHERE project_id = ?"),
    "floatingip": Countable(service="network", default=50, count="SELECT count(*) FROM floating_ips WHERE project_id = ?"),
    "security_group": Countable(service="network", default=10, count="SELECT count(*) FROM security_groups WHERE project_id = ?"),
    "security_group_rule": Countable(
        service="network", default=100, count="SELECT count(*) FROM security_group_rules WHERE project_id = ?"
    ),
    "rbac_policy": Countable(service="network", default=10, count="SELECT count(*) FROM network_rbac_policies WHERE project_id = ?"),
    "image_count_total": Countable(service="image", default=-1, count="SELECT count(*) FROM images WHERE owner = ?"),
    "image_count_uploading": Countable(
        service="image", default=-1, count="SELECT count(*) FROM images WHERE owner = ? AND status IN ('saving', 'uploading', 'importing')"
    ),
    "image_stage_total": Countable(  # MiB
        service="image", default=-1, count="SELECT (coalesce(sum(staged), 0) + 1048575) / 1048576 FROM images WHERE owner = ?"
    ),
    "image_size_total": Countable(  # MiB
        service="image", default=-1, count="SELECT (coalesce(sum(size), 0) + 1048575) / 1048576 FROM images WHERE owner = ?"
    ),
}
CLASS = "class:"
COUNTED_CLASSES = ("VCPU", "MEMORY_MB")
"""Resource classes that are `cores` and `ram` here."""
UNBOUND = Allowance(limit=-1)
TREE = "IN (SELECT id FROM projects WHERE domain_id = ? OR id = ?)"
"""The projects of a domain, and itself."""


def called(name: str) -> str:
    """What a resource is called as a unified limit."""
    return name if name.startswith(CLASS) else COUNTABLES[name].unified or name


def classes_of(flavor: ServerFlavor) -> dict[str, int]:
    """The resource classes that a server takes, beside its cores and memory, by the names of unified limits."""
    try:
        found = resources_of(flavor)
    except Invalid:  # a flavor with an extra spec that can't be meant: Placement says so
        return {}
    return {f"{CLASS}{name}": amount for name, amount in found.items() if name not in COUNTED_CLASSES}


class Limits:
    """The limits of one project that are in force in a service."""

    def __init__(self, own: dict[str, int], unified: Allowances | None) -> None:
        """`own`: by resource; without a unified one, what is missing has its default."""
        self._own = own
        self.unified = unified

    def of(self, name: str) -> Allowance:
        """What the project may have of a resource, or of a resource class (`class:DISK_GB`), which are unified limits alone."""
        if self.unified is not None:
            return self.unified.of(called(name))
        return UNBOUND if name.startswith(CLASS) else Allowance(limit=self._own.get(name, COUNTABLES[name].default))


async def in_force(db: Reader, project_id: str, service: str) -> Limits:
    """A project's limits ('': those of one that nothing is said of): its own, else the operator's defaults, else ours; or unified ones."""
    rows = await db.all(
        "SELECT project_id, resource, limit_value FROM quotas WHERE project_id IN ('', ?)"
        " UNION ALL SELECT service, settings, NULL FROM quota_sources ORDER BY 1",
        project_id,
    )
    for name, settings, value in rows:
        if value is None and name == service:
            return Limits({}, await allowances(db, source(settings), project_id))
    return Limits({row[1]: row[2] for row in rows if row[2] is not None}, None)


async def limits(db: Reader, project_id: str, service: str) -> dict[str, int]:
    """The project's limits of a service, by resource."""
    found = await in_force(db, project_id, service)
    return {name: found.of(name).limit for name, one in COUNTABLES.items() if one.service == service}


async def limit(db: Reader, project_id: str, resource: str) -> int:
    """One limit."""
    return (await in_force(db, project_id, COUNTABLES[resource].service)).of(resource).limit


async def unified(db: Reader, service: str) -> bool:
    """Whether a service's limits are unified ones, which are not its own to change."""
    return await db.value("SELECT 1 FROM quota_sources WHERE service = ?", service) is not None


async def used(db: Reader, project_id: str, resource: str) -> int:
    """How much of a resource the project has now."""
    sql = COUNTABLES[resource].count
    return 0 if sql is None else int(await db.value(sql, project_id))


async def _levels(db: Reader, project_id: str, resource: str, may: Allowance) -> list[tuple[int, int]]:
    """(used, limit) of the project, and of its domain, where there is a limit."""
    count = _count_class if resource.startswith(CLASS) else _count
    levels: list[tuple[int, int]] = []
    if may.limit >= 0:
        levels.append((await count(db, resource, "= ?", project_id), may.limit))
    if may.domain_limit >= 0:
        levels.append((await count(db, resource, TREE, may.domain_id, may.domain_id), may.domain_limit))
    return levels


async def _count(db: Reader, resource: str, whose: str, *args: str) -> int:
    sql = COUNTABLES[resource].count
    return 0 if sql is None else int(await db.value(sql.replace("= ?", whose), *args))


async def _count_class(db: Reader, resource: str, whose: str, *args: str) -> int:
    """What servers take of a class: their flavors say it, and servers have few different ones."""
    rows = await db.all(f"SELECT flavor, count(*) {SERVERS.replace('= ?', whose)} GROUP BY flavor", *args)
    return sum(classes_of(msgspec.json.decode(flavor, type=ServerFlavor)).get(resource, 0) * count for flavor, count in rows)


async def charge(tx: Transaction, project_id: str, **wanted: int) -> None:
    """QuotaExceeded unless the project may have so much more of each resource of a service; nothing is kept, the rows themselves count.

    The error's data: `resources` (names over their limit), `wanted`, and of those over their limit `used` and `limit`, by name.
    """
    over: list[str] = []
    have: dict[str, int] = {}
    may: dict[str, int] = {}
    found = await in_force(tx, project_id, COUNTABLES[next(iter(wanted))].service)
    for name, amount in wanted.items():
        if amount <= 0:
            continue
        for held, most in await _levels(tx, project_id, name, found.of(name)):
            if held + amount > most:
                have[name], may[name] = held, most
                over.append(name)
                break
    if over:
        raise _exceeded(found, project_id, over, {"wanted": wanted, "used": have, "limit": may})


def _exceeded(found: Limits, project_id: str, over: list[str], data: dict[str, dict[str, int]]) -> QuotaExceeded:
    wanted, have, may = data["wanted"], data["used"], data["limit"]
    if found.unified is None:
        words = ", ".join(f"{name}: requested {wanted[name]}, used {have[name]} of {may[name]}" for name in over)
        return QuotaExceeded(f"Quota exceeded for {words}.", resources=over, **data)
    words = ", ".join(
        f"Resource {called(name)} is over limit of {may[name]} due to current usage {have[name]} and delta {wanted[name]}" for name in over
    )
    return QuotaExceeded(f"Project {project_id} is over a limit for [{words}]", resources=over, **data)


async def set_limits(tx: Transaction, project_id: str, changes: dict[str, int]) -> None:
    """Give a project (or '', the defaults) limits of its own."""
    for name, value in changes.items():
        await tx.execute("DELETE FROM quotas WHERE project_id = ? AND resource = ?", project_id, name)
        await tx.execute("INSERT INTO quotas (project_id, resource, limit_value) VALUES (?, ?, ?)", project_id, name, value)


async def reset_limits(tx: Transaction, project_id: str, service: str) -> None:
    """Take a project's own limits of a service away."""
    for name, one in COUNTABLES.items():
        if one.service == service:
            await tx.execute("DELETE FROM quotas WHERE project_id = ? AND resource = ?", project_id, name)
