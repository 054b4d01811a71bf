"""Keypairs: list, show, import (and, for old versions, generate), delete."""

import asyncio
import uuid
from typing import Annotated, Any, Literal

from msgspec import Meta

from pileus import clock
from pileus.api.compute import fields, ssh_keys
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Forbidden, QuotaExceeded
from pileus.model.keypairs import Keypair
from pileus.store import keypairs, quotas
from pileus.store.database import Transaction

KeyName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?!\s)[_\-@. a-zA-Z0-9]+(?<!\s)\Z")]
ONE = {"user_id": (2, 10)}
MANY = {"user_id": (2, 10), "limit": (2, 35), "marker": (2, 35)}
STRICT = (2, 75)


class NewKeypair(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to import. `user_id`: an administrator may do it for another user."""

    name: KeyName
    public_key: str
    type: Literal["ssh", "x509"] = "ssh"
    user_id: str | None = None


class CreateKeypair(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /os-keypairs."""

    keypair: NewKeypair


async def index(request: Request) -> dict[str, Any]:
    """GET /os-keypairs."""
    fields.check_queries(request, MANY, STRICT)
    paged = "limit" in request.query or "marker" in request.query
    limit = fields.page_limit(request)
    found = await keypairs.of_user(request.cloud.db, _whose(request), request.query.get("marker"), limit + 1)
    shown = found[:limit]
    document: dict[str, Any] = {
        "keypairs": [
            {"keypair": {"name": one.name, "public_key": one.public_key, "fingerprint": one.fingerprint, "type": one.type}} for one in shown
        ]
    }
    if paged and len(found) > limit > 0:
        document["keypairs_links"] = fields.next_link(request, "os-keypairs", shown[-1].name)
    return document


async def show(request: Request) -> dict[str, Any]:
    """GET /os-keypairs/{name}."""
    fields.check_queries(request, ONE, STRICT)
    one = await keypairs.get(request.cloud.db, _whose(request), request.params["name"])
    return {
        "keypair": {
            "id": one.number,
            "name": one.name,
            "public_key": one.public_key,
            "fingerprint": one.fingerprint,
            "type": one.type,
            "user_id": one.user_id,
            "created_at": fields.iso_micro(one.created_at),
            "updated_at": None,
            "deleted": False,
            "deleted_at": None,
        }
    }


async def create(request: Request) -> dict[str, Any]:
    """POST /os-keypairs. The private key of a generated pair is in the answer and nowhere else."""
    new: NewKeypair = request.body.keypair
    user = new.user_id or request.identity.user_id
    _may(request, user)
    private: str | None = None
    public = new.public_key
    if request.notes.get("generate_keypair"):
        private, public = await asyncio.to_thread(ssh_keys.generate, new.type, user)
    public, fingerprint = ssh_keys.inspect(public, new.type)
    now = clock.now()

    async def work(tx: Transaction) -> Keypair:
        limit = await quotas.limit(tx, request.identity.project_id or "", "key_pairs")
        if 0 <= limit <= await keypairs.count(tx, user):
            raise QuotaExceeded("Quota exceeded, too many key pairs.")
        record = Keypair(
            id=str(uuid.uuid4()),
            created_at=now,
            updated_at=now,
            number=await keypairs.next_number(tx),
            user_id=user,
            name=new.name,
            type=new.type,
            public_key=public,
            fingerprint=fingerprint,
        )
        return await keypairs.create(tx, record)

    one = await request.cloud.db.write(work)
    document = {"name": one.name, "public_key": one.public_key, "fingerprint": one.fingerprint, "type": one.type, "user_id": one.user_id}
    return {"keypair": document | ({"private_key": private} if private else {})}


async def delete(request: Request) -> None:
    """DELETE /os-keypairs/{name}."""
    fields.check_queries(request, ONE, STRICT)
    user = _whose(request)
    await request.cloud.db.write(lambda tx: keypairs.remove(tx, user, request.params["name"]))


def _whose(request: Request) -> str:
    user = request.query.get("user_id") or request.identity.user_id
    _may(request, user)
    return user


def _may(request: Request, user: str) -> None:
    if user != request.identity.user_id and not request.identity.is_admin:
        raise Forbidden("Policy doesn't allow keypairs of another user to be read or changed.")
