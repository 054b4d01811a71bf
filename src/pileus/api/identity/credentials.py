"""Credentials for other systems; what they hold is encrypted in the database by keys that lie in the state directory."""

import hashlib
from functools import partial
from typing import Annotated

import msgspec
from cryptography.fernet import InvalidToken
from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity import visibility as may
from pileus.api.identity.documents import Document, changes, duplicate, extras, found, fresh, merged, self_link, wanted, write
from pileus.api.identity.keys import KeyRing, key_ring
from pileus.api.identity.pages import listed
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.credentials import Credential
from pileus.model.errors import Invalid, Unavailable
from pileus.store.credentials import CREDENTIALS, delete_credential
from pileus.store.database import Reader, Transaction
from pileus.store.listing import Condition
from pileus.store.projects import PROJECTS
from pileus.store.users import USERS

KNOWN = ("user_id", "project_id", "type", "blob")
Type = Annotated[str, Meta(min_length=1, max_length=255)]


class NewCredential(Model, frozen=True, kw_only=True):
    """Attributes of a new credential."""

    type: Type
    blob: str
    user_id: str | None = None
    project_id: str | None = None


class CreateCredential(Model, frozen=True, kw_only=True):
    """POST /v3/credentials."""

    credential: NewCredential


class CredentialChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    type: Type | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    project_id: str | UnsetType | None = UNSET


class UpdateCredential(Model, frozen=True, kw_only=True):
    """PATCH /v3/credentials/{id}."""

    credential: CredentialChanges


def _ring(request: Request) -> KeyRing:
    return key_ring(request.cloud.config.directory / "secrets" / "credential-keys")


def sealed(request: Request, blob: str) -> str:
    """A credential's content, encrypted."""
    return _ring(request).encrypt(blob.encode()).decode()


def opened_text(request: Request, sealed: str) -> str:
    """What was encrypted by `sealed`; InvalidToken when its key is missing."""
    return _ring(request).decrypt(sealed.encode()).decode()


def opened(request: Request, one: Credential) -> str:
    """A credential's content; Unavailable when its key is missing."""
    try:
        return opened_text(request, one.sealed_blob)
    except InvalidToken as error:
        raise Unavailable(f"Credential {one.id} can't be decrypted: its key is missing in secrets/credential-keys.") from error


def _document(request: Request, one: Credential) -> Document:
    return {
        **one.extra,
        "id": one.id,
        "user_id": one.user_id,
        "project_id": one.project_id,
        "type": one.type,
        "blob": opened(request, one),
        "links": self_link(request, "credentials", one.id),
    }


async def _visible(request: Request, db: Reader, action: str, change: bool = False) -> Credential:
    may.lasting(request)  # who has a seed or a key that another may use logs in as its owner, with all that it has
    key = request.params["credential_id"]
    one = await CREDENTIALS.get(db, key)
    own = one is not None and one.user_id == request.identity.user_id
    may.demand(own or (request.identity.is_admin if change else may.sees_all(request)), action)
    return found(one, "credential", key)


async def list_credentials(request: Request) -> Document:
    """GET /v3/credentials: one's own, or all."""
    may.lasting(request)
    conditions = [Condition(column=name, value=value) for name, value in wanted(request, ("user_id", "type")).items()]
    if not may.sees_all(request):
        conditions.append(Condition(column="user_id", value=request.identity.user_id))
    return await listed(request, "credentials", CREDENTIALS, conditions, partial(_document, request))


async def show_credential(request: Request) -> Document:
    """GET /v3/credentials/{credential_id}."""
    return {"credential": _document(request, await _visible(request, request.cloud.db, "identity:get_credential"))}


async def create_credential(request: Request) -> Document:
    """POST /v3/credentials. An EC2 key's id is the SHA-256 of its access key, as clients expect."""
    may.lasting(request)
    body: NewCredential = request.body.credential
    user_id = body.user_id or request.identity.user_id
    may.demand(user_id == request.identity.user_id or request.identity.is_admin, "identity:create_credential")
    key = _ec2_id(body.blob) if body.type == "ec2" else None
    if body.type == "ec2" and body.project_id is None:
        raise Invalid("A credential of type ec2 needs a project_id.", field="project_id")
    one = Credential(
        **fresh(key),
        user_id=user_id,
        project_id=body.project_id,
        type=body.type,
        sealed_blob=sealed(request, body.blob),
        extra=extras(request, "credential", KNOWN),
    )

    async def work(tx: Transaction) -> Credential:
        found(await USERS.get(tx, user_id), "user", user_id)
        if body.project_id is not None:
            found(await PROJECTS.get(tx, body.project_id), "project", body.project_id)
        if await CREDENTIALS.get(tx, one.id) is not None:
            raise duplicate("credential", one.id)
        return await CREDENTIALS.insert(tx, one)

    return {"credential": _document(request, await write(request, work))}


def _ec2_id(blob: str) -> str:
    try:
        access = msgspec.json.decode(blob, type=dict[str, object]).get("access")
    except msgspec.DecodeError as error:
        raise Invalid("Invalid blob in credential: it must be a JSON object.", field="blob") from error
    if not isinstance(access, str):
        raise Invalid("Invalid blob in credential: it must have a string `access`.", field="blob")
    return hashlib.sha256(access.encode()).hexdigest()


async def update_credential(request: Request) -> Document:
    """PATCH /v3/credentials/{credential_id}."""
    sent = changes(request.body.credential)
    if "blob" in sent:
        sent["sealed_blob"] = sealed(request, sent.pop("blob"))

    async def work(tx: Transaction) -> Credential:
        one = await _visible(request, tx, "identity:update_credential", change=True)
        owner = sent.get("user_id", one.user_id)
        may.demand(owner == request.identity.user_id or request.identity.is_admin, "identity:update_credential")
        found(await USERS.get(tx, owner), "user", owner)
        return await CREDENTIALS.update(tx, one, **sent, extra=merged(one.extra, extras(request, "credential", KNOWN)))

    return {"credential": _document(request, await write(request, work))}


async def remove_credential(request: Request) -> None:
    """DELETE /v3/credentials/{credential_id}."""

    async def work(tx: Transaction) -> None:
        await delete_credential(tx, (await _visible(request, tx, "identity:delete_credential", change=True)).id)

    await write(request, work)
