"""What is used: of a provider, and by a project."""

import re
from typing import Any

from pileus.api.placement import queries
from pileus.api.placement.answers import answer
from pileus.api.request import Request, Response
from pileus.model.errors import Forbidden, Invalid
from pileus.store import allocations, providers

UNKNOWN, ALL = "unknown", "all"


async def provider_usages(request: Request) -> Response:
    """What is used of each class that a provider has."""
    provider = await providers.get(request.cloud.db, request.params["uuid"])
    used = {name: provider.used.get(name, 0) for name in provider.inventories}
    return answer(request, {"resource_provider_generation": provider.generation, "usages": used})


async def total_usages(request: Request) -> Response:
    """What a project (or one of its users) uses, by type of consumer."""
    project, user, kind = (queries.one(request, name) for name in queries.USAGES)
    _check_project(request, project)
    queries.check_names(request, queries.USAGES)
    if project is None:
        raise Invalid(f"{queries.BAD}'project_id' is a required property", field="project_id")
    for name in ("project_id", "user_id"):
        if not 1 <= len(request.query.get(name, "x")) <= 255:
            raise Invalid(f"{queries.BAD}{name} has 1 to 255 characters", field=name)
    if kind is not None and kind not in (ALL, UNKNOWN) and (not re.fullmatch("[A-Z0-9_]+", kind) or len(kind) > 255):
        raise Invalid(f"{queries.BAD}'{kind}' does not match '^[A-Z0-9_]+$|^all|^unknown$'", field="consumer_type")
    usages: dict[str, dict[str, int]] = {}
    for consumer_type, resources in await allocations.of_project(request.cloud.db, project, user):
        shown = ALL if kind == ALL else consumer_type or UNKNOWN
        if kind in (None, ALL, shown):
            total = usages.setdefault(shown, {"consumer_count": 0})
            total["consumer_count"] += 1
            for name, amount in resources.items():
                total[name] = total.get(name, 0) + amount
    return answer(request, {"usages": usages})


def _check_project(request: Request, project: str | None) -> None:
    who = request.identity
    if not (who.is_admin or who.has("service") or project == who.project_id):
        raise Forbidden("Policy doesn't allow placement:usages to be performed for another project.", action="placement:usages")


def without_types(request: Request, document: dict[str, Any]) -> dict[str, Any]:
    """Usage as one sum, as it was before consumers had types."""
    total: dict[str, int] = {}
    for usage in document["usages"].values():
        for name, amount in usage.items():
            if name != "consumer_count":
                total[name] = total.get(name, 0) + amount
    return {"usages": total}
