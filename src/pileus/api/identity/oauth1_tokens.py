"""How a consumer of OAuth 1 is given a user's roles: it asks, the user agrees, it fetches an access token; and what users see of those."""

import hmac
import secrets
from typing import Annotated
from urllib.parse import urlencode

from msgspec import Meta

from pileus import clock
from pileus.api.identity import visibility as may
from pileus.api.identity.credentials import sealed
from pileus.api.identity.documents import Document, collection, found, fresh, new_id, self_link, timestamp, write
from pileus.api.identity.oauth1_requests import demand_right, signed_request
from pileus.api.identity.roles import find_role, role_document
from pileus.api.request import Request, Response
from pileus.model.base import Model
from pileus.model.errors import Invalid, NotFound, Unauthorized
from pileus.model.oauth1 import AccessToken, RequestToken
from pileus.store.assignments import roles_on_project
from pileus.store.database import Reader, Transaction
from pileus.store.oauth1 import ACCESS_TOKENS, REQUEST_TOKENS, delete_access_token
from pileus.store.projects import PROJECTS
from pileus.store.roles import role_named

ASKED = 28800.0
GIVEN = 86400.0
"""Seconds for which a user may agree, and for which a consumer may use what it was given."""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
VERIFIER = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class GivenRole(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role by id or by name."""

    id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    name: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class Authorize(Model, frozen=True, kw_only=True):
    """PUT /v3/OS-OAUTH1/authorize/{request_token_id}."""

    roles: list[GivenRole]


async def create_request_token(request: Request) -> Response:
    """POST /v3/OS-OAUTH1/request_token: a consumer asks for roles on a project."""
    signed = signed_request(request)
    project_id = request.headers.get("requested-project-id")
    if not project_id:
        raise Invalid("Expecting to find Requested-Project-Id in request.", field="Requested-Project-Id")
    await demand_right(request, signed, None, with_token=False)
    secret = secrets.token_hex(16)
    one = RequestToken(
        **fresh(new_id()),
        consumer_id=signed.header["oauth_consumer_key"],
        project_id=project_id,
        sealed_secret=sealed(request, secret),
        expires_at=clock.now() + ASKED,
    )

    async def work(tx: Transaction) -> None:
        project = await PROJECTS.get(tx, project_id)
        found(project if project and not project.is_domain else None, "project", project_id)
        await tx.execute("DELETE FROM oauth_request_tokens WHERE expires_at < ?", clock.now())
        await REQUEST_TOKENS.insert(tx, one)

    await write(request, work)
    return _form(one.id, secret, one.expires_at)


def _form(token: str, secret: str, expires_at: float) -> Response:
    values = {"oauth_token": token, "oauth_token_secret": secret, "oauth_expires_at": timestamp(expires_at) or ""}
    return Response(201, urlencode(values, safe=":").encode(), FORM)


async def authorize(request: Request) -> Document:
    """PUT /v3/OS-OAUTH1/authorize/{request_token_id}: a user agrees, and is told what to pass on to the consumer."""
    may.lasting(request)
    key, who = request.params["request_token_id"], request.identity
    body: Authorize = request.body
    verifier = "".join(secrets.choice(VERIFIER) for _ in range(16))

    async def work(tx: Transaction) -> None:
        one = found(await REQUEST_TOKENS.get(tx, key), "request token", key)
        if one.expires_at <= clock.now():
            raise Unauthorized("The request token has expired; the consumer has to ask anew.")
        project = found(await PROJECTS.get(tx, one.project_id), "project", one.project_id)
        have = {role.id for role in await roles_on_project(tx, who.user_id, project)}
        given = [await _role_id(tx, role) for role in body.roles]
        if not given or not set(given) <= have:
            raise Unauthorized("The authorizing user does not have the roles on the project that the consumer asks for.")
        await REQUEST_TOKENS.update(tx, one, user_id=who.user_id, role_ids=list(dict.fromkeys(given)), verifier=verifier)

    await write(request, work)
    return {"token": {"oauth_verifier": verifier}}


async def _role_id(db: Reader, given: GivenRole) -> str:
    if (given.id is None) == (given.name is None):
        raise Invalid("A role is named by its id or by its name.", field="roles")
    if given.id is not None:
        return (await find_role(db, given.id)).id
    return found(await role_named(db, given.name or ""), "role", given.name or "").id


async def create_access_token(request: Request) -> Response:
    """POST /v3/OS-OAUTH1/access_token: the consumer has the verifier, and fetches what it was given. Once."""
    signed = signed_request(request, "oauth_token", "oauth_verifier")
    asked = await REQUEST_TOKENS.get(request.cloud.db, signed.header["oauth_token"])
    if asked is None:
        raise NotFound("Could not find the request token.")
    await demand_right(request, signed, asked, with_token=True)
    if asked.expires_at <= clock.now():
        raise Unauthorized("The request token has expired; the consumer has to ask anew.")
    verifier = signed.header["oauth_verifier"].encode(errors="replace")
    if asked.user_id is None or not hmac.compare_digest((asked.verifier or "").encode(), verifier):
        raise Unauthorized("The verifier is not the one that the user was told.")
    secret = secrets.token_hex(16)
    one = AccessToken(
        **fresh(new_id()),
        consumer_id=asked.consumer_id,
        project_id=asked.project_id,
        user_id=asked.user_id,
        role_ids=asked.role_ids,
        sealed_secret=sealed(request, secret),
        expires_at=clock.now() + GIVEN,
    )

    async def work(tx: Transaction) -> None:
        if not await REQUEST_TOKENS.delete(tx, asked.id):
            raise NotFound("Could not find the request token.")
        await ACCESS_TOKENS.insert(tx, one)

    await write(request, work)
    return _form(one.id, secret, one.expires_at)


def _document(request: Request, one: AccessToken) -> Document:
    place = ("users", one.user_id, "OS-OAUTH1", "access_tokens", one.id)
    return {
        "id": one.id,
        "consumer_id": one.consumer_id,
        "project_id": one.project_id,
        "authorizing_user_id": one.user_id,
        "expires_at": timestamp(one.expires_at),
        "links": {**self_link(request, *place), "roles": self_link(request, *place, "roles")["self"]},
    }


async def _find(request: Request, db: Reader) -> AccessToken:
    key = request.params["access_token_id"]
    one = await ACCESS_TOKENS.get(db, key)
    return found(one if one and one.user_id == request.params["user_id"] else None, "access token", key)


async def list_access_tokens(request: Request) -> Document:
    """GET /v3/users/{user_id}/OS-OAUTH1/access_tokens."""
    may.lasting(request)
    rows = await ACCESS_TOKENS.find(request.cloud.db, "user_id = ? ORDER BY created_at, id", request.params["user_id"])
    return collection(request, "access_tokens", [_document(request, row) for row in rows])


async def show_access_token(request: Request) -> Document:
    """GET /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}."""
    may.lasting(request)
    return {"access_token": _document(request, await _find(request, request.cloud.db))}


async def remove_access_token(request: Request) -> None:
    """DELETE /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}: tokens that were made of it are void."""
    may.lasting(request)
    own = request.params["user_id"] == request.identity.user_id
    may.demand(own or request.identity.is_admin, "identity:delete_access_token")

    async def work(tx: Transaction) -> None:
        await delete_access_token(tx, (await _find(request, tx)).id)

    await write(request, work)


async def list_access_token_roles(request: Request) -> Document:
    """GET /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles."""
    one = await _find(request, request.cloud.db)
    roles = [role_document(request, await find_role(request.cloud.db, key)) for key in one.role_ids]
    return collection(request, "roles", roles)


async def show_access_token_role(request: Request) -> Document:
    """GET /v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles/{role_id}."""
    one, key = await _find(request, request.cloud.db), request.params["role_id"]
    role = await find_role(request.cloud.db, key)
    return {"role": role_document(request, found(role if key in one.role_ids else None, "role", key))}
