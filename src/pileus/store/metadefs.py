"""Metadata definitions: namespaces, and what stands in them."""

from pileus.model.errors import Conflict
from pileus.model.identity import Identity
from pileus.model.metadefs import MetadefItem, MetadefKind, MetadefNamespace
from pileus.store.database import Reader, Transaction
from pileus.store.tables import ResourceTable

NAMESPACES = ResourceTable("metadef_namespaces", MetadefNamespace)
ITEMS = ResourceTable("metadef_items", MetadefItem)

ASSOCIATED = (
    "EXISTS (SELECT 1 FROM metadef_items i WHERE i.namespace_id = metadef_namespaces.id"
    " AND i.kind = 'resource_type' AND i.name IN ({marks}))"
)
"""Whether a namespace is associated with one of some resource types."""


async def visible_namespace(db: Reader, name: str, identity: Identity) -> MetadefNamespace | None:
    """The namespace of that name, when the caller sees it: a public one, its project's own, an admin every one."""
    found = await NAMESPACES.first(db, "name = ?", name)
    if (
        found is None
        or identity.is_admin
        or found.visibility == "public"
        or (found.owner is not None and found.owner == identity.project_id)
    ):
        return found
    return None


async def insert_namespace(tx: Transaction, namespace: MetadefNamespace, items: list[MetadefItem]) -> None:
    """Add a namespace with what stands in it; a name that is taken is a Conflict."""
    await _free(tx, namespace.name)
    await NAMESPACES.insert(tx, namespace)
    for item in items:
        await insert_item(tx, item)


async def rename_free(tx: Transaction, seen: MetadefNamespace, name: str) -> None:
    """A Conflict when another namespace has the name."""
    if name != seen.name:
        await _free(tx, name)


async def _free(tx: Transaction, name: str) -> None:
    if await NAMESPACES.first(tx, "name = ?", name) is not None:
        raise Conflict(f"The metadata definition namespace={name} already exists.", name=name)


async def item(db: Reader, namespace_id: str, kind: MetadefKind, name: str) -> MetadefItem | None:
    """One item by its name."""
    return await ITEMS.first(db, "namespace_id = ? AND kind = ? AND name = ?", namespace_id, str(kind), name)


async def items(db: Reader, namespace_id: str, kind: MetadefKind) -> list[MetadefItem]:
    """Every item of a kind, oldest first."""
    return await ITEMS.find(db, "namespace_id = ? AND kind = ? ORDER BY created_at, name", namespace_id, str(kind))


async def insert_item(tx: Transaction, one: MetadefItem) -> MetadefItem:
    """Add an item; a name that is taken is a Conflict."""
    if await item(tx, one.namespace_id, one.kind, one.name) is not None:
        raise Conflict(f"A metadata definition {one.kind} with name={one.name} already exists in this namespace.", name=one.name)
    return await ITEMS.insert(tx, one)


async def change_item(tx: Transaction, seen: MetadefItem, name: str, body: dict[str, object]) -> MetadefItem:
    """Change an item, its name included."""
    if name != seen.name and await item(tx, seen.namespace_id, seen.kind, name) is not None:
        raise Conflict(f"A metadata definition {seen.kind} with name={name} already exists in this namespace.", name=name)
    return await ITEMS.update(tx, seen, name=name, body=body)


async def clear(tx: Transaction, namespace_id: str, kind: MetadefKind) -> None:
    """Remove every item of a kind."""
    await tx.execute("DELETE FROM metadef_items WHERE namespace_id = ? AND kind = ?", namespace_id, str(kind))


async def remove_namespace(tx: Transaction, namespace_id: str) -> None:
    """Remove a namespace with all that stands in it."""
    await tx.execute("DELETE FROM metadef_items WHERE namespace_id = ?", namespace_id)
    await NAMESPACES.delete(tx, namespace_id)


async def resource_types(db: Reader) -> dict[str, float]:
    """Name -> when it was first used, of each resource type that a namespace is associated with."""
    rows = await db.all("SELECT name, MIN(created_at) FROM metadef_items WHERE kind = 'resource_type' GROUP BY name ORDER BY name")
    return {row[0]: row[1] for row in rows}
