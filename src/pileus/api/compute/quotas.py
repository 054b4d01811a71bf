"""Quota sets of projects, the defaults (quota class `default`), and limits."""

from typing import Any

from pileus.api import policy
from pileus.api.compute import fields
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Forbidden, Invalid
from pileus.store import quotas
from pileus.store.database import Transaction

SHOWN = ("cores", "instances", "key_pairs", "metadata_items", "ram", "server_group_members", "server_groups")
COUNTED = ("cores", "instances", "ram", "server_groups")
QUERY = {"user_id": (2, 1)}
DEFAULT = "default"


class QuotaValues(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits to set; -1 is unlimited."""

    cores: fields.Limit | None = None
    instances: fields.Limit | None = None
    key_pairs: fields.Limit | None = None
    metadata_items: fields.Limit | None = None
    ram: fields.Limit | None = None
    server_group_members: fields.Limit | None = None
    server_groups: fields.Limit | None = None


class ForcedValues(QuotaValues, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`force`: below what is used already."""

    force: fields.Flag = False


class UpdateQuotas(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /os-quota-sets/{project_id}."""

    quota_set: ForcedValues


class UpdateDefaults(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /os-quota-class-sets/{name}."""

    quota_class_set: QuotaValues


async def show(request: Request) -> dict[str, Any]:
    """GET /os-quota-sets/{project_id}."""
    project = _project(request)
    return {"quota_set": {"id": project, **await _limits(request, project)}}


async def detail(request: Request) -> dict[str, Any]:
    """GET /os-quota-sets/{project_id}/detail: with what is used."""
    project = _project(request)
    limits = await _limits(request, project)
    used = {name: await quotas.used(request.cloud.db, project, name) for name in COUNTED}
    detailed = {name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0} for name, limit in limits.items()}
    return {"quota_set": {"id": project, **detailed}}


async def defaults(request: Request) -> dict[str, Any]:
    """GET /os-quota-sets/{project_id}/defaults."""
    fields.check_queries(request, {}, (2, 102))
    return {"quota_set": {"id": request.params["project_id"], **await _limits(request, "")}}


async def update(request: Request) -> dict[str, Any]:
    """PUT /os-quota-sets/{project_id}."""
    fields.check_queries(request, QUERY, (2, 75))
    project = request.params["project_id"]
    wanted = _values(request.body.quota_set)
    forced = fields.flag(request.body.quota_set.force)
    if await quotas.unified(request.cloud.db, "compute"):  # which the identity service keeps: nothing changes, as in Nova
        return {"quota_set": await _limits(request, project)}

    async def work(tx: Transaction) -> None:
        for name, limit in wanted.items():
            used = await quotas.used(tx, project, name)
            if not forced and 0 <= limit < used:
                raise Invalid(
                    f"Quota limit {limit} for {name} must be greater than or equal to already used and reserved {used}.", field=name
                )
        await quotas.set_limits(tx, project, wanted)

    await request.cloud.db.write(work)
    return {"quota_set": await _limits(request, project)}


async def delete(request: Request) -> None:
    """DELETE /os-quota-sets/{project_id}: back to the defaults."""
    fields.check_queries(request, QUERY, (2, 75))
    if not await quotas.unified(request.cloud.db, "compute"):
        await request.cloud.db.write(lambda tx: quotas.reset_limits(tx, request.params["project_id"], "compute"))


async def show_class(request: Request) -> dict[str, Any]:
    """GET /os-quota-class-sets/{name}: there is one class, the defaults."""
    fields.check_queries(request, {}, (2, 102))
    return {"quota_class_set": {"id": request.params["name"], **await _limits(request, "")}}


async def update_class(request: Request) -> dict[str, Any]:
    """PUT /os-quota-class-sets/default."""
    if request.params["name"] != DEFAULT:
        raise Invalid(f"There is no quota class {request.params['name']}; the class 'default' holds the defaults of all projects.")
    wanted = _values(request.body.quota_class_set)
    if await quotas.unified(request.cloud.db, "compute"):
        return {"quota_class_set": await _limits(request, "")}
    await request.cloud.db.write(lambda tx: quotas.set_limits(tx, "", wanted))
    return {"quota_class_set": await _limits(request, "")}


async def limits(request: Request) -> dict[str, Any]:
    """GET /limits: a project's limits, and what of them is used."""
    fields.check_queries(request, {"tenant_id": (2, 1)}, (2, 75))
    project = request.query.get("tenant_id") or request.identity.project_id or ""
    if project != (request.identity.project_id or ""):
        policy.require(request, "os_compute_api:limits:other_project")
    may = await _limits(request, project)
    used = {name: await quotas.used(request.cloud.db, project, name) for name in COUNTED}
    absolute = {
        "maxServerMeta": may["metadata_items"],
        "maxServerGroups": may["server_groups"],
        "maxServerGroupMembers": may["server_group_members"],
        "maxTotalCores": may["cores"],
        "maxTotalInstances": may["instances"],
        "maxTotalKeypairs": may["key_pairs"],
        "maxTotalRAMSize": may["ram"],
        "totalCoresUsed": used["cores"],
        "totalInstancesUsed": used["instances"],
        "totalRAMUsed": used["ram"],
        "totalServerGroupsUsed": used["server_groups"],
    }
    return {"limits": {"rate": [], "absolute": absolute}}


def _project(request: Request) -> str:
    fields.check_queries(request, QUERY, (2, 75))
    project = request.params["project_id"]
    if project != request.identity.project_id and not request.identity.is_admin:
        raise Forbidden(f"Policy doesn't allow {request.route.policy} to be performed.")
    return project


def _values(body: QuotaValues) -> dict[str, int]:
    return {name: int(value) for name in SHOWN if (value := getattr(body, name)) is not None}


async def _limits(request: Request, project: str) -> dict[str, int]:
    found = await quotas.limits(request.cloud.db, project, "compute")
    return {name: found[name] for name in SHOWN}
