"""What was asked of a server, and how it went."""

from typing import Any

from pileus.api import policy
from pileus.api.compute import fields
from pileus.api.compute import servers as resource
from pileus.api.compute.server_views import host_id
from pileus.api.request import Request
from pileus.model.actions import Action, ActionEvent
from pileus.model.errors import Invalid, NotFound
from pileus.model.servers import Server
from pileus.store import actions

QUERIES = {"limit": (2, 58), "marker": (2, 58), "changes-since": (2, 58), "changes-before": (2, 66)}


async def index(request: Request) -> dict[str, Any]:
    """GET os-instance-actions: newest first, of deleted servers too."""
    return await _index(request, removed=True)


async def index_of_living(request: Request) -> dict[str, Any]:
    """The same before 2.21."""
    return await _index(request, removed=False)


async def show(request: Request) -> dict[str, Any]:
    """GET os-instance-actions/{request_id}: with its events."""
    return await _show(request, removed=True)


async def show_of_living(request: Request) -> dict[str, Any]:
    """The same before 2.21."""
    return await _show(request, removed=False)


async def _index(request: Request, removed: bool) -> dict[str, Any]:
    fields.check_queries(request, QUERIES, (2, 58))
    server = await resource.visible(request, request.cloud.db, removed)
    since, before = fields.query_time(request, "changes-since"), fields.query_time(request, "changes-before")
    if since is not None and before is not None and since > before:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.", field="changes-since")
    found = await actions.of_server(
        request.cloud.db, server.id, "updated_at >= ? AND updated_at < ?", since or 0.0, before + 1 if before is not None else 1e18
    )
    marker = request.query.get("marker")
    if marker is not None:
        ids = [one.request_id for one in found]
        if marker not in ids:
            raise Invalid(f"Marker {marker} could not be found.", field="marker")
        found = found[ids.index(marker) + 1 :]
    limit = fields.page_limit(request)
    document: dict[str, Any] = {"instanceActions": [_view(one) for one in found[:limit]]}
    if len(found) > limit > 0 and "limit" in request.query:
        document["links"] = fields.next_link(request, f"servers/{server.id}/os-instance-actions", found[limit - 1].request_id)
    return document


async def _show(request: Request, removed: bool) -> dict[str, Any]:
    fields.check_queries(request, {}, (2, 102))
    server = await resource.visible(request, request.cloud.db, removed)
    action = await actions.get(request.cloud.db, server.id, request.params["request_id"])
    if action is None:
        raise NotFound(f"Action for request_id {request.params['request_id']} on instance {server.id} not found")
    events = await actions.events_of(request.cloud.db, action.id)
    admin = policy.allowed(request, "os_compute_api:os-instance-actions:events")
    return {"instanceAction": _view(action) | {"events": [_event(one, server, admin) for one in events]}}


def _view(action: Action) -> dict[str, Any]:
    return {
        "action": action.action,
        "instance_uuid": action.server_id,
        "request_id": action.request_id,
        "user_id": action.user_id,
        "project_id": action.project_id,
        "start_time": fields.iso_micro(action.started_at),
        "message": action.message,
        "updated_at": fields.iso_micro(action.updated_at),
    }


def _event(event: ActionEvent, server: Server, admin: bool) -> dict[str, Any]:
    view = {
        "event": event.event,
        "start_time": fields.iso_micro(event.started_at),
        "finish_time": fields.iso_micro(event.finished_at),
        "result": event.result,
        "hostId": host_id(server) if event.host else "",
        "details": event.details if event.result != "Success" else None,
    }
    if admin:
        view["traceback"] = event.traceback
        if event.host:
            view["host"] = event.host
    return view
