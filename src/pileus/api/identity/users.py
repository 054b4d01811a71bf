"""Users: what operators keep, and what each user may do for itself."""

from functools import partial
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, structs

from pileus import clock
from pileus.api.identity import directories, federated_objects, password_rules, passwords
from pileus.api.identity import visibility as may
from pileus.api.identity.documents import (
    Document,
    Name,
    changes,
    duplicate,
    extras,
    found,
    fresh,
    merged,
    parse_time,
    self_link,
    timestamp,
    wanted,
    write,
)
from pileus.api.identity.federated_objects import FederatedObject, FederatedObjects
from pileus.api.identity.options import USER, check_options
from pileus.api.identity.pages import listed
from pileus.api.request import Request
from pileus.model.assignments import Actor
from pileus.model.base import Model
from pileus.model.errors import Forbidden, Invalid, Unauthorized
from pileus.model.projects import DEFAULT_DOMAIN
from pileus.model.users import User
from pileus.store.database import Transaction
from pileus.store.domains import get_domain
from pileus.store.listing import Condition
from pileus.store.projects import PROJECTS
from pileus.store.revocations import revoke
from pileus.store.users import USERS, delete_user, user_named

KNOWN = (
    "name",
    "domain_id",
    "enabled",
    "default_project_id",
    "password",
    "original_password",
    "options",
    "password_expires_at",
    "federated",
)
Password = Annotated[str, Meta(min_length=1, max_length=passwords.LONGEST)]


class NewUser(Model, frozen=True, kw_only=True):
    """Attributes of a new user."""

    name: Name
    domain_id: str | None = None
    enabled: bool = True
    default_project_id: str | None = None
    password: Password | None = None
    options: dict[str, Any] = {}
    federated: FederatedObjects = []


class CreateUser(Model, frozen=True, kw_only=True):
    """POST /v3/users."""

    user: NewUser


class UserChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    name: Name | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    default_project_id: str | UnsetType | None = UNSET
    password: Password | UnsetType | None = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET
    federated: FederatedObjects | UnsetType = UNSET


class UpdateUser(Model, frozen=True, kw_only=True):
    """PATCH /v3/users/{id}."""

    user: UserChanges


class OwnPassword(Model, frozen=True, kw_only=True):
    """The old password and the new one."""

    original_password: str
    password: Password


class ChangePassword(Model, frozen=True, kw_only=True):
    """POST /v3/users/{id}/password."""

    user: OwnPassword


def user_document(request: Request, user: User) -> Document:
    """A user as Keystone shows it."""
    document: Document = {
        **user.extra,
        "id": user.id,
        "name": user.name,
        "domain_id": user.domain_id,
        "enabled": password_rules.is_enabled(request, user),
        "password_expires_at": timestamp(user.password_expires_at),
        "options": user.options,
        "links": self_link(request, "users", user.id),
    }
    if user.default_project_id:
        document["default_project_id"] = user.default_project_id
    return document


async def managed_user(request: Request, tx: Transaction, action: str) -> User:
    """The path's user, when the caller may change it."""
    user_id = request.params["user_id"]
    user = await USERS.get(tx, user_id)
    may.demand(request.identity.is_admin or (user is not None and may.manages_domain(request, user.domain_id)), action)
    await may.demand_not_above(request, tx, Actor.USER, user_id, action)
    user = found(user, "user", user_id)
    await directories.demand_own(tx, user.domain_id)
    return user


async def readable_user(request: Request, action: str) -> User:
    """The path's user, when the caller may read it: itself at least."""
    user_id = request.params["user_id"]
    user = await USERS.get(request.cloud.db, user_id)
    own = user_id == request.identity.user_id
    may.demand(own or may.sees_all(request) or (user is not None and may.reads_domain(request, user.domain_id)), action)
    if user is not None and await directories.see_user(request, user_id):
        user = await USERS.get(request.cloud.db, user_id)
    return found(user, "user", user_id)


