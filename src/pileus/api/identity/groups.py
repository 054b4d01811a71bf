"""Groups and who is in them."""

from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType

from pileus.api.identity import directories
from pileus.api.identity import visibility as may
from pileus.api.identity.documents import (
    Document,
    Name64,
    changes,
    collection,
    duplicate,
    extras,
    found,
    fresh,
    merged,
    self_link,
    timestamp,
    wanted,
    write,
)
from pileus.api.identity.pages import listed
from pileus.api.identity.password_rules import is_enabled
from pileus.api.identity.users import expiry_conditions, readable_user, user_document
from pileus.api.policy import require
from pileus.api.request import Request
from pileus.model.assignments import Actor
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound
from pileus.model.groups import Group
from pileus.model.projects import DEFAULT_DOMAIN
from pileus.model.users import User
from pileus.store.database import Reader, Transaction
from pileus.store.domains import get_domain
from pileus.store.groups import GROUPS, add_member, delete_group, ends_of_memberships, groups_of, is_member, remove_member
from pileus.store.listing import Condition, Listing, list_rows
from pileus.store.users import USERS

KNOWN = ("name", "domain_id", "description")


class NewGroup(Model, frozen=True, kw_only=True):
    """Attributes of a new group."""

    name: Name64
    domain_id: str | None = None
    description: str | None = None


class CreateGroup(Model, frozen=True, kw_only=True):
    """POST /v3/groups."""

    group: NewGroup


class GroupChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    name: Name64 | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    domain_id: str | UnsetType | None = UNSET


class UpdateGroup(Model, frozen=True, kw_only=True):
    """PATCH /v3/groups/{id}."""

    group: GroupChanges


def group_document(request: Request, group: Group) -> Document:
    """A group as Keystone shows it."""
    return {
        **group.extra,
        "id": group.id,
        "name": group.name,
        "domain_id": group.domain_id,
        "description": group.description,
        "links": self_link(request, "groups", group.id),
    }


async def _readable(request: Request, action: str, members: bool = False) -> Group:
    group = await GROUPS.get(request.cloud.db, request.params["group_id"])
    may.demand(may.sees_all(request) or (group is not None and may.reads_domain(request, group.domain_id)), action)
    if group is not None and await directories.see_group(request, group.id, members):
        group = await GROUPS.get(request.cloud.db, group.id)
    return found(group, "group", request.params["group_id"])


async def _managed(request: Request, tx: Transaction, action: str) -> Group:
    group = await GROUPS.get(tx, request.params["group_id"])
    may.demand(request.identity.is_admin or (group is not None and may.manages_domain(request, group.domain_id)), action)
    await may.demand_not_above(request, tx, Actor.GROUP, request.params["group_id"], action)
    group = found(group, "group", request.params["group_id"])
    await directories.demand_own(tx, group.domain_id)
    return group


async def _named(db: Reader, name: str, domain_id: str) -> Group | None:
    return await GROUPS.first(db, "name = ? AND domain_id = ?", name, domain_id)


async def list_groups(request: Request) -> Document:
    """GET /v3/groups."""
    bound = may.own_domain(request)
    filters = wanted(request, ("name", "domain_id"))
    await directories.see_groups(request, filters.get("domain_id") or bound, filters.get("name"))
    conditions = [Condition(column=name, value=value) for name, value in filters.items()]
    if bound is not None:
        conditions.append(Condition(column="domain_id", value=bound))
    return await listed(request, "groups", GROUPS, conditions, partial(group_document, request))


async def list_user_groups(request: Request) -> Document:
    """GET /v3/users/{user_id}/groups."""
    user = await readable_user(request, "identity:list_groups_for_user")
    await directories.see_groups_of(request, user.id)
    db = request.cloud.db
    ids, ends = await groups_of(db, user.id), await ends_of_memberships(db, user.id)
    where = f"id IN ({', '.join('?' * len(ids))}) ORDER BY created_at, id" if ids else "1 = 0"
    rows = [row for row in await GROUPS.find(db, where, *ids) if request.identity.domain_id in (None, row.domain_id)]
    for name, value in wanted(request, ("name",)).items():
        rows = [row for row in rows if getattr(row, name) == value]
    expiring = {key: {"membership_expires_at": timestamp(moment)} for key, moment in ends.items()}
    return collection(request, "groups", [{**group_document(request, row), **expiring.get(row.id, {})} for row in rows])


async def show_group(request: Request) -> Document:
    """GET /v3/groups/{group_id}."""
    return {"group": group_document(request, await _readable(request, "identity:get_group"))}


