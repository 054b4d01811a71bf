"""Projects: the tree, and what may be done with it."""

from functools import partial
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import (
    Document,
    Name64,
    boolean,
    changes,
    collection,
    duplicate,
    extras,
    found,
    fresh,
    merged,
    self_link,
    wanted,
    write,
)
from pileus.api.identity.domains import delete_disabled_domain, insert_domain
from pileus.api.identity.options import IMMUTABLE, check_options, guard_immutable
from pileus.api.identity.pages import listed
from pileus.api.identity.project_access import may_read, readable_project
from pileus.api.identity.project_tags import FILTERS, Tag, unique_tags, with_tags
from pileus.api.identity.users import readable_user
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Forbidden, Invalid
from pileus.model.projects import DEFAULT_DOMAIN, Project
from pileus.store.assignments import projects_of
from pileus.store.database import Reader, Transaction
from pileus.store.domains import get_domain
from pileus.store.listing import Condition
from pileus.store.projects import PROJECTS, ancestors, by_ids, delete_project, descendants, project_named
from pileus.store.revocations import revoke

KNOWN = ("name", "domain_id", "parent_id", "is_domain", "enabled", "description", "tags", "options")
DEEPEST = 5
"""Levels below a domain, as Keystone's max_project_tree_depth."""
Tags = Annotated[list[Tag], Meta(max_length=80)]


class NewProject(Model, frozen=True, kw_only=True):
    """Attributes of a new project."""

    name: Name64
    domain_id: str | None = None
    parent_id: str | None = None
    is_domain: bool = False
    enabled: bool = True
    description: str | None = None
    tags: Tags = []
    options: dict[str, Any] = {}


class CreateProject(Model, frozen=True, kw_only=True):
    """POST /v3/projects."""

    project: NewProject


class ProjectChanges(Model, frozen=True, kw_only=True):
    """What may change; the last three may be repeated, but not changed."""

    name: Name64 | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET
    parent_id: str | UnsetType | None = UNSET
    is_domain: bool | UnsetType = UNSET


class UpdateProject(Model, frozen=True, kw_only=True):
    """PATCH /v3/projects/{id}."""

    project: ProjectChanges


def project_document(request: Request, project: Project) -> Document:
    """A project as Keystone shows it."""
    return {
        **project.extra,
        "id": project.id,
        "name": project.name,
        "domain_id": project.domain_id or None,
        "description": project.description,
        "enabled": project.enabled,
        "parent_id": project.parent_id,
        "is_domain": project.is_domain,
        "tags": project.tags,
        "options": project.options,
        "links": self_link(request, "projects", project.id),
    }


async def list_projects(request: Request) -> Document:
    """GET /v3/projects."""
    bound = may.own_domain(request)
    filters = wanted(request, ("name", "domain_id", "parent_id"), ("enabled", "is_domain"))
    filters.setdefault("is_domain", False)
    conditions = [Condition(column=name, value=value) for name, value in filters.items()]
    if bound is not None:
        conditions.append(Condition(column="id" if filters["is_domain"] else "domain_id", value=bound))
    tagged = partial(with_tags, request) if FILTERS & request.query.keys() else None
    return await listed(request, "projects", PROJECTS, conditions, partial(project_document, request), tagged)


async def list_user_projects(request: Request) -> Document:
    """GET /v3/users/{user_id}/projects: where the user has a role."""
    user = await readable_user(request, "identity:list_user_projects")
    db = request.cloud.db
    rows = [row for row in await by_ids(db, await projects_of(db, user.id)) if not row.is_domain]
    for name, value in wanted(request, ("name", "domain_id", "parent_id"), ("enabled",)).items():
        rows = [row for row in rows if getattr(row, name) == value]
    return collection(request, "projects", [project_document(request, row) for row in with_tags(request, rows)])


async def show_project(request: Request) -> Document:
    """GET /v3/projects/{project_id}, with its tree when asked."""
    project = await readable_project(request, "identity:get_project")
    db = request.cloud.db
    document = project_document(request, project)
    above = [row for row in await by_ids(db, await ancestors(db, project.id)) if not row.is_domain]
    below = await by_ids(db, await descendants(db, project.id))
    asked = {name for name in ("parents_as_list", "subtree_as_list", "parents_as_ids", "subtree_as_ids") if _asked(request, name)}
    for side, rows in (("parents", above), ("subtree", below)):
        if {f"{side}_as_list", f"{side}_as_ids"} <= asked:
            raise Invalid(f"{side}_as_list and {side}_as_ids can't be asked for at the same time.", field=f"{side}_as_list")
        if f"{side}_as_list" in asked:
            document[side] = [{"project": project_document(request, row)} for row in rows if may_read(request, row)]
    if "parents_as_ids" in asked:
        document["parents"] = _line(project, {row.id: row for row in above})
    if "subtree_as_ids" in asked:
        document["subtree"] = _tree(project.id, below)
    return {"project": document}


def _asked(request: Request, name: str) -> bool:
    return name in request.query and boolean(request.query[name])


def _line(project: Project, above: dict[str, Project]) -> dict[str, Any] | None:
    parent = above.get(project.parent_id or "")
    return {parent.id: _line(parent, above)} if parent else None


def _tree(project_id: str, below: list[Project]) -> dict[str, Any] | None:
    children = [row for row in below if row.parent_id == project_id]
    return {row.id: _tree(row.id, below) for row in children} or None


