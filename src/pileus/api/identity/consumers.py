"""Consumers of OAuth 1: programs that may ask users for some of their roles."""

import secrets
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pileus.api.identity.credentials import sealed
from pileus.api.identity.documents import Document, changes, collection, extras, found, fresh, merged, self_link, write
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.oauth1 import Consumer
from pileus.store.database import Reader, Transaction
from pileus.store.oauth1 import CONSUMERS, delete_consumer

KNOWN = ("description", "secret")
Text = Annotated[str, Meta(max_length=65535)]


class NewConsumer(Model, frozen=True, kw_only=True):
    """Attributes of a new consumer; its secret is ours to choose."""

    description: Text | None = None


class CreateConsumer(Model, frozen=True, kw_only=True):
    """POST /v3/OS-OAUTH1/consumers."""

    consumer: NewConsumer


class ConsumerChanges(Model, frozen=True, kw_only=True):
    """What may change."""

    description: Text | UnsetType | None = UNSET
    secret: Any = UNSET
    id: str | UnsetType = UNSET


class UpdateConsumer(Model, frozen=True, kw_only=True):
    """PATCH /v3/OS-OAUTH1/consumers/{id}."""

    consumer: ConsumerChanges


def _document(request: Request, one: Consumer) -> Document:
    links = self_link(request, "OS-OAUTH1", "consumers", one.id)
    return {**one.extra, "id": one.id, "description": one.description, "links": links}


async def _find(request: Request, db: Reader) -> Consumer:
    key = request.params["consumer_id"]
    return found(await CONSUMERS.get(db, key), "consumer", key)


async def list_consumers(request: Request) -> Document:
    """GET /v3/OS-OAUTH1/consumers."""
    rows = await CONSUMERS.find(request.cloud.db, "1 = 1 ORDER BY created_at, id")
    return collection(request, "consumers", [_document(request, row) for row in rows])


async def show_consumer(request: Request) -> Document:
    """GET /v3/OS-OAUTH1/consumers/{consumer_id}."""
    return {"consumer": _document(request, await _find(request, request.cloud.db))}


async def create_consumer(request: Request) -> Document:
    """POST /v3/OS-OAUTH1/consumers: the secret is shown this once."""
    secret = secrets.token_hex(16)
    body: NewConsumer = request.body.consumer
    one = Consumer(**fresh(), description=body.description, sealed_secret=sealed(request, secret), extra=extras(request, "consumer", KNOWN))
    await write(request, lambda tx: CONSUMERS.insert(tx, one))
    return {"consumer": {**_document(request, one), "secret": secret}}


async def update_consumer(request: Request) -> Document:
    """PATCH /v3/OS-OAUTH1/consumers/{consumer_id}."""
    body: ConsumerChanges = request.body.consumer
    if body.secret is not UNSET:
        raise Invalid("A consumer's secret can't be changed; make another consumer.", field="secret")
    if body.id is not UNSET and body.id != request.params["consumer_id"]:
        raise Invalid("The id in the body is not that in the path.", field="id")
    sent = {name: value for name, value in changes(body).items() if name == "description"}

    async def work(tx: Transaction) -> Consumer:
        one = await _find(request, tx)
        return await CONSUMERS.update(tx, one, **sent, extra=merged(one.extra, extras(request, "consumer", KNOWN)))

    return {"consumer": _document(request, await write(request, work))}


async def remove_consumer(request: Request) -> None:
    """DELETE /v3/OS-OAUTH1/consumers/{consumer_id}: tokens that were made through it are void."""

    async def work(tx: Transaction) -> None:
        await delete_consumer(tx, (await _find(request, tx)).id)

    await write(request, work)
