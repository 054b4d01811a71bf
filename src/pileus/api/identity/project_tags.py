"""Tags of projects."""

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec import Meta

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import found, write
from pileus.api.identity.options import guard_immutable
from pileus.api.identity.project_access import readable_project
from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound
from pileus.model.projects import Project
from pileus.store.database import Transaction
from pileus.store.projects import PROJECTS

Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^,/]*$")]
MOST = 80


class PutTags(Model, frozen=True, kw_only=True):
    """PUT /v3/projects/{id}/tags."""

    tags: Annotated[list[Tag], Meta(max_length=MOST)]


def unique_tags(tags: list[str]) -> list[str]:
    """The tags in order, each once; Invalid when one stands twice."""
    if len(set(tags)) != len(tags):
        raise Invalid("Invalid input: tags must be unique.", field="tags")
    return sorted(tags)


FILTERS = {"tags", "tags-any", "not-tags", "not-tags-any"}
"""Of a list's query, what asks for tags."""


def with_tags(request: Request, rows: list[Project]) -> list[Project]:
    """The projects that the query's tags, tags-any, not-tags, not-tags-any leave."""
    for name, keep in (
        ("tags", lambda wanted, have: wanted <= have),
        ("tags-any", lambda wanted, have: bool(wanted & have)),
        ("not-tags", lambda wanted, have: not wanted <= have),
        ("not-tags-any", lambda wanted, have: not wanted & have),
    ):
        if name in request.query:
            wanted = {tag for value in request.all_queries(name) for tag in value.split(",")}
            rows = [row for row in rows if keep(wanted, set(row.tags))]
    return rows


async def _read(request: Request) -> Project:
    return await readable_project(request, "identity:list_project_tags")


async def list_tags(request: Request) -> dict[str, Any]:
    """GET /v3/projects/{project_id}/tags."""
    project = await _read(request)
    return {"tags": project.tags, "links": {"self": f"{request.service_url}/v3/projects/{project.id}/tags", "next": None, "previous": None}}


async def check_tag(request: Request) -> None:
    """GET, HEAD /v3/projects/{project_id}/tags/{tag}."""
    project = await _read(request)
    if request.params["tag"] not in project.tags:
        raise NotFound(f"Could not find project tag: {request.params['tag']}.")


async def _change(request: Request, change: Any) -> Project:
    project_id = request.params["project_id"]

    async def work(tx: Transaction) -> Project:
        project = await PROJECTS.get(tx, project_id)
        managed = project is not None and may.manages_domain(request, project.domain_id)
        may.demand(request.identity.is_admin or managed, "identity:update_project_tags")
        project = found(project, "project", project_id)
        guard_immutable("project", project_id, project.options)
        return await PROJECTS.update(tx, project, tags=change(project.tags))

    return await write(request, work)


async def put_tags(request: Request) -> dict[str, Any]:
    """PUT /v3/projects/{project_id}/tags: these and no others."""
    tags = unique_tags(request.body.tags)
    project = await _change(request, lambda have: tags)
    return {"tags": project.tags, "links": {"self": f"{request.service_url}/v3/projects/{project.id}/tags", "next": None, "previous": None}}


async def delete_tags(request: Request) -> None:
    """DELETE /v3/projects/{project_id}/tags."""
    await _change(request, lambda have: [])


async def put_tag(request: Request) -> Response:
    """PUT /v3/projects/{project_id}/tags/{tag}."""
    try:
        tag = msgspec.convert(request.params["tag"], Tag)
    except msgspec.ValidationError as error:
        raise Invalid(f"Invalid input for field 'tags': {error}", field="tags") from error

    def change(have: list[str]) -> list[str]:
        if len({*have, tag}) > MOST:
            raise Invalid(f"A project has at most {MOST} tags.", field="tags")
        return sorted({*have, tag})

    project = await _change(request, change)
    return Response(201, None, {"Location": f"{request.service_url}/v3/projects/{project.id}/tags/{quote(tag, safe='')}"})


async def delete_tag(request: Request) -> None:
    """DELETE /v3/projects/{project_id}/tags/{tag}."""
    tag = request.params["tag"]

    def change(have: list[str]) -> list[str]:
        if tag not in have:
            raise NotFound(f"Could not find project tag: {tag}.")
        return [one for one in have if one != tag]

    await _change(request, change)
