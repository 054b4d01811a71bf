"""Allocations: what consumers take of providers. One function changes them, and the providers' `used` with them, in one transaction."""

import json
from collections.abc import Iterable

from pileus import clock
from pileus.core.allocations import refusal, total, used_after
from pileus.model.errors import Conflict, Invalid
from pileus.model.placement import Allocation, Claim, Consumer, Provider, Wanted
from pileus.store import providers
from pileus.store.database import Reader, Row, Transaction
from pileus.store.providers import CONCURRENT, PROVIDERS
from pileus.store.tables import ResourceTable, Table

CONSUMERS = ResourceTable("consumers", Consumer)
ALLOCATIONS = Table("allocations", Allocation, key="consumer_id")
INSERT = "INSERT INTO allocations (consumer_id, provider_id, resources, created_at) VALUES (?, ?, ?, ?)"


async def claim(tx: Transaction, wanted: Claim) -> None:
    """Take resources of a provider that was seen at a generation; the consumer keeps nothing else.

    Claiming again what one has does nothing.
    Conflict(stale=True) when the provider has changed since: take a fresh look and choose again.
    """
    have = await of_consumer(tx, wanted.consumer_id)
    if {one.provider_id: one.resources for one in have} == {wanted.provider_id: wanted.resources}:
        return
    provider = await providers.get(tx, wanted.provider_id)
    if provider.generation != wanted.generation:
        raise Conflict(
            f"Resource provider {provider.name} has changed: seen at generation {wanted.generation}, now {provider.generation}.", stale=True
        )
    change = Wanted(
        consumer_id=wanted.consumer_id,
        allocations={wanted.provider_id: wanted.resources},
        project_id=wanted.project_id,
        user_id=wanted.user_id,
        consumer_type=wanted.consumer_type,
        unguarded=True,
    )
    await replace(tx, [change])


async def claim_together(tx: Transaction, wanted: list[Claim]) -> set[str]:
    """Write claims; the ids of the consumers whose claims can't be written, as their provider has changed.

    Claims of one provider were all seen at the same generation, and counted on each other in this order.
    """
    epoch = await providers.next_epoch(tx)  # from here on no other transaction changes what is used
    known = {row[0] for row in await _with_ids(tx, "SELECT id FROM consumers WHERE id IN", [one.consumer_id for one in wanted])}
    refused: set[str] = set()
    for one in wanted:
        if one.consumer_id in known and not await _claim_again(tx, one):
            refused.add(one.consumer_id)
    now = clock.now()
    rows: list[tuple[str, str, str, float]] = []
    consumers: list[Consumer] = []
    by_provider: dict[str, list[Claim]] = {}
    for one in wanted:
        if one.consumer_id not in known:
            by_provider.setdefault(one.provider_id, []).append(one)
    for provider_id, claims in sorted(by_provider.items()):
        provider = await PROVIDERS.get(tx, provider_id)
        used = provider.used if provider is not None else {}
        taken: list[Claim] = []
        for one in claims:
            if provider is None or provider.generation != one.generation or not _fits(provider, used, one):
                refused.add(one.consumer_id)
                continue
            used = total(used, one.resources)
            taken.append(one)
        if provider is not None and taken:
            await providers.save(tx, provider, epoch, used=used)
        for one in taken:
            rows.append((one.consumer_id, provider_id, json.dumps(one.resources), now))
            consumers.append(_consumer(one, now))
    await CONSUMERS.insert_many(tx, consumers)
    await tx.many(INSERT, rows)
    return refused


async def _claim_again(tx: Transaction, wanted: Claim) -> bool:
    """A claim of a consumer that has something already, which it gives back."""
    try:
        await claim(tx, wanted)
    except Conflict as error:
        if not error.data.get("stale"):
            raise
        return False
    return True


def _fits(provider: Provider, used: dict[str, int], wanted: Claim) -> bool:
    return not refusal(provider, [wanted.resources], total(used, wanted.resources))


def _consumer(wanted: Claim | Wanted, now: float) -> Consumer:
    return Consumer(
        id=wanted.consumer_id,
        created_at=now,
        updated_at=now,
        generation=1,
        project_id=wanted.project_id,
        user_id=wanted.user_id,
        consumer_type=wanted.consumer_type,
    )


async def _with_ids(db: Reader, select: str, ids: list[str]) -> list[Row]:
    return await db.all(f"{select} ({', '.join('?' * len(ids))})", *ids) if ids else []


async def release(tx: Transaction, consumer_id: str) -> bool:
    """Take away all that a consumer has; False when that was nothing."""
    if not await of_consumer(tx, consumer_id):
        return False
    await replace(tx, [Wanted(consumer_id=consumer_id, allocations={}, project_id="", user_id="", unguarded=True, released=True)])
    return True


