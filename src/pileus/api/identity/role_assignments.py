"""GET /v3/role_assignments: who has which role where, as given or as it takes effect."""

from typing import Any

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import Document, boolean, collection
from pileus.api.identity.grants import ACTORS, TARGETS
from pileus.api.request import Request
from pileus.core.roles import effective
from pileus.model.assignments import Actor, Assignment, EffectiveAssignment, Target
from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.store.assignments import ASSIGNMENTS
from pileus.store.database import Reader
from pileus.store.groups import GROUPS, groups_of, members_of
from pileus.store.projects import PROJECTS, ancestors, descendants
from pileus.store.roles import ROLES, domain_role_ids, implications
from pileus.store.users import USERS


class Filters(Model, frozen=True, kw_only=True):
    """What the query asks for."""

    user_id: str | None
    group_id: str | None
    role_id: str | None
    project_id: str | None
    domain_id: str | None
    system: bool
    inherited: bool
    effective: bool
    names: bool
    subtree: bool


def _filters(request: Request) -> Filters:
    query = request.query

    def asked(name: str) -> bool:
        return name in query and boolean(query[name])

    filters = Filters(
        user_id=query.get("user.id"),
        group_id=query.get("group.id"),
        role_id=query.get("role.id"),
        project_id=query.get("scope.project.id"),
        domain_id=query.get("scope.domain.id"),
        system="scope.system" in query,
        inherited="scope.OS-INHERIT:inherited_to" in query,
        effective=asked("effective"),
        names=asked("include_names"),
        subtree=asked("include_subtree"),
    )
    if filters.user_id and filters.group_id:
        raise Invalid("Specify a user or a group, not both.", field="user.id")
    if sum(1 for one in (filters.project_id, filters.domain_id, filters.system) if one) > 1:
        raise Invalid("Specify one of project, domain and system as the scope.", field="scope")
    if filters.effective and filters.group_id:
        raise Invalid("Groups have no effective assignments: those of their members are listed.", field="group.id")
    if filters.subtree and not filters.project_id:
        raise Invalid("scope.project.id must be specified if include_subtree is also specified.", field="include_subtree")
    return filters


async def list_role_assignments(request: Request) -> Document:
    """GET /v3/role_assignments."""
    filters = _filters(request)
    db = request.cloud.db
    places = {place for place in (filters.project_id, filters.domain_id) if place}
    if filters.subtree:
        own = await _domain_of(db, Target.PROJECT, filters.project_id or "")
        may.demand(may.sees_all(request) or own == request.identity.domain_id, "identity:list_role_assignments_for_tree")
        places |= set(await descendants(db, filters.project_id or ""))
    assignments = await _matching(db, filters, places)
    shower = _Shower(request, filters.names)
    bound = may.own_domain(request)
    documents: list[Document] = []
    for one in await _effective(db, filters, places, assignments) if filters.effective else assignments:
        if bound is None or await _domain_of(db, one.target, one.target_id) == bound:
            documents.append(await (shower.effective(one) if isinstance(one, EffectiveAssignment) else shower.given(one)))
    return collection(request, "role_assignments", documents)


async def _domain_of(db: Reader, target: Target, target_id: str) -> str | None:
    place = None if target is Target.SYSTEM else await PROJECTS.get(db, target_id)
    return None if place is None else place.domain_id or place.id


async def _matching(db: Reader, filters: Filters, places: set[str]) -> list[Assignment]:
    """Assignments as given; for effective ones only what narrows the source is asked of the database."""
    clauses, values = ["1 = 1"], list[Any]()
    if filters.user_id:
        actors = [filters.user_id, *(await groups_of(db, filters.user_id) if filters.effective else [])]
        clauses.append(f"actor_id IN ({', '.join('?' * len(actors))})")
        values += actors
    if filters.group_id:
        clauses.append("actor = 'group' AND actor_id = ?")
        values.append(filters.group_id)
    if filters.role_id and not filters.effective:
        clauses.append("role_id = ?")
        values.append(filters.role_id)
    if places:
        clauses.append(f"target_id IN ({', '.join('?' * len(places))})")
        values += sorted(places)
        if filters.effective:  # or it comes from above
            above = sorted({one for place in places for one in await ancestors(db, place)} - places)
            clauses[-1] = f"({clauses[-1]} OR (inherited = 1 AND target_id IN ({', '.join('?' * len(above))})))"
            values += above
    if filters.system:
        clauses.append("target = 'system'")
    if filters.inherited:
        clauses.append("inherited = 1")
    return await ASSIGNMENTS.find(db, f"{' AND '.join(clauses)} ORDER BY actor_id, target_id, role_id, inherited", *values)


