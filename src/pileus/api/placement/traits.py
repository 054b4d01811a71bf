"""Traits, and those that a resource provider has."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.api.placement import queries
from pileus.api.placement.answers import answer, created, path
from pileus.api.placement.inventories import check_unchanged
from pileus.api.request import Request, Response
from pileus.core.traits import is_custom
from pileus.model.errors import Invalid
from pileus.model.placement import Provider
from pileus.store import placement_names, providers
from pileus.store.database import Transaction
from pileus.store.provider_view import view_of

FORM = (
    "The trait is invalid. A valid trait must be no longer than 255 characters, "
    'start with the prefix "CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"'
)


class PutTraits(msgspec.Struct, forbid_unknown_fields=True):
    """These and no others."""

    traits: list[Annotated[str, Meta(min_length=1, max_length=255)]]
    resource_provider_generation: int


async def list_traits(request: Request) -> Response:
    """All, or those that the filters leave."""
    queries.check_names(request, queries.TRAITS)
    known = await placement_names.all_traits(request.cloud.db)
    names = _named(list(known), queries.one(request, "name"))
    if (associated := queries.one(request, "associated")) is not None:
        if associated.lower() not in ("true", "false"):
            raise Invalid('The query parameter "associated" only accepts "true" or "false"', field="associated")
        forest = (await view_of(request.cloud.db)).forest
        used = frozenset[str]().union(*forest.traits.values())
        names = [name for name in names if (name in used) == (associated.lower() == "true")]
    times = [when for name in names if (when := known[name]) is not None]
    return answer(request, {"traits": names}, max(times, default=None))


def _named(names: list[str], wish: str | None) -> list[str]:
    if wish is None:
        return names
    operator, colon, value = wish.partition(":")
    if not colon:
        raise Invalid(
            "Badly formatted name parameter. Expected name query string parameter in form: "
            f'?name=[in|startswith]:[name1,name2|prefix]. Got: "{wish}"',
            field="name",
        )
    if operator == "in":
        wanted = set(value.split(","))
        return [name for name in names if name in wanted]
    return [name for name in names if name.startswith(value)] if operator == "startswith" else names


async def show_trait(request: Request) -> Response:
    """Whether there is such a trait."""
    return answer(request, None, await placement_names.trait_time(request.cloud.db, request.params["name"]), status=204)


async def put_trait(request: Request) -> Response:
    """Make sure that there is such a trait."""
    name = request.params["name"]
    if not is_custom(name):
        raise Invalid(FORM, field="name")
    fresh = await request.cloud.db.write(lambda tx: placement_names.add_trait(tx, name))
    return created(request, path(request, "traits", name), status=201 if fresh else 204)


async def remove_trait(request: Request) -> None:
    """Remove a trait that no provider has."""
    await request.cloud.db.write(lambda tx: placement_names.remove_trait(tx, request.params["name"]))


def document(provider: Provider) -> dict[str, Any]:
    """The traits of a provider."""
    return {"traits": provider.traits, "resource_provider_generation": provider.generation}


async def list_provider_traits(request: Request) -> Response:
    """Those of a provider."""
    provider = await providers.get(request.cloud.db, request.params["uuid"])
    return answer(request, document(provider), provider.updated_at)


async def put_provider_traits(request: Request) -> Response:
    """Give a provider these traits and no others."""
    body: PutTraits = request.body
    wanted = sorted(set(body.traits))

    async def work(tx: Transaction) -> Provider:
        provider = await providers.get(tx, request.params["uuid"])
        check_unchanged(provider, body.resource_provider_generation)
        if unknown := await placement_names.unknown_traits(tx, wanted):
            raise Invalid(f"No such trait {', '.join(unknown)}", field="traits")
        return await providers.save(tx, provider, traits=wanted)

    changed = await request.cloud.db.write(work)
    return answer(request, document(changed), changed.updated_at)


async def remove_provider_traits(request: Request) -> None:
    """Take all traits from a provider."""

    async def work(tx: Transaction) -> None:
        await providers.save(tx, await providers.get(tx, request.params["uuid"]), traits=[])

    await request.cloud.db.write(work)
