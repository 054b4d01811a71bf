"""What projects have used in a period: hours of servers, times their size."""

from typing import Any

from pileus import clock
from pileus.api.compute import fields
from pileus.api.request import Request
from pileus.model.errors import Forbidden, Invalid
from pileus.model.servers import Server
from pileus.store.servers import SERVERS

QUERIES = {"start": (2, 1), "end": (2, 1), "detailed": (2, 1), "limit": (2, 40), "marker": (2, 40)}
DAY = 86400.0
FOUR_WEEKS = 28 * DAY
Window = tuple[float, float]


async def index(request: Request) -> dict[str, Any]:
    """GET /os-simple-tenant-usage: every project."""
    fields.check_queries(request, QUERIES, (2, 75))
    window = _window(request)
    servers, more = await _page(request, window, "1 = 1")
    by_project: dict[str, list[Server]] = {}
    for server in servers:
        by_project.setdefault(server.project_id, []).append(server)
    detailed = request.query.get("detailed") == "1"
    document: dict[str, Any] = {"tenant_usages": [_usage(project, own, window, detailed) for project, own in by_project.items()]}
    if more and "limit" in request.query:
        document["tenant_usages_links"] = fields.next_link(request, "os-simple-tenant-usage", servers[-1].id)
    return document


async def show(request: Request) -> dict[str, Any]:
    """GET /os-simple-tenant-usage/{project_id}."""
    fields.check_queries(request, {name: since for name, since in QUERIES.items() if name != "detailed"}, (2, 75))
    project = request.params["project_id"]
    if project != request.identity.project_id and not request.identity.is_admin:
        raise Forbidden(f"Policy doesn't allow {request.route.policy} to be performed.")
    window = _window(request)
    servers, more = await _page(request, window, "project_id = ?", project)
    document: dict[str, Any] = {"tenant_usage": _usage(project, servers, window, True) if servers else {}}
    if more and "limit" in request.query:
        document["tenant_usage_links"] = fields.next_link(request, f"os-simple-tenant-usage/{project}", servers[-1].id)
    return document


def _window(request: Request) -> Window:
    now = clock.now()
    end = fields.query_time(request, "end") or now
    start = fields.query_time(request, "start") or now - FOUR_WEEKS
    if start > end:
        raise Invalid("Invalid start time. The start time cannot occur after the end time.", field="start")
    return start, end


async def _page(request: Request, window: Window, where: str, *args: Any) -> tuple[list[Server], bool]:
    """Servers that were launched before the period's end and not gone before its start, by id."""
    start, end = window
    limit = fields.page_limit(request)
    during = "launched_at IS NOT NULL AND launched_at < ? AND (terminated_at IS NULL OR terminated_at > ?)"
    after = request.query.get("marker", "")
    found = await SERVERS.find(request.cloud.db, f"{where} AND {during} AND id > ? ORDER BY id LIMIT {limit + 1}", *args, end, start, after)
    return found[:limit], len(found) > limit > 0


def _usage(project: str, servers: list[Server], window: Window, detailed: bool) -> dict[str, Any]:
    views = [_server(server, window) for server in servers]
    usage: dict[str, Any] = {
        "tenant_id": project,
        "start": fields.iso_micro(window[0]),
        "stop": fields.iso_micro(window[1]),
        "total_hours": sum(one["hours"] for one in views),
        "total_vcpus_usage": sum(one["hours"] * one["vcpus"] for one in views),
        "total_memory_mb_usage": sum(one["hours"] * one["memory_mb"] for one in views),
        "total_local_gb_usage": sum(one["hours"] * one["local_gb"] for one in views),
    }
    return usage | ({"server_usages": views} if detailed else {})


def _server(server: Server, window: Window) -> dict[str, Any]:
    start, end = window
    began = server.launched_at or server.created_at
    until = min(server.terminated_at or end, end)
    return {
        "instance_id": server.id,
        "name": server.name,
        "tenant_id": server.project_id,
        "flavor": server.flavor.name,
        "vcpus": server.vcpus,
        "memory_mb": server.memory_mib,
        "local_gb": server.flavor.disk + server.flavor.ephemeral,
        "started_at": fields.iso_micro(began),
        "ended_at": fields.iso_micro(server.terminated_at),
        "hours": max(0.0, until - max(began, start)) / 3600,
        "uptime": int(max(0.0, (server.terminated_at or clock.now()) - began)),
        "state": "terminated" if server.terminated_at else server.vm_state,
    }
