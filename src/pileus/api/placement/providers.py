"""Resource providers."""

import uuid
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.api.placement import queries
from pileus.api.placement.answers import answer, created, path
from pileus.api.request import Request, Response
from pileus.core.candidates import fits, suits
from pileus.model.candidates import Group
from pileus.model.errors import Invalid
from pileus.model.placement import Provider
from pileus.store import providers
from pileus.store.database import Transaction
from pileus.store.placement_names import unknown_resource_classes, unknown_traits
from pileus.store.provider_view import view_of

Uuid = Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$")]
Name = Annotated[str, Meta(max_length=200)]
RELATIONS = ("inventories", "usages", "aggregates", "traits", "allocations")


class CreateProvider(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a new provider."""

    name: Name
    uuid: Uuid | UnsetType = UNSET
    parent_provider_uuid: Uuid | None = None


class UpdateProvider(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a change: the name, and the parent where one is given."""

    name: Name
    parent_provider_uuid: Uuid | UnsetType | None = UNSET


def document(request: Request, provider: Provider) -> dict[str, Any]:
    """A provider as the newest version shows it."""
    url = path(request, "resource_providers", provider.id)
    links = [{"rel": "self", "href": url}, *({"rel": rel, "href": f"{url}/{rel}"} for rel in RELATIONS)]
    return {
        "uuid": provider.id,
        "name": provider.name,
        "generation": provider.generation,
        "links": links,
        "parent_provider_uuid": provider.parent_id,
        "root_provider_uuid": provider.root_id,
    }


async def list_providers(request: Request) -> Response:
    """Those that meet every filter."""
    queries.check_names(request, queries.PROVIDERS)
    group = await _group(request)
    forest = (await view_of(request.cloud.db)).forest
    name, key, tree = queries.one(request, "name"), queries.uuid_of(request, "uuid"), queries.uuid_of(request, "in_tree")
    root = forest.providers[tree].root_id if tree in forest.providers else None
    found = [
        one
        for one in forest.providers.values()
        if (name is None or one.name == name)
        and (key is None or one.id == key)
        and (tree is None or one.root_id == root)
        and fits(one, group.resources)
        and suits(one, group, forest)
    ]
    newest = max((one.updated_at for one in found), default=None)
    return answer(request, {"resource_providers": [document(request, one) for one in found]}, newest)


async def _group(request: Request) -> Group:
    """The filters by resources, traits and aggregates."""
    text = queries.one(request, "resources")
    wanted = queries.resources(text) if text is not None else {}
    if unknown := await unknown_resource_classes(request.cloud.db, wanted):
        raise Invalid(f"Invalid resource class in resources parameter: No such resource class {unknown[0]}.", field="resources")
    required, forbidden = queries.traits(request.all_queries("required"), request.version)
    if unknown := await unknown_traits(request.cloud.db, forbidden.union(*required)):
        raise Invalid(f'Invalid trait(s) in "required" parameter: No such trait(s): {", ".join(unknown)}.', field="required")
    member_of, not_member_of = queries.member_of(request.all_queries("member_of"), request.version)
    return Group(resources=wanted, required=required, forbidden=forbidden, member_of=member_of, not_member_of=not_member_of)


async def create_provider(request: Request) -> Response:
    """Make one."""
    body: CreateProvider = request.body
    provider_id = str(uuid.UUID(body.uuid) if isinstance(body.uuid, str) else uuid.uuid4())
    parent = None if body.parent_provider_uuid is None else str(uuid.UUID(body.parent_provider_uuid))
    made = await request.cloud.db.write(lambda tx: providers.create(tx, provider_id, body.name, parent))
    return created(request, path(request, "resource_providers", made.id), document(request, made), status=200)


async def show_provider(request: Request) -> Response:
    """One."""
    provider = await providers.get(request.cloud.db, request.params["uuid"])
    return answer(request, document(request, provider), provider.updated_at)


async def update_provider(request: Request) -> Response:
    """Rename it, or put it under another parent."""
    body: UpdateProvider = request.body
    fixed = "fixed_parent" in request.notes

    async def work(tx: Transaction) -> Provider:
        provider = await providers.get(tx, request.params["uuid"])
        parent = body.parent_provider_uuid
        parent = str(uuid.UUID(parent)) if isinstance(parent, str) else parent
        if not isinstance(parent, UnsetType) and parent != provider.parent_id:
            if fixed and provider.parent_id is not None:
                what = "un-parenting" if parent is None else "re-parenting"
                raise Invalid(f"Unable to save resource provider {provider.id}: {what} a provider is not currently allowed.")
            provider = await providers.move(tx, provider, parent)
        return await providers.rename(tx, provider, body.name)

    changed = await request.cloud.db.write(work)
    return answer(request, document(request, changed), changed.updated_at)


async def remove_provider(request: Request) -> None:
    """Remove it; it may have neither children nor allocations."""
    await request.cloud.db.write(lambda tx: providers.remove(tx, request.params["uuid"]))
