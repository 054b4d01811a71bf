"""Quotas of networks and what belongs to them."""

from typing import Any

from pileus.api.network.handlers import body_of, write
from pileus.api.network.kinds import Call
from pileus.api.network.validators import InvalidValue, integer
from pileus.api.request import Request, Response
from pileus.model.errors import Forbidden, Invalid
from pileus.store import quotas

SERVICE = "network"
FLAGS = {"force", "check_limit", "tenant_id", "project_id"}


async def index(request: Request) -> dict[str, Any]:
    """Projects that have limits of their own."""
    rows = await request.cloud.db.all("SELECT DISTINCT project_id, resource FROM quotas WHERE project_id <> '' ORDER BY project_id")
    projects = sorted({row[0] for row in rows if row[1] in quotas.COUNTABLES and quotas.COUNTABLES[row[1]].service == SERVICE})
    found: list[dict[str, Any]] = []
    for project in projects:
        found.append({**await quotas.limits(request.cloud.db, project, SERVICE), "project_id": project, "tenant_id": project})
    return {"quotas": found}


async def tenant(request: Request) -> dict[str, Any]:
    """Whose quotas a client without a project in mind would ask for."""
    return {"tenant": {"tenant_id": request.project_id}}


async def show(request: Request) -> dict[str, Any]:
    """A project's limits."""
    project = _project(request)
    limits = await quotas.limits(request.cloud.db, project, SERVICE)
    return {"quota": {**limits, "project_id": project}}


async def defaults(request: Request) -> dict[str, Any]:
    """The limits of a project that has none of its own."""
    _project(request)
    return {"quota": await quotas.limits(request.cloud.db, "", SERVICE)}


async def details(request: Request) -> dict[str, Any]:
    """Limits with what is used."""
    project = _project(request)
    limits = await quotas.limits(request.cloud.db, project, SERVICE)
    found: dict[str, Any] = {}
    for name, limit in limits.items():
        found[name] = {"limit": limit, "used": await quotas.used(request.cloud.db, project, name), "reserved": 0}
    return {"quota": found}


async def update(request: Request) -> dict[str, Any]:
    """Give a project limits of its own."""
    project = request.params["project_id"]
    body: Any = body_of(request, "quota")
    changes: dict[str, int] = {}
    for name, value in (body if isinstance(body, dict) else {}).items():
        if name in FLAGS:
            continue
        if name not in quotas.COUNTABLES or quotas.COUNTABLES[name].service != SERVICE:
            raise Invalid(f"Unrecognized attribute(s) '{name}'", field=name)
        try:
            changes[name] = integer(-1, 2**31 - 1)(value)
        except InvalidValue as error:
            raise Invalid(f"Invalid input for {name}. Reason: {error}.", field=name) from error

    async def work(call: Call) -> None:
        await quotas.set_limits(call.tx, project, changes)

    if not await quotas.unified(request.cloud.db, SERVICE):  # unified limits are the identity service's to change
        await write(request, work)
    return {"quota": await quotas.limits(request.cloud.db, project, SERVICE)}


async def reset(request: Request) -> Response:
    """Take a project's own limits away."""

    async def work(call: Call) -> None:
        await quotas.reset_limits(call.tx, request.params["project_id"], SERVICE)

    if not await quotas.unified(request.cloud.db, SERVICE):
        await write(request, work)
    return Response(204)


def _project(request: Request) -> str:
    project = request.params["project_id"]
    if project != request.identity.project_id and not request.identity.is_admin:
        raise Forbidden("Only admin is authorized to access quotas for another tenant", type="NotAuthorized")
    return project