async def _effective(db: Reader, filters: Filters, places: set[str], assignments: list[Assignment]) -> list[EffectiveAssignment]:
    groups = {one.actor_id for one in assignments if one.actor is Actor.GROUP}
    members = {group: [filters.user_id] if filters.user_id else await members_of(db, group) for group in sorted(groups)}
    inherited = {one.target_id for one in assignments if one.inherited}
    if places:  # only these are asked for, however many more are below
        above = {place: await ancestors(db, place) for place in sorted(places)}
        below = {key: [place for place, ids in above.items() if key in ids] for key in inherited}
    else:
        below = {key: await descendants(db, key) for key in sorted(inherited)}
    found = effective(assignments, members, below, await implications(db))
    hidden = await domain_role_ids(db)
    return [
        one
        for one in found
        if one.role_id not in hidden
        and (not filters.user_id or one.user_id == filters.user_id)
        and (not filters.role_id or one.role_id == filters.role_id)
        and (not places or one.target_id in places)
    ]


class _Shower:
    """Makes documents of assignments, with names when asked; each name is looked up once."""

    def __init__(self, request: Request, names: bool) -> None:
        self._db = request.cloud.db
        self._base = f"{request.service_url}/v3"
        self._names = names
        self._known: dict[tuple[str, str], Document] = {}

    async def given(self, one: Assignment) -> Document:
        """An assignment as it was given."""
        document: Document = {
            "role": await self._who("role", one.role_id),
            str(one.actor): await self._who(str(one.actor), one.actor_id),
            "scope": await self._scope(one.target, one.target_id, one.inherited),
            "links": {"assignment": self._link(one)},
        }
        return document

    async def effective(self, one: EffectiveAssignment) -> Document:
        """A role as a user has it."""
        links = {"assignment": self._link(one.source)}
        if one.source.actor is Actor.GROUP:
            links["membership"] = f"{self._base}/groups/{one.source.actor_id}/users/{one.user_id}"
        if one.prior_role_id is not None:
            links["prior_role"] = f"{self._base}/prior_roles/{one.prior_role_id}/implies/{one.role_id}"
        return {
            "role": await self._who("role", one.role_id),
            "user": await self._who("user", one.user_id),
            "scope": await self._scope(one.target, one.target_id, one.source.inherited),
            "links": links,
        }

    def _link(self, one: Assignment) -> str:
        place = TARGETS[one.target] + ("" if one.target is Target.SYSTEM else f"/{one.target_id}")
        path = f"{place}/{ACTORS[one.actor]}/{one.actor_id}/roles/{one.role_id}"
        return f"{self._base}/OS-INHERIT/{path}/inherited_to_projects" if one.inherited else f"{self._base}/{path}"

    async def _scope(self, target: Target, target_id: str, inherited: bool) -> Document:
        scope: Document = {"all": True} if target is Target.SYSTEM else await self._who(str(target), target_id)
        return {str(target): scope, **({"OS-INHERIT:inherited_to": "projects"} if inherited else {})}

    async def _who(self, kind: str, key: str) -> Document:
        if not self._names:
            return {"id": key}
        if (kind, key) not in self._known:
            table = {"role": ROLES, "user": USERS, "group": GROUPS, "project": PROJECTS, "domain": PROJECTS}[kind]
            row: Any = await table.get(self._db, key)  # pyright: ignore[reportUnknownMemberType]
            document: Document = {"id": key, "name": row.name if row else ""}
            if row and kind != "domain" and row.domain_id:
                home = await PROJECTS.get(self._db, row.domain_id)
                document["domain"] = {"id": row.domain_id, "name": home.name if home else ""}
            self._known[kind, key] = document
        return self._known[kind, key]
