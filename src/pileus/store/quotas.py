"""Quota: limits of a project, and the count of what it has, inside the transaction that adds to it.

A resource's row says its default and the SQL that counts a project's use (one placeholder: the project's id). -1 is unlimited.
"""

from pileus.model.base import Model
from pileus.model.errors import QuotaExceeded
from pileus.store.database import Reader, Transaction


class Countable(Model, frozen=True, kw_only=True):
    """A resource that is limited. `count` None: a limit on one request (metadata items), checked where that is parsed."""

    service: str  # compute, network, image, block_storage
    default: int
    count: str | None = None


SERVERS = "FROM servers WHERE project_id = ? AND removed_at IS NULL"
COUNTABLES: dict[str, Countable] = {
    "instances": Countable(service="compute", default=50, count=f"SELECT count(*) {SERVERS}"),
    "cores": Countable(service="compute", default=100, count=f"SELECT coalesce(sum(vcpus), 0) {SERVERS}"),
    "ram": Countable(service="compute", default=204800, count=f"SELECT coalesce(sum(memory_mib), 0) {SERVERS}"),
    "metadata_items": Countable(service="compute", default=128),
    "injected_files": Countable(service="compute", default=5),
    "injected_file_content_bytes": Countable(service="compute", default=10240),
    "injected_file_path_bytes": Countable(service="compute", default=255),
    "key_pairs": Countable(service="compute", default=100),
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
    "image_size_total": Countable(  # MiB
        service="image", default=-1, count="SELECT (coalesce(sum(size), 0) + 1048575) / 1048576 FROM images WHERE owner = ?"
    ),
}


async def limits(db: Reader, project_id: str, service: str) -> dict[str, int]:
    """The project's limits of a service: its own, else the operator's defaults, else ours."""
    own = await _limits(db, project_id)
    return {name: own.get(name, one.default) for name, one in COUNTABLES.items() if one.service == service}


async def limit(db: Reader, project_id: str, resource: str) -> int:
    """One limit."""
    found = await db.value(
        "SELECT limit_value FROM quotas WHERE project_id IN ('', ?) AND resource = ? ORDER BY project_id DESC", project_id, resource
    )
    return COUNTABLES[resource].default if found is None else int(found)


async def used(db: Reader, project_id: str, resource: str) -> int:
    """How much of a resource the project has now."""
    sql = COUNTABLES[resource].count
    return 0 if sql is None else int(await db.value(sql, project_id))


async def charge(tx: Transaction, project_id: str, **wanted: int) -> None:
    """QuotaExceeded unless the project may have so much more of each resource; nothing is kept, the rows themselves count.

    The error's data: `resources` (names over their limit), `wanted`, `used`, `limit` by name.
    """
    over: list[str] = []
    have: dict[str, int] = {}
    may: dict[str, int] = {}
    found = await _limits(tx, project_id)
    for name, amount in wanted.items():
        may[name] = found.get(name, COUNTABLES[name].default)
        if may[name] < 0 or amount <= 0:
            continue
        have[name] = await used(tx, project_id, name)
        if have[name] + amount > may[name]:
            over.append(name)
    if over:
        words = ", ".join(f"{name}: requested {wanted[name]}, used {have[name]} of {may[name]}" for name in over)
        raise QuotaExceeded(f"Quota exceeded for {words}.", resources=over, wanted=wanted, used=have, limit=may)


async def _limits(db: Reader, project_id: str) -> dict[str, int]:
    rows = await db.all("SELECT resource, limit_value FROM quotas WHERE project_id IN ('', ?) ORDER BY project_id", project_id)
    return {row[0]: row[1] for row in rows}


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
