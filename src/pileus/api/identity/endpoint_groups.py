"""Which endpoints a project sees: groups of them by their attributes, given to projects (Keystone's OS-EP-FILTER)."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.catalog import all_endpoints, all_services, in_group, project_endpoints
from pileus.api.identity.documents import Document, Name, changes, collection, found, fresh, self_link, write
from pileus.api.identity.endpoints import endpoint_document
from pileus.api.identity.projects import project_document
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.catalog import EndpointGroup, Interface
from pileus.model.errors import Invalid, NotFound
from pileus.store import catalog as store
from pileus.store.catalog import ENDPOINT_GROUPS
from pileus.store.database import Reader, Transaction
from pileus.store.projects import PROJECTS, by_ids

Text = Annotated[str, Meta(max_length=4096)]
PLACE = ("OS-EP-FILTER", "endpoint_groups")


class Filters(Model, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Attributes that endpoints of the group have."""

    service_id: str | None = None
    region_id: str | None = None
    interface: Interface | None = None
    enabled: bool | None = None


class NewGroup(Model, frozen=True, kw_only=True):
    """Attributes of a new group."""

    name: Name
    filters: Filters
    description: Text | None = None


class CreateGroup(Model, frozen=True, kw_only=True):
    """POST /v3/OS-EP-FILTER/endpoint_groups."""

    endpoint_group: NewGroup


class GroupChanges(Model, frozen=True, kw_only=True):
    """What may change; filters take the place of those that are there."""

    name: Name | UnsetType = UNSET
    filters: Filters | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET


class UpdateGroup(Model, frozen=True, kw_only=True):
    """PATCH /v3/OS-EP-FILTER/endpoint_groups/{id}."""

    endpoint_group: GroupChanges


def _document(request: Request, group: EndpointGroup) -> Document:
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "filters": group.filters,
        "links": self_link(request, *PLACE, group.id),
    }


def _plain(filters: Filters) -> dict[str, Any]:
    values = {name: getattr(filters, name) for name in filters.__struct_fields__}
    return {name: str(value) if isinstance(value, Interface) else value for name, value in values.items() if value is not None}


async def _find(request: Request, db: Reader) -> EndpointGroup:
    key = request.params["group_id"]
    return found(await ENDPOINT_GROUPS.get(db, key), "endpoint group", key)


async def _check(request: Request, db: Reader, filters: dict[str, Any]) -> None:
    key = filters.get("service_id")
    if key is not None and not any(one.id == key for one in await all_services(request, db)):
        raise Invalid(f"Could not find service: {key}.", field="service_id")


async def list_groups(request: Request) -> Document:
    """GET /v3/OS-EP-FILTER/endpoint_groups."""
    rows = await ENDPOINT_GROUPS.find(request.cloud.db, "1 = 1 ORDER BY created_at, id")
    rows = [row for row in rows if request.query.get("name", row.name) == row.name]
    return collection(request, "endpoint_groups", [_document(request, row) for row in rows])


async def show_group(request: Request) -> Document:
    """GET, HEAD /v3/OS-EP-FILTER/endpoint_groups/{group_id}."""
    return {"endpoint_group": _document(request, await _find(request, request.cloud.db))}


async def create_group(request: Request) -> Document:
    """POST /v3/OS-EP-FILTER/endpoint_groups."""
    body: NewGroup = request.body.endpoint_group
    group = EndpointGroup(**fresh(), name=body.name, description=body.description, filters=_plain(body.filters))

    async def work(tx: Transaction) -> EndpointGroup:
        await _check(request, tx, group.filters)
        return await ENDPOINT_GROUPS.insert(tx, group)

    return {"endpoint_group": _document(request, await write(request, work))}


async def update_group(request: Request) -> Document:
    """PATCH /v3/OS-EP-FILTER/endpoint_groups/{group_id}."""
    sent = changes(request.body.endpoint_group)
    if "filters" in sent:
        sent["filters"] = _plain(sent["filters"])

    async def work(tx: Transaction) -> EndpointGroup:
        group = await _find(request, tx)
        await _check(request, tx, sent.get("filters", {}))
        return await ENDPOINT_GROUPS.update(tx, group, **sent)

    return {"endpoint_group": _document(request, await write(request, work))}


