"""Allocations: of a consumer, of many at once, of a provider."""

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.api.placement.answers import answer
from pileus.api.placement.inventories import ClassName
from pileus.api.placement.providers import Uuid
from pileus.api.placement.queries import is_uuid
from pileus.api.placement.usages import UNKNOWN
from pileus.api.request import Request, Response
from pileus.model.errors import Invalid, NotFound
from pileus.model.placement import MAX_INT, Wanted
from pileus.store import allocations, providers
from pileus.store.allocations import CONSUMERS
from pileus.store.database import Reader, Transaction
from pileus.store.placement_names import unknown_resource_classes

Key = Annotated[str, Meta(pattern="^[0-9a-fA-F-]{36}$")]
Owner = Annotated[str, Meta(min_length=1, max_length=255)]
Suffix = Annotated[str, Meta(pattern="^([a-zA-Z0-9_-]{1,64})?$")]


class ProviderResources(msgspec.Struct, forbid_unknown_fields=True):
    """What is taken of one provider. The generation is what GET shows, and means nothing here."""

    resources: Annotated[dict[ClassName, Annotated[int, Meta(ge=1, le=MAX_INT)]], Meta(min_length=1)]
    generation: int | None = None


class ConsumerAllocations(msgspec.Struct, forbid_unknown_fields=True):
    """All that a consumer is to have."""

    allocations: dict[Key, ProviderResources]
    project_id: Owner
    user_id: Owner
    consumer_generation: int | None
    consumer_type: Annotated[str, Meta(pattern="^[A-Z0-9_]+$", min_length=1, max_length=255)]
    mappings: Annotated[dict[Suffix, Annotated[list[Uuid], Meta(min_length=1)]], Meta(min_length=1)] | UnsetType = UNSET


Many = Annotated[dict[Key, ConsumerAllocations], Meta(min_length=1)]


def wanted(request: Request, consumer_id: str, body: ConsumerAllocations) -> Wanted:
    """A body as the store takes it; what older versions can't say is in the request's notes."""
    return Wanted(
        consumer_id=consumer_id,
        allocations={key: one.resources for key, one in body.allocations.items()},
        project_id=body.project_id,
        user_id=body.user_id,
        consumer_type=None if "untyped" in request.notes else body.consumer_type,
        generation=body.consumer_generation,
        unguarded="unguarded" in request.notes,
    )


async def replace(tx: Transaction, changes: list[Wanted]) -> None:
    """Change allocations, once the resource classes are known to exist."""
    names = {name for one in changes for resources in one.allocations.values() for name in resources}
    if unknown := await unknown_resource_classes(tx, sorted(names)):
        consumers = ", ".join(one.consumer_id for one in changes)
        raise Invalid(f"Unable to allocate inventory for consumer {consumers}: No such resource class {unknown[0]}.")
    await allocations.replace(tx, changes)


async def show_allocations(request: Request) -> Response:
    """Those of a consumer."""
    db, consumer_id = request.cloud.db, request.params["consumer_uuid"]
    have = await allocations.of_consumer(db, consumer_id)
    shown = {one.provider_id: {"generation": await _generation(db, one.provider_id), "resources": one.resources} for one in have}
    document: dict[str, Any] = {"allocations": shown}
    consumer = await CONSUMERS.get(db, consumer_id)
    if consumer is not None:
        document |= {
            "project_id": consumer.project_id,
            "user_id": consumer.user_id,
            "consumer_generation": consumer.generation,
            "consumer_type": consumer.consumer_type or UNKNOWN,
        }
    return answer(request, document, max((one.created_at for one in have), default=None))


async def _generation(db: Reader, provider_id: str) -> int:
    return (await providers.get(db, provider_id)).generation


async def put_allocations(request: Request) -> None:
    """Give a consumer exactly these."""
    key = request.params["consumer_uuid"]
    if not is_uuid(key):
        raise Invalid(f"Malformed consumer_uuid: {key}", field="consumer_uuid")
    change = wanted(request, str(uuid.UUID(key)), request.body)
    await request.cloud.db.write(lambda tx: replace(tx, [change]))


async def manage_allocations(request: Request) -> None:
    """Give many consumers exactly these, all or none."""
    changes = [wanted(request, key, one) for key, one in request.body.items()]
    await request.cloud.db.write(lambda tx: replace(tx, changes))


async def remove_allocations(request: Request) -> None:
    """Take all from a consumer."""
    key = request.params["consumer_uuid"]
    if not await request.cloud.db.write(lambda tx: allocations.release(tx, key)):
        raise NotFound(f"No allocations for consumer '{key}'")


async def provider_allocations(request: Request) -> Response:
    """Those of a provider."""
    db = request.cloud.db
    provider = await providers.get(db, request.params["uuid"])
    have = await allocations.of_provider(db, provider.id)
    generations = await allocations.generations_of(db, provider.id)
    shown = {one.consumer_id: {"resources": one.resources, "consumer_generation": generations[one.consumer_id]} for one in have}
    document = {"allocations": shown, "resource_provider_generation": provider.generation}
    return answer(request, document, max((one.created_at for one in have), default=None))