async def usage_of(db: Reader, provider_ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """{provider: {resource class: used}}, counted from the allocations themselves."""
    usage: dict[str, dict[str, int]] = {one: {} for one in provider_ids}
    for provider_id in usage:
        usage[provider_id] = total(*(one.resources for one in await of_provider(db, provider_id)))
    return usage


async def of_consumer(db: Reader, consumer_id: str) -> list[Allocation]:
    """What a consumer has."""
    return await ALLOCATIONS.find(db, "consumer_id = ? ORDER BY provider_id", consumer_id)


async def of_provider(db: Reader, provider_id: str) -> list[Allocation]:
    """What is taken of a provider."""
    return await ALLOCATIONS.find(db, "provider_id = ? ORDER BY consumer_id", provider_id)


async def replace(tx: Transaction, wanted: list[Wanted]) -> None:
    """Give consumers exactly what they are to have, all of them or none.

    Invalid when a provider does not exist, Conflict when a consumer's generation is another, or when something does not fit.
    """
    await providers.next_epoch(tx)  # from here on no other transaction changes what is used
    now = clock.now()
    before: dict[str, list[Allocation]] = {}
    for one in wanted:
        before[one.consumer_id] = await of_consumer(tx, one.consumer_id)
        await _write_consumer(tx, one, now)
    touched = {one.provider_id for have in before.values() for one in have} | {key for one in wanted for key in one.allocations}
    for provider_id in sorted(touched):
        await _charge(tx, provider_id, before, wanted)
    for one in wanted:
        await tx.execute("DELETE FROM allocations WHERE consumer_id = ?", one.consumer_id)
        rows = [(one.consumer_id, key, json.dumps(resources), now) for key, resources in one.allocations.items()]
        if rows:
            await tx.many(INSERT, rows)
        else:
            await CONSUMERS.delete(tx, one.consumer_id)


async def _write_consumer(tx: Transaction, wanted: Wanted, now: float) -> None:
    known = await CONSUMERS.get(tx, wanted.consumer_id)
    if not wanted.unguarded and (known.generation if known else None) != wanted.generation:
        expected = "null" if known is None else known.generation
        got = "null" if wanted.generation is None else wanted.generation
        raise Conflict(f"consumer generation conflict - expected {expected} but got {got}", code=CONCURRENT)
    if known is None:
        if wanted.allocations:
            await CONSUMERS.insert(tx, _consumer(wanted, now))
    elif wanted.allocations:
        kind = wanted.consumer_type or known.consumer_type
        await CONSUMERS.update(tx, known, project_id=wanted.project_id, user_id=wanted.user_id, consumer_type=kind)


async def _charge(tx: Transaction, provider_id: str, before: dict[str, list[Allocation]], wanted: list[Wanted]) -> Provider:
    provider = await PROVIDERS.get(tx, provider_id)
    if provider is None:
        raise Invalid(f"Allocation for resource provider '{provider_id}' that does not exist.")
    old = total(*(one.resources for have in before.values() for one in have if one.provider_id == provider_id))
    added = [one.allocations[provider_id] for one in wanted if provider_id in one.allocations]
    after = used_after(provider, old, total(*added))
    if reason := refusal(provider, added, after):
        raise Conflict(f"Unable to allocate inventory: {reason}")
    gains = added or any(not one.allocations and not one.released for one in wanted)
    return await (providers.save if gains else providers.amend)(tx, provider, used=after)


async def of_project(db: Reader, project_id: str, user_id: str | None = None) -> list[tuple[str | None, dict[str, int]]]:
    """(type, all that it has) of each consumer of a project."""
    sql = "SELECT c.id, c.consumer_type, a.resources FROM consumers c JOIN allocations a ON a.consumer_id = c.id WHERE c.project_id = ?"
    rows = await (db.all(sql, project_id) if user_id is None else db.all(f"{sql} AND c.user_id = ?", project_id, user_id))
    found: dict[str, tuple[str | None, dict[str, int]]] = {}
    for consumer_id, kind, resources in rows:
        before = found[consumer_id][1] if consumer_id in found else {}
        found[consumer_id] = kind, total(before, json.loads(resources))
    return list(found.values())


async def generations_of(db: Reader, provider_id: str) -> dict[str, int]:
    """The generation of each consumer that has something of a provider."""
    sql = "SELECT c.id, c.generation FROM consumers c JOIN allocations a ON a.consumer_id = c.id WHERE a.provider_id = ?"
    return {row[0]: int(row[1]) for row in await db.all(sql, provider_id)}