async def remove_group(request: Request) -> None:
    """DELETE /v3/OS-EP-FILTER/endpoint_groups/{group_id}."""

    async def work(tx: Transaction) -> None:
        await store.delete_endpoint_group(tx, (await _find(request, tx)).id)

    await write(request, work)


async def group_endpoints(request: Request) -> Document:
    """GET /v3/OS-EP-FILTER/endpoint_groups/{group_id}/endpoints."""
    group = await _find(request, request.cloud.db)
    rows = [one for one in await all_endpoints(request, request.cloud.db) if in_group(one, group)]
    return collection(request, "endpoints", [endpoint_document(request, row) for row in rows])


async def group_projects(request: Request) -> Document:
    """GET /v3/OS-EP-FILTER/endpoint_groups/{group_id}/projects."""
    group = await _find(request, request.cloud.db)
    return await _projects(request, await store.projects_with(request.cloud.db, "endpoint_group", group.id))


async def endpoint_projects(request: Request) -> Document:
    """GET /v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects."""
    key = await _linkable(request, request.cloud.db, "endpoint")
    return await _projects(request, await store.projects_with(request.cloud.db, "endpoint", key))


async def _projects(request: Request, ids: list[str]) -> Document:
    return collection(request, "projects", [project_document(request, one) for one in await by_ids(request.cloud.db, ids)])


async def endpoints_of_project(request: Request) -> Document:
    """GET /v3/OS-EP-FILTER/projects/{project_id}/endpoints: those that it was given."""
    key = await _project(request, request.cloud.db)
    given = await store.endpoint_ids_of_project(request.cloud.db, key) or await store.groups_of_project(request.cloud.db, key)
    rows = await project_endpoints(request, key) if given else []
    return collection(request, "endpoints", [endpoint_document(request, row) for row in rows])


async def groups_of_project(request: Request) -> Document:
    """GET /v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups."""
    rows = await store.groups_of_project(request.cloud.db, await _project(request, request.cloud.db))
    return collection(request, "endpoint_groups", [_document(request, row) for row in rows])


async def _project(request: Request, db: Reader) -> str:
    key = request.params["project_id"]
    return found(await PROJECTS.get(db, key), "project", key).id


async def _linkable(request: Request, db: Reader, kind: str) -> str:
    """The id of the path's endpoint or group, when it is there."""
    if kind == "endpoint_group":
        return (await _find(request, db)).id
    key = request.params["endpoint_id"]
    return found(next((one for one in await all_endpoints(request, db) if one.id == key), None), "endpoint", key).id


async def give(kind: str, request: Request) -> None:
    """PUT: from now on the project sees the endpoint or the group, and nothing that it was not given."""

    async def work(tx: Transaction) -> None:
        await store.link(tx, kind, await _linkable(request, tx, kind), await _project(request, tx))

    await write(request, work)


async def take(kind: str, request: Request) -> None:
    """DELETE: the project was not given it any more."""

    async def work(tx: Transaction) -> None:
        key, project_id = await _linkable(request, tx, kind), await _project(request, tx)
        if not await store.unlink(tx, kind, key, project_id):
            raise _not_given(kind, key, project_id)

    await write(request, work)


async def check(kind: str, request: Request) -> None:
    """GET, HEAD: whether the project was given it."""
    db = request.cloud.db
    key, project_id = await _linkable(request, db, kind), await _project(request, db)
    if not await store.linked(db, kind, key, project_id):
        raise _not_given(kind, key, project_id)


async def show_link(request: Request) -> Document:
    """GET, HEAD /v3/OS-EP-FILTER/endpoint_groups/{group_id}/projects/{project_id}."""
    await check("endpoint_group", request)
    group, project = request.params["group_id"], request.params["project_id"]
    links = self_link(request, *PLACE, group, "projects", project)
    return {"project_endpoint_group": {"endpoint_group_id": group, "project_id": project, "links": links}}


def _not_given(kind: str, key: str, project_id: str) -> NotFound:
    return NotFound(f"The project {project_id} was not given the {kind.replace('_', ' ')} {key}.")
