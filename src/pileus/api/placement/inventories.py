"""Inventories of a resource provider."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.api.placement.answers import answer, created, path
from pileus.api.request import Request, Response
from pileus.model.errors import Conflict, Invalid, NotFound, PileusError
from pileus.model.placement import MAX_INT, Inventory, Provider
from pileus.store import providers
from pileus.store.database import Transaction
from pileus.store.placement_names import unknown_resource_classes
from pileus.store.providers import CONCURRENT

Positive = Annotated[int, Meta(ge=1, le=MAX_INT)]
ClassName = Annotated[str, Meta(pattern="^[A-Z0-9_]+$")]


class Fields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An inventory's own fields."""

    total: Positive
    reserved: Annotated[int, Meta(ge=0, le=MAX_INT)] = 0
    min_unit: Positive = 1
    max_unit: Positive = MAX_INT
    step_size: Positive = 1
    allocation_ratio: Annotated[float, Meta(le=3.40282e38)] = 1.0

    def inventory(self) -> Inventory:
        """As it is stored."""
        return Inventory(
            total=self.total,
            reserved=self.reserved,
            min_unit=self.min_unit,
            max_unit=self.max_unit,
            step_size=self.step_size,
            allocation_ratio=float(self.allocation_ratio),
        )


class AmongOthers(Fields, forbid_unknown_fields=True, kw_only=True):
    """An inventory in a document that has the generation elsewhere: here it says nothing."""

    resource_provider_generation: int | None = None


class PutInventories(msgspec.Struct, forbid_unknown_fields=True):
    """The body that replaces all inventories."""

    resource_provider_generation: int
    inventories: dict[ClassName, AmongOthers]


class CreateInventory(AmongOthers, forbid_unknown_fields=True, kw_only=True):
    """The body of a new inventory."""

    resource_class: ClassName


class PutInventory(Fields, forbid_unknown_fields=True, kw_only=True):
    """The body that replaces one inventory."""

    resource_provider_generation: int


def document(inventory: Inventory) -> dict[str, Any]:
    """An inventory as it is shown."""
    return msgspec.structs.asdict(inventory)


def listing(provider: Provider) -> dict[str, Any]:
    """All inventories of a provider."""
    shown = {name: document(one) for name, one in provider.inventories.items()}
    return {"resource_provider_generation": provider.generation, "inventories": shown}


def single(provider: Provider, name: str) -> dict[str, Any]:
    """One inventory of a provider."""
    return {**document(provider.inventories[name]), "resource_provider_generation": provider.generation}


def check_generation(provider: Provider, generation: int) -> None:
    """Conflict unless the provider is still as it was seen."""
    if provider.generation != generation:
        raise Conflict(f"resource provider generation conflict - actual: {provider.generation}, given: {generation}", code=CONCURRENT)


def check_unchanged(provider: Provider, generation: int) -> None:
    """As `check_generation`, in the words that Placement has for aggregates and traits; its client looks for them."""
    if provider.generation != generation:
        text = "Resource provider's generation already changed. Please update the generation and try again."
        raise Conflict(text, code=CONCURRENT)


def check_reserved(provider_id: str, inventories: dict[str, Inventory], verb: str = "update") -> None:
    """Invalid when more is reserved than there is; the message says what could not be done."""
    for name, one in inventories.items():
        if one.reserved > one.total:
            text = f"Invalid inventory for '{name}' on resource provider '{provider_id}'. The reserved value is greater than total."
            raise Invalid(f"Unable to {verb} inventory for resource provider {provider_id}: {text}", field="reserved")


async def list_inventories(request: Request) -> Response:
    """All of them."""
    provider = await providers.get(request.cloud.db, request.params["uuid"])
    return answer(request, listing(provider), provider.updated_at)


async def put_inventories(request: Request) -> Response:
    """These and no others."""
    body: PutInventories = request.body
    key = request.params["uuid"]
    wanted = {name: one.inventory() for name, one in body.inventories.items()}

    async def work(tx: Transaction) -> Provider:
        provider = await providers.get(tx, key)
        check_generation(provider, body.resource_provider_generation)
        if unknown := await unknown_resource_classes(tx, wanted):
            raise Invalid(f"Unknown resource class in inventory for resource provider {key}: No such resource class {unknown[0]}.")
        check_reserved(key, wanted)
        return await providers.set_inventories(tx, provider, wanted)

    changed = await request.cloud.db.write(work)
    return answer(request, listing(changed), changed.updated_at)


async def create_inventory(request: Request) -> Response:
    """One more."""
    body: CreateInventory = request.body
    key, name, wanted = request.params["uuid"], body.resource_class, body.inventory()
    unable = f"Unable to create inventory for resource provider {key}: "

    async def work(tx: Transaction) -> Provider:
        provider = await providers.get(tx, key)
        if await unknown_resource_classes(tx, [name]):
            raise Invalid(f"{unable}No such resource class {name}.")
        check_reserved(key, {name: wanted}, "create")
        if name in provider.inventories:
            raise Conflict(f"Update conflict: there is an inventory of class {name} for {key} already.", code=CONCURRENT)
        return await providers.save(tx, provider, inventories={**provider.inventories, name: wanted})

    changed = await request.cloud.db.write(work)
    return created(request, path(request, "resource_providers", key, "inventories", name), single(changed, name))


async def show_inventory(request: Request) -> Response:
    """One of them."""
    provider = await providers.get(request.cloud.db, request.params["uuid"])
    name = request.params["resource_class"]
    if name not in provider.inventories:
        raise NotFound(f"No inventory of class {name} for {provider.id}")
    return answer(request, single(provider, name), provider.updated_at)


async def put_inventory(request: Request) -> Response:
    """Change one."""
    body: PutInventory = request.body
    key, name, wanted = request.params["uuid"], request.params["resource_class"], body.inventory()

    async def work(tx: Transaction) -> Provider:
        provider = await providers.get(tx, key)
        check_generation(provider, body.resource_provider_generation)
        check_reserved(key, {name: wanted})
        if name not in provider.inventories:
            raise Invalid(f"No inventory record with resource class for resource provider {key}: No inventory of class {name} found.")
        return await providers.save(tx, provider, inventories={**provider.inventories, name: wanted})

    changed = await request.cloud.db.write(work)
    return answer(request, single(changed, name), changed.updated_at)


async def remove_inventory(request: Request) -> None:
    """Take one away."""
    name = request.params["resource_class"]

    async def work(tx: Transaction) -> None:
        provider = await providers.get(tx, request.params["uuid"])
        if name not in provider.inventories:
            raise NotFound(f"No inventory of class {name} found for delete: No inventory of class {name} found.")
        left = {key: one for key, one in provider.inventories.items() if key != name}
        try:
            await providers.set_inventories(tx, provider, left)
        except Conflict as error:
            raise Conflict(f"Unable to delete inventory of class {name}: {error.message}", **error.data) from error

    await request.cloud.db.write(work)


async def remove_inventories(request: Request) -> None:
    """Take all away."""

    async def work(tx: Transaction) -> None:
        await providers.set_inventories(tx, await providers.get(tx, request.params["uuid"]), {})

    await request.cloud.db.write(work)


async def not_yet(request: Request) -> None:
    """All inventories could not be removed at once before 1.5."""
    raise PileusError("The method DELETE is not allowed for this resource.", status=405, headers={"Allow": "GET, POST, PUT"})
