"""Aggregates that a resource provider is in."""

from typing import Any

import msgspec

from pileus.api.placement.answers import answer
from pileus.api.placement.inventories import check_unchanged
from pileus.api.placement.providers import Uuid
from pileus.api.request import Request, Response
from pileus.model.errors import Invalid
from pileus.model.placement import Provider
from pileus.store import providers
from pileus.store.database import Transaction


class PutAggregates(msgspec.Struct, forbid_unknown_fields=True):
    """These and no others."""

    aggregates: list[Uuid]
    resource_provider_generation: int


def document(provider: Provider) -> dict[str, Any]:
    """The aggregates of a provider."""
    return {"aggregates": provider.aggregates, "resource_provider_generation": provider.generation}


async def list_aggregates(request: Request) -> Response:
    """All of them."""
    return answer(request, document(await providers.get(request.cloud.db, request.params["uuid"])))


async def put_aggregates(request: Request) -> Response:
    """Put the provider into these aggregates."""
    body: PutAggregates = request.body
    wanted = body.aggregates
    if len(set(wanted)) != len(wanted):
        raise Invalid(f"JSON does not validate: {body.aggregates} has non-unique elements", field="aggregates")

    async def work(tx: Transaction) -> Provider:
        provider = await providers.get(tx, request.params["uuid"])
        if "unguarded" in request.notes:
            return await providers.amend(tx, provider, aggregates=wanted)
        check_unchanged(provider, body.resource_provider_generation)
        return await providers.save(tx, provider, aggregates=wanted)

    return answer(request, document(await request.cloud.db.write(work)))
