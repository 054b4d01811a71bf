"""Metadata definitions: namespaces, which hold objects, properties, tags and associations with resource types."""

import uuid
from typing import Any
from urllib.parse import urlencode

import msgspec

from pileus import clock
from pileus.api.image.images import isotime
from pileus.api.image.metadef_bodies import Namespace, NamespaceChanges
from pileus.api.request import Request, Response
from pileus.model.errors import Forbidden, Invalid, NotFound
from pileus.model.metadefs import MetadefItem, MetadefKind, MetadefNamespace
from pileus.store import metadefs as store
from pileus.store.database import Reader, Transaction
from pileus.store.listing import Condition, Listing, list_rows

PLACE = "/v2/metadefs/namespaces"
SORT_KEYS = {"namespace": "name", "created_at": "created_at", "updated_at": "updated_at", "display_name": "display_name"}
Document = dict[str, Any]


def namespace_view(one: MetadefNamespace) -> Document:
    """A namespace's own attributes; those that are not set are left out, as Glance does."""
    shown: Document = {
        "namespace": one.name,
        "display_name": one.display_name,
        "description": one.description,
        "visibility": one.visibility,
        "protected": one.protected,
        "owner": one.owner,
        "created_at": isotime(one.created_at),
        "updated_at": isotime(one.updated_at),
        "self": f"{PLACE}/{one.name}",
        "schema": "/v2/schemas/metadefs/namespace",
    }
    return {name: value for name, value in shown.items() if value is not None}


def item_view(namespace: str, one: MetadefItem) -> Document:
    """An item as it is shown by itself."""
    if one.kind is MetadefKind.PROPERTY:
        return {**one.body, "name": one.name}
    times = {"created_at": isotime(one.created_at), "updated_at": isotime(one.updated_at)}
    if one.kind is MetadefKind.OBJECT:
        times |= {"self": f"{PLACE}/{namespace}/objects/{one.name}", "schema": "/v2/schemas/metadefs/object"}
    return {**one.body, "name": one.name, **times}


def new_item(namespace_id: str, kind: MetadefKind, name: str, body: msgspec.Struct | None) -> MetadefItem:
    """An item of a request's body."""
    now = clock.now()
    fields = _plain(body)
    return MetadefItem(id=str(uuid.uuid4()), created_at=now, updated_at=now, namespace_id=namespace_id, kind=kind, name=name, body=fields)


def _plain(body: msgspec.Struct | None) -> Document:
    fields = {} if body is None else msgspec.to_builtins(body)
    return {name: value for name, value in fields.items() if name != "name"}


async def load(request: Request, db: Reader | None = None) -> MetadefNamespace:
    """The path's namespace, when the caller sees it."""
    name = request.params["namespace"]
    found = await store.visible_namespace(db or request.cloud.db, name, request.identity)
    if found is None:
        raise NotFound(f"Metadata definition namespace not found for id={name}", kind="namespace", id=name)
    return found


async def index(request: Request) -> Document:
    """GET /v2/metadefs/namespaces."""
    query = request.query
    limit = _limit(request)
    listing = Listing(
        conditions=[Condition(column="visibility", value=query["visibility"])] if "visibility" in query else [],
        **_where(request),
        sort=[_order(request)],
        marker=(await _marker(request, query["marker"])).id if "marker" in query else None,
        limit=limit,
    )
    found = await list_rows(request.cloud.db, store.NAMESPACES, listing)
    shown: list[Document] = []
    for one in found:
        types = await store.items(request.cloud.db, one.id, MetadefKind.RESOURCE_TYPE)
        associations = [item_view(one.name, item) for item in types]
        shown.append(namespace_view(one) | ({"resource_type_associations": associations} if associations else {}))
    rest = [(name, value) for name, value in request.queries if name != "marker"]
    page: Document = {"namespaces": shown, "first": _address(rest), "schema": "/v2/schemas/metadefs/namespaces"}
    if found and len(found) == limit:
        page["next"] = _address([*rest, ("marker", found[-1].name)])
    return page


def _address(query: list[tuple[str, str]]) -> str:
    return f"{PLACE}?{urlencode(query)}" if query else PLACE


def _where(request: Request) -> Document:
    clauses: list[str] = []
    args: list[Any] = []
    if not request.identity.is_admin:
        clauses.append("(metadef_namespaces.visibility = 'public' OR metadef_namespaces.owner = ?)")
        args.append(request.identity.project_id)
    if types := [name for name in request.query.get("resource_types", "").split(",") if name]:
        clauses.append(store.ASSOCIATED.format(marks=", ".join("?" * len(types))))
        args += types
    return {"where": " AND ".join(clauses), "args": args}


