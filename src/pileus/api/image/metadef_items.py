"""What stands in a namespace of metadata definitions: objects, properties, tags, associations with resource types."""

from functools import partial
from typing import Any

import msgspec

from pileus.api.image.images import isotime
from pileus.api.image.metadef_bodies import Association, NamedProperty, Object, Tag, Tags
from pileus.api.image.metadefs import Document, item_view, load, new_item, unprotected
from pileus.api.request import Request, Response
from pileus.api.routes import Handler, Route, route
from pileus.model.errors import NotFound
from pileus.model.metadefs import MetadefItem, MetadefKind
from pileus.store import metadefs as store
from pileus.store.database import Reader, Transaction

WELL_KNOWN = (
    "OS::Cinder::Volume",
    "OS::Glance::Image",
    "OS::Neutron::Net",
    "OS::Nova::Aggregate",
    "OS::Nova::Flavor",
    "OS::Nova::Server",
    "OS::Trove::Instance",
)
"""Resource types that are offered before a namespace names any, by Heat's names."""
LISTS = {
    MetadefKind.OBJECT: "objects",
    MetadefKind.PROPERTY: "properties",
    MetadefKind.TAG: "tags",
    MetadefKind.RESOURCE_TYPE: "resource_type_associations",
}


async def _find(request: Request, db: Reader, kind: MetadefKind) -> tuple[str, MetadefItem]:
    """The name of the path's namespace, and the item in it."""
    namespace = await load(request, db)
    name = request.params["name"]
    found = await store.item(db, namespace.id, kind, name)
    if found is None:
        raise NotFound(f"The metadata definition {kind} with name={name} was not found in namespace={namespace.name}.", kind=kind, id=name)
    return namespace.name, found


async def index(kind: MetadefKind, request: Request) -> Document:
    """GET: every item of the kind; properties by their names."""
    namespace = await load(request)
    found = await store.items(request.cloud.db, namespace.id, kind)
    if kind is MetadefKind.PROPERTY:
        return {"properties": {item.name: item_view(namespace.name, item) for item in found}}
    page: Document = {LISTS[kind]: [item_view(namespace.name, item) for item in found]}
    if kind is MetadefKind.RESOURCE_TYPE:
        return page
    return page | {"first": f"/v2/metadefs/namespaces/{namespace.name}/{LISTS[kind]}", "schema": f"/v2/schemas/metadefs/{LISTS[kind]}"}


async def create(kind: MetadefKind, request: Request) -> Response:
    """POST: a new item. A tag's name stands in the path."""
    body: msgspec.Struct | None = request.body
    name: str = request.params["name"] if body is None else body.name  # pyright: ignore[reportAttributeAccessIssue]

    async def add(tx: Transaction) -> Document:
        namespace = await load(request, tx)
        return item_view(namespace.name, await store.insert_item(tx, new_item(namespace.id, kind, name, body)))

    return Response(201, await request.cloud.db.write(add))


async def create_tags(request: Request) -> Response:
    """POST .../tags: these instead of those that are there, or beside them when X-Openstack-Append says so."""
    body: Tags = request.body
    append = request.headers.get("x-openstack-append", "").lower() in ("true", "1", "yes")

    async def add(tx: Transaction) -> Document:
        namespace = await load(request, tx)
        if not append:
            await store.clear(tx, namespace.id, MetadefKind.TAG)
        made = [await store.insert_item(tx, new_item(namespace.id, MetadefKind.TAG, tag.name, tag)) for tag in body.tags]
        return {"tags": [item_view(namespace.name, one) for one in made]}

    return Response(201, await request.cloud.db.write(add))


async def show(kind: MetadefKind, request: Request) -> Document:
    """GET: one item."""
    namespace, found = await _find(request, request.cloud.db, kind)
    return item_view(namespace, found)


async def update(kind: MetadefKind, request: Request) -> Document:
    """PUT: all of the item, its name included."""
    wanted = new_item("", kind, request.body.name, request.body)

    async def change(tx: Transaction) -> Document:
        namespace, seen = await _find(request, tx, kind)
        return item_view(namespace, await store.change_item(tx, seen, wanted.name, wanted.body))

    return await request.cloud.db.write(change)


async def delete(kind: MetadefKind, request: Request) -> None:
    """DELETE: one item."""

    async def remove(tx: Transaction) -> None:
        await unprotected(request, tx)
        _, found = await _find(request, tx, kind)
        await store.ITEMS.delete(tx, found.id)

    await request.cloud.db.write(remove)


async def clear(kind: MetadefKind, request: Request) -> None:
    """DELETE: every item of the kind."""

    async def remove(tx: Transaction) -> None:
        await store.clear(tx, (await unprotected(request, tx)).id, kind)

    await request.cloud.db.write(remove)


async def resource_types(request: Request) -> Document:
    """GET /v2/metadefs/resource_types: what properties may be for."""
    used = await store.resource_types(request.cloud.db)
    started = isotime(request.cloud.started_at)
    names = sorted({*WELL_KNOWN, *used})
    times = {name: isotime(used[name]) if name in used else started for name in names}
    return {"resource_types": [{"name": name, "created_at": times[name], "updated_at": times[name]} for name in names]}


def item_routes(place: str) -> list[Route]:
    """The routes below a namespace."""

    def on(method: str, path: str, handler: Handler, action: str, **rest: Any) -> Route:
        return route(method, f"{place}/{path}", handler, action, **rest)

    # fmt: off
    found: list[Route] = []
    for kind, body, plural in ((MetadefKind.OBJECT, Object, "objects"), (MetadefKind.PROPERTY, NamedProperty, "properties")):
        removing = "remove" if kind is MetadefKind.PROPERTY else "delete"
        found += [
            on("GET",    plural,             partial(index, kind),  f"get_metadef_{plural}"),
            on("POST",   plural,             partial(create, kind), f"add_metadef_{kind}", body=body, success=201),
            on("DELETE", plural,             partial(clear, kind),  f"{removing}_metadef_{kind}", success=204),
            on("GET",    plural + "/{name}", partial(show, kind),   f"get_metadef_{kind}"),
            on("PUT",    plural + "/{name}", partial(update, kind), f"modify_metadef_{kind}", body=body),
            on("DELETE", plural + "/{name}", partial(delete, kind), f"{removing}_metadef_{kind}", success=204),
        ]
    tag, associated, link = MetadefKind.TAG, MetadefKind.RESOURCE_TYPE, "metadef_resource_type_association"
    return [
        *found,
        on("GET",    "tags",                  partial(index, tag),         "get_metadef_tags"),
        on("POST",   "tags",                  create_tags,                 "add_metadef_tags", body=Tags, success=201),
        on("DELETE", "tags",                  partial(clear, tag),         "delete_metadef_tags", success=204),
        on("GET",    "tags/{name}",           partial(show, tag),          "get_metadef_tag"),
        on("POST",   "tags/{name}",           partial(create, tag),        "add_metadef_tag", success=201),
        on("PUT",    "tags/{name}",           partial(update, tag),        "modify_metadef_tag", body=Tag),
        on("DELETE", "tags/{name}",           partial(delete, tag),        "delete_metadef_tag", success=204),
        on("GET",    "resource_types",        partial(index, associated),  "get_metadef_resource_type"),
        on("POST",   "resource_types",        partial(create, associated), f"add_{link}", body=Association, success=201),
        on("DELETE", "resource_types/{name}", partial(delete, associated), f"remove_{link}", success=204),
    ]
    # fmt: on