async def create_project(request: Request) -> Document:
    """POST /v3/projects."""
    body: NewProject = request.body.project
    check_options(body.options, IMMUTABLE)
    common: dict[str, Any] = {
        **fresh(),
        "name": body.name,
        "enabled": body.enabled,
        "description": body.description or "",
        "tags": unique_tags(body.tags),
        "options": merged({}, body.options),
        "extra": extras(request, "project", KNOWN),
    }
    if body.is_domain:
        may.demand(request.identity.is_admin, "identity:create_domain")
        if body.parent_id or body.domain_id:
            raise Invalid("A project that is a domain has neither parent_id nor domain_id.", field="parent_id")
        return {"project": project_document(request, await insert_domain(request, Project(is_domain=True, **common)))}

    async def work(tx: Transaction) -> Project:
        domain_id, parent_id = await _place(tx, request, body)
        may.demand(may.manages_domain(request, domain_id), "identity:create_project")
        if await project_named(tx, body.name, domain_id) is not None:
            raise duplicate("project", body.name)
        return await PROJECTS.insert(tx, Project(domain_id=domain_id, parent_id=parent_id, **common))

    return {"project": project_document(request, await write(request, work))}


async def _place(db: Reader, request: Request, body: NewProject) -> tuple[str, str]:
    """The domain and the parent of a new project."""
    who = request.identity
    if body.parent_id is None:
        domain_id = body.domain_id or who.domain_id or who.project_domain_id or DEFAULT_DOMAIN
        found(await get_domain(db, domain_id), "domain", domain_id)
        return domain_id, domain_id
    parent = found(await PROJECTS.get(db, body.parent_id), "project", body.parent_id)
    domain_id = parent.domain_id or parent.id
    if body.domain_id not in (None, domain_id):
        raise Invalid("The project's domain_id is not that of its parent.", field="domain_id")
    if not parent.enabled:
        raise Forbidden(f"Cannot create project: its parent {parent.id} is disabled.")
    deepest = 1 if request.cloud.config.limit_model == "strict_two_level" else DEEPEST
    if len(await ancestors(db, parent.id)) + (0 if parent.is_domain else 1) > deepest:
        raise Forbidden(f"Max hierarchy depth reached: {deepest} level(s) below a domain are allowed.")
    return domain_id, parent.id


async def _managed(request: Request, tx: Transaction, action: str) -> Project:
    """The path's project, when the caller may change it."""
    project_id = request.params["project_id"]
    project = await PROJECTS.get(tx, project_id)
    may.demand(request.identity.is_admin or (project is not None and may.manages_domain(request, project.domain_id)), action)
    return found(project, "project", project_id)


async def update_project(request: Request) -> Document:
    """PATCH /v3/projects/{project_id}."""
    project_id = request.params["project_id"]
    sent = changes(request.body.project)
    if "options" in sent:
        check_options(sent["options"], IMMUTABLE)

    async def work(tx: Transaction) -> Project:
        project = await _managed(request, tx, "identity:update_project")
        guard_immutable("project", project_id, project.options, sent)
        new = _allowed_changes(project, sent)
        if "name" in new and new["name"] != project.name and await project_named(tx, new["name"], project.domain_id) is not None:
            raise duplicate("project", new["name"])
        if "enabled" in new and new["enabled"] != project.enabled:
            await _switch(tx, project, new["enabled"])
        new["options"] = merged(project.options, sent.get("options", UNSET))
        new["extra"] = merged(project.extra, extras(request, "project", KNOWN))
        return await PROJECTS.update(tx, project, **new)

    return {"project": project_document(request, await write(request, work))}


def _allowed_changes(project: Project, sent: dict[str, Any]) -> dict[str, Any]:
    new = dict(sent)
    if new.pop("parent_id", project.parent_id) != project.parent_id:
        raise Forbidden("Update of `parent_id` is not allowed.")
    if (new.pop("domain_id", project.domain_id) or "") != project.domain_id:
        raise Invalid("Update of `domain_id` is not allowed.", field="domain_id")
    if new.pop("is_domain", project.is_domain) != project.is_domain:
        raise Invalid("Update of `is_domain` is not allowed.", field="is_domain")
    if "description" in new:
        new["description"] = new["description"] or ""
    if "tags" in new:
        new["tags"] = unique_tags(new["tags"])
    return new


async def _switch(tx: Transaction, project: Project, enabled: bool) -> None:
    """Enabling needs enabled parents, disabling needs disabled children; disabling voids tokens."""
    others = await by_ids(tx, await (ancestors if enabled else descendants)(tx, project.id))
    if any(row.enabled != enabled for row in others):
        which = "a parent that is disabled" if enabled else "projects below that are enabled"
        raise Forbidden(f"Cannot {'enable' if enabled else 'disable'} project {project.id}: it has {which}.")
    if not enabled:
        if project.is_domain and project.id == DEFAULT_DOMAIN:
            raise Forbidden("The default domain can't be disabled: the cloud's own accounts are in it.")
        await revoke(tx, f"project:{project.id}", *([f"domain:{project.id}"] if project.is_domain else []))


async def remove_project(request: Request) -> None:
    """DELETE /v3/projects/{project_id}: a leaf of the tree only."""
    project_id = request.params["project_id"]

    async def work(tx: Transaction) -> None:
        project = await _managed(request, tx, "identity:delete_project")
        guard_immutable("project", project_id, project.options)
        if project.is_domain:
            await delete_disabled_domain(tx, project)
            return
        if await descendants(tx, project_id):
            raise Forbidden(f"Cannot delete the project {project_id} since it is not a leaf in the hierarchy.")
        await delete_project(tx, project_id)

    await write(request, work)
