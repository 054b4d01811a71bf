"""Resource providers in the store. Every change of a row goes through here, so that its epoch moves and what is in memory hears of it."""

from typing import Any

import msgspec

from pileus import clock
from pileus.core.placement_topology import pages_of
from pileus.core.traits import capability_traits
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.hosts import HostReport
from pileus.model.placement import Inventory, Provider
from pileus.store.database import Reader, Transaction
from pileus.store.placement_names import add_resource_class, add_trait
from pileus.store.tables import ResourceTable

PROVIDERS = ResourceTable("resource_providers", Provider, shared=("inventories", "traits", "aggregates"))
CONCURRENT = "placement.concurrent_update"
OWNED = ("COMPUTE_", "HW_ARCH_", "HW_CPU_", "CUSTOM_ARCH_", "CUSTOM_HYPERVISOR_", "CUSTOM_VM_MODE_", "CUSTOM_LEVEL_")
"""Traits with these prefixes are the host's to report; all others are the operator's."""
PAGES = "CUSTOM_PAGES_"
"""Resource classes of huge pages are the host's, too."""


async def next_epoch(tx: Transaction) -> int:
    """A number that is larger than that of every change before; it also keeps other writers of Placement waiting until this one commits."""
    return int(await tx.value("UPDATE placement_epoch SET value = value + 1 RETURNING value"))


async def get(db: Reader, provider_id: str) -> Provider:
    """The provider; NotFound when there is none."""
    provider = await PROVIDERS.get(db, provider_id)
    if provider is None:
        raise NotFound(f"No resource provider with uuid {provider_id} found", code="placement.resource_provider.not_found")
    return provider


async def create(tx: Transaction, provider_id: str, name: str, parent_id: str | None = None) -> Provider:
    """Add a provider without inventories. Conflict when its id or name is taken, Invalid when its parent is not there."""
    root = provider_id
    if parent_id is not None:
        if parent_id == provider_id:
            raise Invalid(f'Unable to create resource provider "{name}", {provider_id}: parent provider UUID cannot be same as UUID.')
        parent = await PROVIDERS.get(tx, parent_id)
        if parent is None:
            raise Invalid(f'Unable to create resource provider "{name}", {provider_id}: parent provider UUID does not exist.')
        root = parent.root_id
    taken = await tx.all("SELECT id, name FROM resource_providers WHERE id = ? OR name = ?", provider_id, name)
    if taken:
        same = [f"uuid: {provider_id}"] if any(row[0] == provider_id for row in taken) else []
        same += [f"name: {name}"] if any(row[1] == name for row in taken) else []
        raise Conflict(f"Conflicting resource provider {', '.join(same)} already exists.", code="placement.duplicate_name")
    now = clock.now()
    epoch = await next_epoch(tx)
    fresh = Provider(id=provider_id, name=name, parent_id=parent_id, root_id=root, created_at=now, updated_at=now, changed=epoch)
    return await PROVIDERS.insert(tx, fresh)


async def save(tx: Transaction, seen: Provider, epoch: int | None = None, **changes: Any) -> Provider:
    """Change what the generation guards. Conflict when the row has changed since it was seen. `epoch`: the transaction's."""
    try:
        return await PROVIDERS.update(tx, seen, changed=epoch or await next_epoch(tx), **changes)
    except Conflict as error:
        raise Conflict(
            f"resource provider generation conflict: {seen.id} was changed by another request; read it again and repeat.",
            stale=True,
            code=CONCURRENT,
        ) from error


async def amend(tx: Transaction, seen: Provider, **changes: Any) -> Provider:
    """Change what the generation does not guard: the name, the place in the tree, aggregates before 1.19."""
    changes = {"updated_at": clock.now(), **changes, "changed": await next_epoch(tx)}
    await PROVIDERS.set(tx, seen.id, **changes)
    return msgspec.structs.replace(seen, **changes)


async def rename(tx: Transaction, seen: Provider, name: str) -> Provider:
    """Give a provider another name. Conflict when it is taken."""
    if await tx.value("SELECT id FROM resource_providers WHERE name = ? AND id <> ?", name, seen.id):
        raise Conflict(f"Conflicting resource provider name: {name} already exists.", code="placement.duplicate_name")
    return await amend(tx, seen, name=name)


async def move(tx: Transaction, seen: Provider, parent_id: str | None) -> Provider:
    """Put a provider with all below it under another parent, or under none."""
    problem = f"Unable to save resource provider {seen.id}: "
    root = seen.id
    if parent_id is not None:
        parent = await PROVIDERS.get(tx, parent_id)
        if parent is None:
            raise Invalid(f"{problem}parent provider UUID does not exist.")
        root = parent.root_id
    tree = await PROVIDERS.find(tx, "root_id = ?", seen.root_id)
    below = _subtree(tree, seen.id)
    if parent_id in below:
        raise Invalid(f"{problem}creating loop in the provider tree is not allowed.")
    moved = await amend(tx, seen, parent_id=parent_id, root_id=root)
    for one in tree:
        if one.id in below and one.id != seen.id:
            await amend(tx, one, root_id=root)
    return moved


def _subtree(tree: list[Provider], top: str) -> set[str]:
    below = {top}
    grown = True
    while grown:
        more = {one.id for one in tree if one.parent_id in below} - below
        below |= more
        grown = bool(more)
    return below


