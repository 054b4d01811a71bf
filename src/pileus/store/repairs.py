"""Carries out what `verify --repair` may do. Each repair looks again first, inside the transaction: what is well by now stays as it is."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from pileus.core.addresses import place_of
from pileus.core.allocations import total
from pileus.core.verify.references import REFERENCES
from pileus.core.verify.repairs import (
    ClearColumn,
    CountUsage,
    DeleteRow,
    ForgetRole,
    IndexImage,
    IndexTags,
    JoinAggregate,
    LeaveAggregate,
    RaiseEpoch,
    Rederive,
    ReleaseAddress,
    ReleaseAllocations,
    StoreRepair,
    TakeAddress,
    WriteMembership,
)
from pileus.model.ports import FixedIp
from pileus.store import aggregates, allocations, images, providers, servers
from pileus.store.addresses import give_back
from pileus.store.application_credentials import forget_role
from pileus.store.database import Transaction
from pileus.store.ports import PORTS
from pileus.store.security_groups import SECURITY_GROUPS, set_membership
from pileus.store.subnets import SUBNETS

GUARDS = {
    "consumers": "NOT EXISTS (SELECT 1 FROM allocations a WHERE a.consumer_id = consumers.id)",
    "allocations": "NOT EXISTS (SELECT 1 FROM resource_providers p WHERE p.id = allocations.provider_id)",
    "address_cursors": "1 = 1",
    "quotas": "1 = 1",
}
"""What must be true of a row of these tables that is deleted; of others, that a reference of theirs leads nowhere."""


async def carry_out(tx: Transaction, repairs: Sequence[StoreRepair]) -> None:
    """Do all of them, or none when one fails."""
    for one in repairs:
        await _carry_out(tx, one)


async def _carry_out(tx: Transaction, repair: StoreRepair) -> None:
    match repair:
        case DeleteRow():
            await _delete(tx, repair)
        case ClearColumn():
            await _clear(tx, repair)
        case ReleaseAllocations(consumer_id=consumer_id):
            await allocations.release(tx, consumer_id)
        case CountUsage(provider_id=provider_id):
            await _count(tx, provider_id)
        case RaiseEpoch():
            await tx.execute(
                "UPDATE placement_epoch SET value = (SELECT max(changed) FROM resource_providers) "
                "WHERE value < (SELECT max(changed) FROM resource_providers)"
            )
            await providers.next_epoch(tx)
        case JoinAggregate(host=host, aggregate_id=aggregate_id, member=member):
            await providers.set_member(tx, host, aggregate_id, member)
        case LeaveAggregate(aggregate_id=aggregate_id, host=host):
            await aggregates.leave(tx, host, aggregate_id)
        case ForgetRole(credential_id=credential_id, role_id=role_id):
            await forget_role(tx, role_id, credential_id)
        case Rederive(server_id=server_id):
            await servers.rederive(tx, server_id)
        case TakeAddress():
            await _take(tx, repair)
        case ReleaseAddress():
            await _release(tx, repair)
        case WriteMembership(port_id=port_id):
            await _write_membership(tx, port_id)
        case IndexTags(resource_id=resource_id, tags=tags):
            await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", resource_id)
            await tx.many("INSERT INTO network_tags (resource_id, tag) VALUES (?, ?)", [(resource_id, tag) for tag in tags])
        case IndexImage(image_id=image_id):
            image = await images.IMAGES.get(tx, image_id)
            if image is not None:
                await images.save(tx, image, tags=image.tags, properties=image.properties)


async def _delete(tx: Transaction, repair: DeleteRow) -> None:
    table = repair.table
    names = {column for column, _ in repair.key}
    gone = [
        f"({one.where or '1 = 1'} AND NOT EXISTS (SELECT 1 FROM {one.to} there WHERE there.{one.to_column} = {table}.{one.column}))"  # noqa: S608
        for one in REFERENCES
        if one.table == table and not one.owned and {*one.key} == names
    ]
    guard = GUARDS.get(table) or f"({' OR '.join(gone)})"
    where = " AND ".join(f"{column} = ?" for column, _ in repair.key)
    await tx.execute(f"DELETE FROM {table} WHERE {where} AND {guard}", *(value for _, value in repair.key))  # noqa: S608


async def _clear(tx: Transaction, repair: ClearColumn) -> None:
    sql = f"UPDATE {repair.table} SET {repair.column} = NULL WHERE id = ? AND {repair.column} = ?"  # noqa: S608 names are ours
    if await tx.execute(sql, repair.id, repair.seen) and repair.table == "servers":
        await servers.rederive(tx, repair.id)


async def _count(tx: Transaction, provider_id: str) -> None:
    await providers.next_epoch(tx)  # from here on no other transaction changes what is used
    provider = await providers.PROVIDERS.get(tx, provider_id)
    if provider is not None:
        used = total(*(one.resources for one in await allocations.of_provider(tx, provider_id)))
        await providers.save(tx, provider, used=used)


async def _take(tx: Transaction, repair: TakeAddress) -> None:
    port, subnet = await PORTS.get(tx, repair.port_id), await SUBNETS.get(tx, repair.subnet_id)
    if port is None or subnet is None or FixedIp(subnet_id=subnet.id, ip_address=repair.ip_address) not in port.fixed_ips:
        return
    place = place_of(ip_network(subnet.cidr), ip_address(repair.ip_address))
    await tx.execute(
        "INSERT INTO addresses (subnet_id, ip_address, place, port_id, network_id) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        subnet.id, repair.ip_address, place, port.id, subnet.network_id,
    )  # fmt: skip


async def _release(tx: Transaction, repair: ReleaseAddress) -> None:
    port = await PORTS.get(tx, repair.port_id)
    address = FixedIp(subnet_id=repair.subnet_id, ip_address=repair.ip_address)
    if port is None or address not in port.fixed_ips:
        await give_back(tx, repair.port_id, [address])


async def _write_membership(tx: Transaction, port_id: str) -> None:
    port = await PORTS.get(tx, port_id)
    if port is not None:
        known = [group for group in dict.fromkeys(port.security_groups) if await SECURITY_GROUPS.get(tx, group) is not None]
        await set_membership(tx, port_id, known)
