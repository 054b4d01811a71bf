"""Moves inventories between providers together with what is allocated of them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pileus.api.placement.allocations import ConsumerAllocations, Key, replace, wanted
from pileus.api.placement.inventories import PutInventories, check_generation, check_reserved
from pileus.api.request import Request
from pileus.model.errors import Invalid
from pileus.store import providers
from pileus.store.database import Transaction
from pileus.store.placement_names import unknown_resource_classes
from pileus.store.providers import PROVIDERS


class Reshape(msgspec.Struct, forbid_unknown_fields=True):
    """All inventories of some providers, and all allocations of some consumers, as they shall be."""

    inventories: Annotated[dict[Key, PutInventories], Meta(min_length=1)]
    allocations: dict[Key, ConsumerAllocations]


async def reshape(request: Request) -> None:
    """Do it in one transaction: first inventories old and new, then the allocations, then the new inventories alone."""
    body: Reshape = request.body
    after = {key: {name: fields.inventory() for name, fields in one.inventories.items()} for key, one in body.inventories.items()}
    changes = [wanted(request, key, one) for key, one in body.allocations.items()]

    async def work(tx: Transaction) -> None:
        for key, one in body.inventories.items():
            provider = await PROVIDERS.get(tx, key)
            if provider is None:
                text = f"Resource provider {key} in the reshape request does not exist."
                raise Invalid(text, code="placement.resource_provider.not_found")
            check_generation(provider, one.resource_provider_generation)
            if unknown := await unknown_resource_classes(tx, after[key]):
                raise Invalid(f"malformed reshaper data: No such resource class {unknown[0]}.")
            check_reserved(key, after[key])
            if after[key]:
                await providers.save(tx, provider, inventories={**provider.inventories, **after[key]})
        await replace(tx, changes)
        for key in body.inventories:
            await providers.set_inventories(tx, await providers.get(tx, key), after[key])

    await request.cloud.db.write(work)