async def create_group(request: Request) -> Document:
    """POST /v3/groups."""
    body: NewGroup = request.body.group
    domain_id = body.domain_id or request.identity.domain_id or request.identity.project_domain_id or DEFAULT_DOMAIN
    may.demand(may.manages_domain(request, domain_id), "identity:create_group")
    extra = extras(request, "group", KNOWN)
    group = Group(**fresh(), name=body.name, domain_id=domain_id, description=body.description or "", extra=extra)

    async def work(tx: Transaction) -> Group:
        found(await get_domain(tx, domain_id), "domain", domain_id)
        await directories.demand_own(tx, domain_id)
        if await _named(tx, group.name, domain_id) is not None:
            raise duplicate("group", group.name)
        return await GROUPS.insert(tx, group)

    return {"group": group_document(request, await write(request, work))}


async def update_group(request: Request) -> Document:
    """PATCH /v3/groups/{group_id}."""
    sent = changes(request.body.group)

    async def work(tx: Transaction) -> Group:
        group = await _managed(request, tx, "identity:update_group")
        if (sent.pop("domain_id", None) or group.domain_id) != group.domain_id:
            raise Invalid("A group's domain can't be changed.", field="domain_id")
        if "name" in sent and sent["name"] != group.name and await _named(tx, sent["name"], group.domain_id) is not None:
            raise duplicate("group", sent["name"])
        new: dict[str, Any] = {**sent, "extra": merged(group.extra, extras(request, "group", KNOWN))}
        if "description" in new:
            new["description"] = new["description"] or ""
        return await GROUPS.update(tx, group, **new)

    return {"group": group_document(request, await write(request, work))}


async def remove_group(request: Request) -> None:
    """DELETE /v3/groups/{group_id}."""

    async def work(tx: Transaction) -> None:
        found(await GROUPS.get(tx, request.params["group_id"]), "group", request.params["group_id"])
        require(request, "identity:delete_group")
        await delete_group(tx, (await _managed(request, tx, "identity:delete_group")).id)

    await write(request, work)


async def list_members(request: Request) -> Document:
    """GET /v3/groups/{group_id}/users."""
    group = await _readable(request, "identity:list_users_in_group", members=True)
    where = "id IN (SELECT user_id FROM group_members WHERE group_id = ?)"
    listing = Listing(conditions=expiry_conditions(request), sort=[("created_at", "asc")], where=where, args=[group.id])
    rows = await list_rows(request.cloud.db, USERS, listing)
    for name, value in wanted(request, ("name", "domain_id"), ("enabled",)).items():
        rows = [row for row in rows if (is_enabled(request, row) if name == "enabled" else getattr(row, name)) == value]
    rows = [row for row in rows if request.identity.domain_id in (None, row.domain_id)]
    return collection(request, "users", [user_document(request, row) for row in rows])


async def _member(request: Request, db: Reader, action: str) -> User:
    """The path's user; that it is not there is told to who sees all alone."""
    user = await USERS.get(db, request.params["user_id"])
    may.demand(may.sees_all(request) or user is not None, action)
    return found(user, "user", request.params["user_id"])


def _no_member(request: Request) -> NotFound:
    return NotFound(f"User '{request.params['user_id']}' not found in group '{request.params['group_id']}'.")


async def check_member(request: Request) -> None:
    """HEAD, GET /v3/groups/{group_id}/users/{user_id}."""
    group = await _readable(request, "identity:check_user_in_group")
    await directories.see_groups_of(request, request.params["user_id"])
    user = await _member(request, request.cloud.db, "identity:check_user_in_group")
    may.demand(may.reads_domain(request, user.domain_id), "identity:check_user_in_group")
    if not await is_member(request.cloud.db, group.id, user.id):
        raise _no_member(request)


async def put_member(request: Request) -> None:
    """PUT /v3/groups/{group_id}/users/{user_id}."""

    async def work(tx: Transaction) -> None:
        group = await _managed(request, tx, "identity:add_user_to_group")
        user = await _member(request, tx, "identity:add_user_to_group")
        may.demand(may.manages_domain(request, user.domain_id), "identity:add_user_to_group")
        await directories.demand_own(tx, user.domain_id)
        await add_member(tx, group.id, user.id)

    await write(request, work)


async def delete_member(request: Request) -> None:
    """DELETE /v3/groups/{group_id}/users/{user_id}."""

    async def work(tx: Transaction) -> None:
        group = await _managed(request, tx, "identity:remove_user_from_group")
        user = await _member(request, tx, "identity:remove_user_from_group")
        may.demand(may.manages_domain(request, user.domain_id), "identity:remove_user_from_group")
        if not await remove_member(tx, group.id, user.id):
            raise _no_member(request)

    await write(request, work)
