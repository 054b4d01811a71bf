"""Hypervisors: a host each, as its node reports it."""

from typing import Any

from pileus.api.compute import fields
from pileus.api.request import Request
from pileus.model.errors import Invalid, NotFound
from pileus.model.hosts import Host, HostReport
from pileus.store import hosts

LIST = {"limit": (2, 33), "marker": (2, 33), "hypervisor_hostname_pattern": (2, 53), "with_servers": (2, 53)}
SHOW = {"with_servers": (2, 53)}
STRICT = (2, 53)
FIGURES = (
    "vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used", "local_gb_used", "free_ram_mb", "free_disk_gb", "current_workload",
    "running_vms", "disk_available_least",
)  # fmt: skip
USED = "SELECT host, sum(vcpus), sum(memory_mib), count(*) FROM servers WHERE removed_at IS NULL AND host IS NOT NULL GROUP BY host"
Used = dict[str, tuple[int, int, int]]


async def index(request: Request) -> dict[str, Any]:
    """GET /os-hypervisors."""
    return await _list(request, "os-hypervisors", detailed=False)


async def detail(request: Request) -> dict[str, Any]:
    """GET /os-hypervisors/detail."""
    return await _list(request, "os-hypervisors/detail", detailed=True)


async def show(request: Request) -> dict[str, Any]:
    """GET /os-hypervisors/{hypervisor_id}."""
    fields.check_queries(request, SHOW, STRICT)
    host = await find(request, request.params["hypervisor_id"])
    with_servers = bool(fields.query_flag(request, "with_servers", False))
    used = await _used(request)
    return {"hypervisor": _detailed(request, host, used) | await _servers(request, [host.name], with_servers, host.name)}


async def uptime(request: Request) -> dict[str, Any]:
    """GET /os-hypervisors/{hypervisor_id}/uptime, gone with 2.88."""
    host = await find(request, request.params["hypervisor_id"])
    return {"hypervisor": _basic(request, host) | {"uptime": _uptime(host)}}


async def search(request: Request) -> dict[str, Any]:
    """GET /os-hypervisors/{pattern}/search, gone with 2.53."""
    return {"hypervisors": [_basic(request, host) for host in await _matching(request, request.params["hypervisor_id"])]}


async def search_with_servers(request: Request) -> dict[str, Any]:
    """GET /os-hypervisors/{pattern}/servers, gone with 2.53."""
    found = await _matching(request, request.params["hypervisor_id"])
    names = [host.name for host in found]
    return {"hypervisors": [_basic(request, host) | await _servers(request, names, True, host.name) for host in found]}


async def statistics(request: Request) -> dict[str, Any]:
    """GET /os-hypervisors/statistics, gone with 2.88: sums over all hosts."""
    used = await _used(request)
    every = [_figures(host, used) for host in await hosts.every_host(request.cloud.db)]
    return {"hypervisor_statistics": {"count": len(every), **{name: sum(one[name] for one in every) for name in FIGURES}}}


async def find(request: Request, key: str) -> Host:
    """The host by its UUID, or before 2.53 by its number. The newest version's numbers are remembered for the older ones."""
    for host in await hosts.every_host(request.cloud.db):
        if (host.id if request.version >= (2, 53) else str(host.number)) == key:
            return host
    raise NotFound(f"Hypervisor with ID '{key}' could not be found.")


async def _list(request: Request, path: str, detailed: bool) -> dict[str, Any]:
    fields.check_queries(request, LIST, STRICT)
    paged = "limit" in request.query or "marker" in request.query
    pattern = request.query.get("hypervisor_hostname_pattern")
    if pattern is not None and paged:
        raise Invalid("Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.")
    found = await _matching(request, pattern) if pattern is not None else await hosts.every_host(request.cloud.db)
    found.sort(key=lambda host: host.number)
    found = _after(request, found)
    limit = fields.page_limit(request)
    shown = found[:limit]
    with_servers = bool(fields.query_flag(request, "with_servers", False))
    used = await _used(request) if detailed else {}
    names = [host.name for host in shown]
    views = [
        (_detailed(request, host, used) if detailed else _basic(request, host)) | await _servers(request, names, with_servers, host.name)
        for host in shown
    ]
    document: dict[str, Any] = {"hypervisors": views}
    if len(found) > limit > 0 and paged:
        last = shown[-1].id if request.version >= (2, 53) else str(shown[-1].number)
        document["hypervisors_links"] = fields.next_link(request, path, last)
    return document


