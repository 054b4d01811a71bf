"""Documents of policy, kept for services elsewhere that read them from Keystone; nothing here does."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.documents import Document, changes, collection, extras, found, fresh, merged, self_link, write
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.catalog import Policy
from pileus.store.catalog import POLICIES
from pileus.store.database import Reader, Transaction
from pileus.store.policy_associations import forget_associations

KNOWN = ("type", "blob")
Type = Annotated[str, Meta(min_length=1, max_length=255)]


class NewPolicy(Model, frozen=True, kw_only=True):
    """Attributes of a new policy."""

    type: Type
    blob: str


class CreatePolicy(Model, frozen=True, kw_only=True):
    """POST /v3/policies."""

    policy: NewPolicy


class PolicyChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    type: Type | UnsetType = UNSET
    blob: str | UnsetType = UNSET


class UpdatePolicy(Model, frozen=True, kw_only=True):
    """PATCH /v3/policies/{id}."""

    policy: PolicyChanges


def policy_document(request: Request, one: Policy) -> Document:
    """A document of policy as Keystone shows it."""
    return {**one.extra, "id": one.id, "type": one.type, "blob": one.document, "links": self_link(request, "policies", one.id)}


async def _find(request: Request, db: Reader) -> Policy:
    key = request.params["policy_id"]
    return found(await POLICIES.get(db, key), "policy", key)


async def list_policies(request: Request) -> Document:
    """GET /v3/policies."""
    rows = await POLICIES.find(request.cloud.db, "1 = 1 ORDER BY created_at, id")
    rows = [row for row in rows if request.query.get("type", row.type) == row.type]
    return collection(request, "policies", [policy_document(request, row) for row in rows])


async def show_policy(request: Request) -> Document:
    """GET /v3/policies/{policy_id}."""
    return {"policy": policy_document(request, await _find(request, request.cloud.db))}


async def create_policy(request: Request) -> Document:
    """POST /v3/policies."""
    body: NewPolicy = request.body.policy
    one = Policy(**fresh(), type=body.type, document=body.blob, extra=extras(request, "policy", KNOWN))
    return {"policy": policy_document(request, await write(request, lambda tx: POLICIES.insert(tx, one)))}


async def update_policy(request: Request) -> Document:
    """PATCH /v3/policies/{policy_id}."""
    sent = changes(request.body.policy)
    if "blob" in sent:
        sent["document"] = sent.pop("blob")

    async def work(tx: Transaction) -> Policy:
        one = await _find(request, tx)
        return await POLICIES.update(tx, one, **sent, extra=merged(one.extra, extras(request, "policy", KNOWN)))

    return {"policy": policy_document(request, await write(request, work))}


async def remove_policy(request: Request) -> None:
    """DELETE /v3/policies/{policy_id}."""

    async def work(tx: Transaction) -> None:
        key = (await _find(request, tx)).id
        await forget_associations(tx, "policy_id", key)
        await POLICIES.delete(tx, key)

    await write(request, work)