def _order(request: Request) -> tuple[str, str]:
    key, direction = request.query.get("sort_key", "created_at"), request.query.get("sort_dir", "desc")
    if key not in SORT_KEYS:
        raise Invalid(f"Invalid sort key: {key}. It must be one of the following: {', '.join(SORT_KEYS)}.", field="sort_key")
    if direction not in ("asc", "desc"):
        raise Invalid(f"Invalid sort direction: {direction}. It must be asc or desc.", field="sort_dir")
    return SORT_KEYS[key], direction


def _limit(request: Request) -> int:
    text = request.query.get("limit", "25")
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) == 0:
        raise Invalid("limit must be a whole number, one or more.", field="limit")
    return min(int(text), request.cloud.config.list_limit)


async def _marker(request: Request, name: str) -> MetadefNamespace:
    found = await store.visible_namespace(request.cloud.db, name, request.identity)
    if found is None:
        raise NotFound(f"Metadata definition namespace not found for id={name}", kind="namespace", id=name)
    return found


async def create(request: Request) -> Response:
    """POST /v2/metadefs/namespaces: a namespace with all that stands in it."""
    body: Namespace = request.body
    now = clock.now()
    one = MetadefNamespace(id=str(uuid.uuid4()), created_at=now, updated_at=now, **_attributes(request, body))
    items = [
        *(new_item(one.id, MetadefKind.RESOURCE_TYPE, given.name, given) for given in body.resource_type_associations),
        *(new_item(one.id, MetadefKind.PROPERTY, name, given) for name, given in body.properties.items()),
        *(new_item(one.id, MetadefKind.OBJECT, given.name, given) for given in body.objects),
        *(new_item(one.id, MetadefKind.TAG, given.name, given) for given in body.tags),
    ]

    async def add(tx: Transaction) -> None:
        await store.insert_namespace(tx, one, items)

    await request.cloud.db.write(add)
    return Response(201, await _whole(request, one), {"Location": f"{request.service_url}{PLACE}/{one.name}"})


def _attributes(request: Request, body: NamespaceChanges) -> Document:
    return {
        "name": body.namespace,
        "display_name": body.display_name,
        "description": body.description,
        "visibility": body.visibility,
        "protected": body.protected,
        "owner": body.owner or request.identity.project_id,
    }


async def show(request: Request) -> Document:
    """GET /v2/metadefs/namespaces/{namespace}; `resource_type` puts that type's prefix before the names of properties."""
    return await _whole(request, await load(request))


async def _whole(request: Request, one: MetadefNamespace) -> Document:
    by_kind = {kind: await store.items(request.cloud.db, one.id, kind) for kind in MetadefKind}
    prefix = _prefix(by_kind[MetadefKind.RESOURCE_TYPE], request.query.get("resource_type"))
    parts = {
        "resource_type_associations": [item_view(one.name, item) for item in by_kind[MetadefKind.RESOURCE_TYPE]],
        "properties": {f"{prefix}{item.name}": item.body for item in by_kind[MetadefKind.PROPERTY]},
        "objects": [_prefixed(item_view(one.name, item), prefix) for item in by_kind[MetadefKind.OBJECT]],
        "tags": [{"name": item.name} for item in by_kind[MetadefKind.TAG]],
    }
    return namespace_view(one) | {name: part for name, part in parts.items() if part}


def _prefix(associations: list[MetadefItem], resource_type: str | None) -> str:
    return next((item.body.get("prefix") or "" for item in associations if item.name == resource_type), "")


def _prefixed(document: Document, prefix: str) -> Document:
    if prefix and "required" in document:
        document["required"] = [f"{prefix}{name}" for name in document["required"]]
    if prefix and "properties" in document:
        document["properties"] = {f"{prefix}{name}": value for name, value in document["properties"].items()}
    return document


async def update(request: Request) -> Document:
    """PUT /v2/metadefs/namespaces/{namespace}."""
    body: NamespaceChanges = request.body

    async def change(tx: Transaction) -> MetadefNamespace:
        seen = await load(request, tx)
        await store.rename_free(tx, seen, body.namespace)
        return await store.NAMESPACES.update(tx, seen, **_attributes(request, body))

    return namespace_view(await request.cloud.db.write(change))


async def delete(request: Request) -> None:
    """DELETE /v2/metadefs/namespaces/{namespace}."""

    async def remove(tx: Transaction) -> None:
        one = await unprotected(request, tx)
        await store.remove_namespace(tx, one.id)

    await request.cloud.db.write(remove)


async def unprotected(request: Request, tx: Transaction) -> MetadefNamespace:
    """The path's namespace; Forbidden when it is protected."""
    one = await load(request, tx)
    if one.protected:
        raise Forbidden(f"Metadata definition namespace {one.name} is protected and cannot be deleted.", id=one.name)
    return one