async def remove(tx: Transaction, provider_id: str) -> None:
    """Remove a provider that has neither children nor allocations."""
    provider = await PROVIDERS.get(tx, provider_id)
    if provider is None:
        raise NotFound(f"No resource provider with uuid {provider_id} found for delete", code="placement.resource_provider.not_found")
    if await tx.value("SELECT 1 FROM resource_providers WHERE parent_id = ?", provider_id):
        raise Conflict(
            f"Unable to delete parent resource provider {provider_id}: It has child resource providers.",
            code="placement.resource_provider.cannot_delete_parent",
        )
    if await tx.value("SELECT 1 FROM allocations WHERE provider_id = ?", provider_id):
        raise Conflict(
            f"Unable to delete resource provider {provider_id}: Resource provider has allocations.",
            code="placement.resource_provider.inuse",
        )
    await next_epoch(tx)
    await tx.execute("UPDATE placement_epoch SET removals = removals + 1")
    await PROVIDERS.delete(tx, provider_id)


async def set_inventories(tx: Transaction, seen: Provider, inventories: dict[str, Inventory]) -> Provider:
    """Give a provider these inventories and no others. Conflict when one that would go is in use."""
    in_use = [name for name in seen.inventories if name not in inventories and seen.used.get(name)]
    if in_use:
        text = f"update conflict: Inventory for '{', '.join(in_use)}' on resource provider '{seen.id}' in use."
        raise Conflict(text, code="placement.inventory.inuse")
    return await save(tx, seen, inventories=inventories)


async def set_member(tx: Transaction, host: str, aggregate_id: str, member: bool) -> None:
    """Put a host's provider into an aggregate, or take it out: Placement knows the host aggregates of Nova under their own ids."""
    provider = await PROVIDERS.first(tx, "id = (SELECT id FROM hosts WHERE name = ?)", host)
    if provider is not None and (aggregate_id in provider.aggregates) != member:
        others = [one for one in provider.aggregates if one != aggregate_id]
        await save(tx, provider, aggregates=[*others, aggregate_id] if member else others)


async def register_host(
    tx: Transaction, report: HostReport, *, provider_id: str, ratios: dict[str, float], reserved: dict[str, int] | None = None
) -> Provider:
    """Bring a host's provider in line with its report; nothing is written when nothing changed.

    `ratios` and `reserved` (by resource class) are for a new provider: later they are the operator's, who changes them through the API.
    """
    provider = await PROVIDERS.get(tx, provider_id)
    if provider is None:
        provider = await create(tx, provider_id, report.host)
    inventories = _inventories(provider, report, ratios, reserved or {})
    reported = capability_traits(report.capabilities)
    traits = sorted(reported | {name for name in provider.traits if not name.startswith(OWNED)})
    if inventories == provider.inventories and traits == provider.traits:
        return provider
    for name in traits:
        await add_trait(tx, name)
    for name in inventories.keys() - provider.inventories.keys():
        await add_resource_class(tx, name)
    return await save(tx, provider, inventories=inventories, traits=traits)


async def register_hosts(
    tx: Transaction, reports: list[tuple[str, HostReport]], *, ratios: dict[str, float], reserved: dict[str, int] | None = None
) -> None:
    """As `register_host` for each (provider id, report); providers of new hosts are written together."""
    marks = ", ".join("?" * len(reports))
    wanted = [provider_id for provider_id, _ in reports], [report.host for _, report in reports]
    sql = f"SELECT id, name FROM resource_providers WHERE id IN ({marks}) OR name IN ({marks})"  # noqa: S608
    rows = await tx.all(sql, *wanted[0], *wanted[1])
    known, names = {row[0] for row in rows}, {row[1] for row in rows}
    fresh: list[Provider] = []
    for provider_id, report in reports:
        if provider_id in known or report.host in names:
            await register_host(tx, report, provider_id=provider_id, ratios=ratios, reserved=reserved)
            continue
        now = clock.now()
        empty = Provider(id=provider_id, name=report.host, root_id=provider_id, created_at=now, updated_at=now)
        inventories = _inventories(empty, report, ratios, reserved or {})
        fresh.append(msgspec.structs.replace(empty, inventories=inventories, traits=sorted(capability_traits(report.capabilities))))
    if not fresh:
        return
    for name in sorted({name for one in fresh for name in one.traits}):
        await add_trait(tx, name)
    for name in sorted({name for one in fresh for name in one.inventories}):
        await add_resource_class(tx, name)
    epoch = await next_epoch(tx)
    await PROVIDERS.insert_many(tx, [msgspec.structs.replace(one, changed=epoch) for one in fresh])


def _inventories(provider: Provider, report: HostReport, ratios: dict[str, float], reserved: dict[str, int]) -> dict[str, Inventory]:
    """What the provider has, with what the host reports of its own."""
    sizes = {"VCPU": report.vcpus, "MEMORY_MB": report.memory_mib, "DISK_GB": report.disk_gib, **pages_of(report.numa)}
    gone = [name for name in provider.inventories if name.startswith(PAGES) and name not in sizes and not provider.used.get(name)]
    found = {name: inventory for name, inventory in provider.inventories.items() if name not in gone}
    for name, total in sizes.items():
        if total > 0:
            fresh = Inventory(total=total, allocation_ratio=ratios.get(name, 1.0), reserved=min(reserved.get(name, 0), total))
            known = found.get(name, fresh)
            found[name] = msgspec.structs.replace(known, total=total, max_unit=total, reserved=min(known.reserved, total))
    return found