async def list_users(request: Request) -> Document:
    """GET /v3/users."""
    bound = may.own_domain(request)
    filters = wanted(request, ("name", "domain_id", "default_project_id"), ("enabled",))
    conditions = [Condition(column=name, value=value) for name, value in filters.items() if name != "enabled" or value]
    if bound is not None:
        conditions.append(Condition(column="domain_id", value=bound))
    conditions += expiry_conditions(request) + await federated_objects.asked_for(request)
    await directories.see_users(request, filters.get("domain_id") or bound, filters.get("name"))

    def asked(rows: list[User]) -> list[User]:  # who is away for too long is disabled, whatever the column says
        return [row for row in rows if password_rules.is_enabled(request, row) == filters["enabled"]]

    return await listed(request, "users", USERS, conditions, partial(user_document, request), asked if "enabled" in filters else None)


def expiry_conditions(request: Request) -> list[Condition]:
    """What `password_expires_at=OPERATOR:TIME` asks for; it may stand there more than once."""
    conditions: list[Condition] = []
    for text in request.all_queries("password_expires_at"):
        operator, colon, moment = text.partition(":")
        if not colon or operator not in OPERATORS:
            raise Invalid(
                f"Invalid input for query parameter 'password_expires_at': expected one of {', '.join(OPERATORS)}, a colon and a time.",
                field="password_expires_at",
            )
        value = parse_time(moment, "password_expires_at")
        conditions.append(Condition(column="password_expires_at", operator=OPERATORS[operator], value=value))
    return conditions


OPERATORS = {"lt": "lt", "lte": "lte", "gt": "gt", "gte": "gte", "eq": "eq", "neq": "ne"}


async def show_user(request: Request) -> Document:
    """GET /v3/users/{user_id}."""
    return {"user": await _whole(request, await readable_user(request, "identity:get_user"))}


async def _whole(request: Request, user: User) -> Document:
    return {**user_document(request, user), **await federated_objects.shown(request.cloud.db, user.id)}


async def create_user(request: Request) -> Document:
    """POST /v3/users."""
    body: NewUser = request.body.user
    check_options(body.options, USER)
    if body.password is not None:
        password_rules.check_strength(request, body.password)
    domain_id = body.domain_id or request.identity.domain_id or request.identity.project_domain_id or DEFAULT_DOMAIN
    named = request.identity.is_admin or body.domain_id is not None  # a domain's manager has to say that it means its domain
    may.demand(named and may.manages_domain(request, domain_id), "identity:create_user")
    hashed = await passwords.hash_password(body.password) if body.password is not None else None
    user = User(
        **fresh(),
        name=body.name,
        domain_id=domain_id,
        enabled=body.enabled,
        default_project_id=body.default_project_id,
        password_hash=hashed,
        password_set_at=clock.now() if hashed else None,
        options=merged({}, body.options),
        extra=extras(request, "user", KNOWN),
    )

    if hashed:
        user = structs.replace(user, password_expires_at=password_rules.expiry(request, user, own=False))

    async def work(tx: Transaction) -> User:
        found(await get_domain(tx, domain_id), "domain", domain_id)
        await directories.demand_own(tx, domain_id)
        await _check_default_project(tx, body.default_project_id)
        if await user_named(tx, user.name, domain_id) is not None:
            raise duplicate("user", user.name)
        await federated_objects.check_objects(request, tx, domain_id, body.federated)
        await password_rules.note(request, tx, user, hashed)
        await federated_objects.link_objects(tx, user.id, body.federated)
        return await USERS.insert(tx, user)

    return {"user": await _whole(request, await write(request, work))}


async def _check_default_project(tx: Transaction, project_id: str | None) -> None:
    """A default project must not be a domain; one that is not there is accepted, as Keystone does."""
    project = await PROJECTS.get(tx, project_id) if project_id else None
    if project is not None and project.is_domain:
        raise Invalid("A domain can't be a user's default project.", field="default_project_id")


