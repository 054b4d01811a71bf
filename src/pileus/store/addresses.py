"""Addresses in use: taken and given back inside the transaction of the port that they belong to."""

from ipaddress import ip_address, ip_network

from pileus.core.addresses import address_at, first_free, place_of, ranges_of
from pileus.model.errors import Conflict
from pileus.model.ports import FixedIp
from pileus.model.subnets import Subnet
from pileus.store.database import Transaction

CHUNK = 256


async def take(tx: Transaction, subnet: Subnet, port_id: str, address: str) -> FixedIp:
    """Take this address for the port; a Conflict when it is in use."""
    prefix = ip_network(subnet.cidr)
    wanted = ip_address(address)
    text = str(wanted)
    if await tx.value("SELECT 1 FROM addresses WHERE subnet_id = ? AND ip_address = ?", subnet.id, text) is not None:
        raise Conflict(f"IP address {text} already allocated in subnet {subnet.id}", type="IpAddressAlreadyAllocated")
    await _insert(tx, subnet, port_id, text, place_of(prefix, wanted))
    return FixedIp(subnet_id=subnet.id, ip_address=text)


async def take_free(tx: Transaction, subnet: Subnet, port_id: str) -> FixedIp | None:
    """Take the first free address of the subnet's pools; None when there is none."""
    prefix = ip_network(subnet.cidr)
    ranges = ranges_of(prefix, subnet.allocation_pools)
    place = await _first_free(tx, subnet.id, ranges)
    if place is None:
        return None
    text = address_at(prefix, place)
    await _insert(tx, subnet, port_id, text, place)
    await _move_cursor(tx, subnet.id, place + 1)
    return FixedIp(subnet_id=subnet.id, ip_address=text)


async def give_back(tx: Transaction, port_id: str, addresses: list[FixedIp]) -> None:
    """Free a port's addresses."""
    for one in addresses:
        place = await tx.value("SELECT place FROM addresses WHERE subnet_id = ? AND ip_address = ?", one.subnet_id, one.ip_address)
        await tx.execute(
            "DELETE FROM addresses WHERE subnet_id = ? AND ip_address = ? AND port_id = ?", one.subnet_id, one.ip_address, port_id
        )
        if place is not None:
            await tx.execute("UPDATE address_cursors SET place = ? WHERE subnet_id = ? AND place > ?", place, one.subnet_id, place)


async def forget_cursor(tx: Transaction, subnet_id: str) -> None:
    """Search from the beginning again: the pools have changed, or the subnet goes."""
    await tx.execute("DELETE FROM address_cursors WHERE subnet_id = ?", subnet_id)


async def _first_free(tx: Transaction, subnet_id: str, ranges: list[tuple[int, int]]) -> int | None:
    start = int(await tx.value("SELECT place FROM address_cursors WHERE subnet_id = ?", subnet_id) or 0)
    while True:
        rows = await tx.all(
            "SELECT place FROM addresses WHERE subnet_id = ? AND place >= ? ORDER BY place LIMIT ?", subnet_id, start, CHUNK
        )
        taken = [row[0] for row in rows]
        place = first_free(ranges, start, taken)
        if place is None or len(taken) < CHUNK or place < taken[-1]:
            return place
        start = taken[-1] + 1


async def _insert(tx: Transaction, subnet: Subnet, port_id: str, text: str, place: int | None) -> None:
    await tx.execute(
        "INSERT INTO addresses (subnet_id, ip_address, place, port_id, network_id) VALUES (?, ?, ?, ?, ?)",
        subnet.id, text, place, port_id, subnet.network_id,
    )  # fmt: skip


async def _move_cursor(tx: Transaction, subnet_id: str, place: int) -> None:
    if await tx.execute("UPDATE address_cursors SET place = ? WHERE subnet_id = ?", place, subnet_id) == 0:
        await tx.execute("INSERT INTO address_cursors (subnet_id, place) VALUES (?, ?)", subnet_id, place)
