"""Keys of the EC2 form: an access key and a secret for one of a user's projects, kept among its credentials."""

import hashlib
import secrets
from typing import Any

import msgspec

from pileus.api.identity import visibility as may
from pileus.api.identity.credentials import opened, sealed
from pileus.api.identity.documents import Document, collection, found, fresh, self_link, write
from pileus.api.policy import require
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.credentials import Credential
from pileus.store.credentials import CREDENTIALS
from pileus.store.database import Reader, Transaction
from pileus.store.projects import PROJECTS
from pileus.store.users import USERS


class CreateKey(Model, frozen=True, kw_only=True):
    """POST /v3/users/{user_id}/credentials/OS-EC2."""

    tenant_id: str


def _document(request: Request, one: Credential) -> Document:
    kept: dict[str, Any] = msgspec.json.decode(opened(request, one))
    return {
        "user_id": one.user_id,
        "tenant_id": one.project_id,
        "access": kept.get("access"),
        "secret": kept.get("secret"),
        "trust_id": None,
        "links": self_link(request, "users", one.user_id, "credentials", "OS-EC2", str(kept.get("access"))),
    }


def _demand(request: Request, action: str, change: bool) -> None:
    require(request, action)
    may.lasting(request)
    own = request.params["user_id"] == request.identity.user_id and (not change or request.identity.has("member"))
    may.demand(own or (request.identity.is_admin if change else may.sees_all(request)), action)


async def list_keys(request: Request) -> Document:
    """GET /v3/users/{user_id}/credentials/OS-EC2."""
    _demand(request, "identity:ec2_list_credentials", change=False)
    where = "user_id = ? AND type = 'ec2' ORDER BY created_at, id"
    rows = await CREDENTIALS.find(request.cloud.db, where, request.params["user_id"])
    return collection(request, "credentials", [_document(request, row) for row in rows])


async def _find(request: Request, db: Reader) -> Credential:
    access = request.params["access"]
    one = await CREDENTIALS.get(db, hashlib.sha256(access.encode()).hexdigest())
    one = found(one if one and one.type == "ec2" else None, "credential", access)
    may.demand(one.user_id == request.params["user_id"] or request.identity.is_admin, request.route.policy)
    return one


async def show_key(request: Request) -> Document:
    """GET /v3/users/{user_id}/credentials/OS-EC2/{access}."""
    one = await _find(request, request.cloud.db)
    _demand(request, "identity:ec2_get_credential", change=False)
    return {"credential": _document(request, one)}


async def create_key(request: Request) -> Document:
    """POST /v3/users/{user_id}/credentials/OS-EC2: the key is ours to choose."""
    _demand(request, "identity:ec2_create_credential", change=True)
    body: CreateKey = request.body
    user_id = request.params["user_id"]
    access = secrets.token_hex(16)
    blob = msgspec.json.encode({"access": access, "secret": secrets.token_hex(16), "trust_id": None}).decode()
    one = Credential(
        **fresh(hashlib.sha256(access.encode()).hexdigest()),
        user_id=user_id,
        project_id=body.tenant_id,
        type="ec2",
        sealed_blob=sealed(request, blob),
    )

    async def work(tx: Transaction) -> Credential:
        found(await USERS.get(tx, user_id), "user", user_id)
        found(await PROJECTS.get(tx, body.tenant_id), "project", body.tenant_id)
        return await CREDENTIALS.insert(tx, one)

    return {"credential": _document(request, await write(request, work))}


async def remove_key(request: Request) -> None:
    """DELETE /v3/users/{user_id}/credentials/OS-EC2/{access}."""

    async def work(tx: Transaction) -> None:
        one = await _find(request, tx)
        _demand(request, "identity:ec2_delete_credential", change=True)
        await CREDENTIALS.delete(tx, one.id)

    await write(request, work)
