"""The names of traits and resource classes: the standard ones, and those that operators made."""

from collections.abc import Iterable

from pileus import clock
from pileus.core.traits import RESOURCE_CLASSES, TRAITS
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.store.database import Reader, Transaction

Times = dict[str, float | None]
"""Name -> time of the last change; None for a standard name."""


async def all_traits(db: Reader) -> Times:
    """Every trait."""
    custom = {row[0]: float(row[1]) for row in await db.all("SELECT name, updated_at FROM custom_traits ORDER BY name")}
    return {**dict.fromkeys(sorted(TRAITS)), **custom}


async def all_resource_classes(db: Reader) -> Times:
    """Every resource class."""
    custom = {row[0]: float(row[1]) for row in await db.all("SELECT name, updated_at FROM custom_resource_classes ORDER BY name")}
    return {**dict.fromkeys(RESOURCE_CLASSES), **custom}


async def unknown_traits(db: Reader, names: Iterable[str]) -> list[str]:
    """Those names that are no trait's."""
    asked = [name for name in sorted(set(names)) if name not in TRAITS]
    return [name for name in asked if not await db.value("SELECT 1 FROM custom_traits WHERE name = ?", name)]


async def unknown_resource_classes(db: Reader, names: Iterable[str]) -> list[str]:
    """Those names that are no resource class's."""
    asked = [name for name in dict.fromkeys(names) if name not in RESOURCE_CLASSES]
    return [name for name in asked if not await db.value("SELECT 1 FROM custom_resource_classes WHERE name = ?", name)]


async def trait_time(db: Reader, name: str) -> float | None:
    """When a trait was last changed (None for a standard one); NotFound when there is none."""
    if name in TRAITS:
        return None
    found = await db.value("SELECT updated_at FROM custom_traits WHERE name = ?", name)
    if found is None:
        raise NotFound(f"No such trait(s): {name}.")
    return float(found)


async def resource_class_time(db: Reader, name: str) -> float | None:
    """When a resource class was last changed (None for a standard one); NotFound when there is none."""
    if name in RESOURCE_CLASSES:
        return None
    found = await db.value("SELECT updated_at FROM custom_resource_classes WHERE name = ?", name)
    if found is None:
        raise NotFound(f"No such resource class {name}.")
    return float(found)


async def add_trait(tx: Transaction, name: str) -> bool:
    """Make a trait; False when it was there."""
    if not await unknown_traits(tx, [name]):
        return False
    now = clock.now()
    await tx.execute("INSERT INTO custom_traits (name, created_at, updated_at) VALUES (?, ?, ?)", name, now, now)
    return True


async def add_resource_class(tx: Transaction, name: str) -> bool:
    """Make a resource class; False when it was there."""
    if not await unknown_resource_classes(tx, [name]):
        return False
    now = clock.now()
    await tx.execute("INSERT INTO custom_resource_classes (name, created_at, updated_at) VALUES (?, ?, ?)", name, now, now)
    return True


async def remove_trait(tx: Transaction, name: str) -> None:
    """Remove a trait that no provider has."""
    if await trait_time(tx, name) is None:
        raise Invalid(f"Cannot delete standard trait {name}.")
    rows = await tx.all("SELECT traits FROM resource_providers WHERE traits LIKE ?", f'%"{name}"%')
    if any(f'"{name}"' in row[0] for row in rows):  # LIKE takes the underscores of a name for any character
        raise Conflict(f"The trait {name} is in use by a resource provider.")
    await tx.execute("DELETE FROM custom_traits WHERE name = ?", name)


async def remove_resource_class(tx: Transaction, name: str) -> None:
    """Remove a resource class of which no provider has an inventory."""
    if await resource_class_time(tx, name) is None:
        raise Invalid(f"Error in delete resource class: Cannot delete standard resource class {name}.")
    if await class_in_use(tx, name):
        raise Conflict(f"Error in delete resource class: Cannot delete resource class {name}. Class is in use in inventory.")
    await tx.execute("DELETE FROM custom_resource_classes WHERE name = ?", name)


async def rename_resource_class(tx: Transaction, name: str, new: str) -> None:
    """Give a custom resource class another name, unless it is in use."""
    if await resource_class_time(tx, name) is None:
        raise Invalid(f"Cannot update standard resource class {name}")
    if name != new and not await unknown_resource_classes(tx, [new]):
        raise Conflict(f"Resource class already exists: {new}")
    if name != new and await class_in_use(tx, name):
        raise Conflict(f"Cannot rename resource class {name}. Class is in use in inventory.")
    await tx.execute("UPDATE custom_resource_classes SET name = ?, updated_at = ? WHERE name = ?", new, clock.now(), name)


async def class_in_use(tx: Reader, name: str) -> bool:
    """Whether a provider has an inventory of the class."""
    rows = await tx.all("SELECT inventories FROM resource_providers WHERE inventories LIKE ?", f'%"{name}":%')
    return any(f'"{name}":' in row[0] for row in rows)  # LIKE takes the underscores of a name for any character