async def update_user(request: Request) -> Document:
    """PATCH /v3/users/{user_id}."""
    sent = changes(request.body.user)
    federated: list[FederatedObject] = sent.pop("federated", [])
    if "options" in sent:
        check_options(sent["options"], USER)
    password = sent.pop("password", UNSET)
    if password is not UNSET:
        if password is not None:
            password_rules.check_strength(request, password)
        sent["password_hash"] = await passwords.hash_password(password) if password is not None else None
        sent["password_set_at"] = clock.now()

    async def work(tx: Transaction) -> User:
        user = await managed_user(request, tx, "identity:update_user")
        if (sent.pop("domain_id", None) or user.domain_id) != user.domain_id:
            raise Invalid("A user's domain can't be changed.", field="domain_id")
        if "name" in sent and sent["name"] != user.name and await user_named(tx, sent["name"], user.domain_id) is not None:
            raise duplicate("user", sent["name"])
        await _check_default_project(tx, sent.get("default_project_id"))
        if federated:  # an empty list changes nothing, as with Keystone
            await federated_objects.check_objects(request, tx, user.domain_id, federated)
            await federated_objects.replace_objects(tx, user.id, federated)
        if sent.get("enabled") is False or password is not UNSET:
            await revoke(tx, f"user:{user.id}")
        if password is not UNSET:
            await password_rules.note(request, tx, user, sent["password_hash"])
        new = {**sent, "options": merged(user.options, sent.get("options", UNSET))}
        if password is not UNSET:
            told = structs.replace(user, options=new["options"])
            new["password_expires_at"] = password_rules.expiry(request, told, own=False) if password is not None else None
        if sent.get("enabled"):
            new["last_active_at"] = clock.now()
        return await USERS.update(tx, user, **new, extra=merged(user.extra, extras(request, "user", KNOWN)))

    return {"user": await _whole(request, await write(request, work))}


async def remove_user(request: Request) -> None:
    """DELETE /v3/users/{user_id}."""

    async def work(tx: Transaction) -> None:
        user = await managed_user(request, tx, "identity:delete_user")
        await delete_user(tx, user.id)

    await write(request, work)


async def revoke_tokens(request: Request) -> None:
    """DELETE /v3/users/{user_id}/tokens: every token of the user is void; each may do that for itself."""
    user_id = request.params["user_id"]
    may.demand(request.identity.is_admin or user_id == request.identity.user_id, "identity:revoke_tokens_for_user")

    async def work(tx: Transaction) -> None:
        found(await USERS.get(tx, user_id), "user", user_id)
        await revoke(tx, f"user:{user_id}")

    await write(request, work)


async def change_password(request: Request) -> None:
    """POST /v3/users/{user_id}/password: who knows the old one needs no token; every token of the user is void then."""
    user_id = request.params["user_id"]
    body: OwnPassword = request.body.user
    user = await USERS.get(request.cloud.db, user_id)
    with request.cloud.login_limits.attempt(user_id, request.remote_address) as attempt:
        attempt.right = right = await password_rules.verify(request, user, body.original_password)
    if user is None or not right or not password_rules.is_enabled(request, user):
        raise Unauthorized("The request you have made requires authentication.")
    await directories.demand_own(request.cloud.db, user.domain_id)
    if user.options.get("lock_password"):
        raise Forbidden("The password of this user is locked: an administrator has to change it.")
    if body.password == body.original_password:
        raise Invalid("The new password must not be the old one.", field="password")
    await password_rules.check_new(request, user, body.password)
    hashed = await passwords.hash_password(body.password)

    async def work(tx: Transaction) -> None:
        await revoke(tx, f"user:{user_id}")
        await password_rules.note(request, tx, user, hashed)
        expires_at = password_rules.expiry(request, user, own=True)
        await USERS.update(tx, user, password_hash=hashed, password_set_at=clock.now(), password_expires_at=expires_at)

    await write(request, work)