def _after(request: Request, found: list[Host]) -> list[Host]:
    marker = request.query.get("marker")
    if marker is None:
        return found
    keys = [host.id if request.version >= (2, 53) else str(host.number) for host in found]
    if marker not in keys:
        raise Invalid(f"marker [{marker}] not found", field="marker")
    return found[keys.index(marker) + 1 :]


async def _matching(request: Request, pattern: str) -> list[Host]:
    found = [host for host in await hosts.every_host(request.cloud.db) if pattern in host.name]
    if not found:
        raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
    return found


async def _used(request: Request) -> Used:
    return {row[0]: (row[1], row[2], row[3]) for row in await request.cloud.db.all(USED)}


async def _servers(request: Request, names: list[str], wanted: bool, host: str) -> dict[str, Any]:
    """The servers of a host, when they are asked for; one query for all hosts of the list."""
    if not wanted:
        return {}
    if "servers_by_host" not in request.notes:
        marks = ", ".join("?" * len(names))
        sql = f"SELECT host, id FROM servers WHERE removed_at IS NULL AND host IN ({marks}) ORDER BY created_at, id"  # noqa: S608
        listed: dict[str, list[dict[str, str]]] = {name: [] for name in names}
        for name, key in await request.cloud.db.all(sql, *names):
            listed[name].append({"name": f"instance-{key[:8]}", "uuid": key})
        request.notes["servers_by_host"] = listed
    return {"servers": request.notes["servers_by_host"][host]}


def _basic(request: Request, host: Host) -> dict[str, Any]:
    request.notes.setdefault("numbers", {})[host.id] = host.number
    up = hosts.is_up(host, request.received_at, request.cloud.config.node_silence)
    return {
        "id": host.id,
        "hypervisor_hostname": host.name,
        "state": "up" if up else "down",
        "status": "enabled" if host.enabled else "disabled",
    }


def _detailed(request: Request, host: Host, used: Used) -> dict[str, Any]:
    first = host.report.capabilities[0] if host.report and host.report.capabilities else None
    figures = _figures(host, used)
    figures["cpu_info"] = _cpu_info(host.report)
    request.notes.setdefault("hypervisors", {})[host.id] = figures
    return _basic(request, host) | {
        "hypervisor_type": first.hypervisor_type if first else "",
        "hypervisor_version": first.hypervisor_version if first else 0,
        "host_ip": (host.report.address or None) if host.report else None,
        "service": {"id": host.service_id, "host": host.name, "disabled_reason": host.disabled_reason},
        "uptime": _uptime(host),
    }


def _uptime(host: Host) -> str | None:
    """How long the host's node has been running when it last reported."""
    if host.report is None:
        return None
    minutes = int(max(0.0, host.report.reported_at - host.report.started_at) // 60)
    return f"up {minutes // 1440} days, {minutes // 60 % 24:02d}:{minutes % 60:02d}"


def _figures(host: Host, used: Used) -> dict[str, Any]:
    """What versions below 2.88 show."""
    report = host.report
    vcpus, memory, count = used.get(host.name, (0, 0, 0))
    total_memory, total_disk = (report.memory_mib, report.disk_gib) if report else (0, 0)
    disk = report.disk_used_gib if report else 0
    return {
        "vcpus": report.vcpus if report else 0,
        "memory_mb": total_memory,
        "local_gb": total_disk,
        "vcpus_used": vcpus,
        "memory_mb_used": memory,
        "local_gb_used": disk,
        "free_ram_mb": total_memory - memory,
        "free_disk_gb": total_disk - disk,
        "current_workload": 0,
        "running_vms": count,
        "disk_available_least": total_disk - disk,
    }


def _cpu_info(report: HostReport | None) -> dict[str, Any]:
    if report is None or not report.capabilities:
        return {}
    first = report.capabilities[0]
    return {
        "arch": first.architectures[0] if first.architectures else "",
        "model": first.cpu_model,
        "topology": {"sockets": 1, "cores": report.vcpus, "threads": 1},
    }
