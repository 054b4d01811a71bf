"""Floating IPs in the store."""

from pileus.model.floating_ips import FloatingIp
from pileus.store.database import Reader, Transaction
from pileus.store.ports import PORTS, remove_port
from pileus.store.tables import ResourceTable

FLOATING_IPS = ResourceTable("floating_ips", FloatingIp)


async def floating_ips_of_port(db: Reader, port_id: str) -> list[FloatingIp]:
    """The floating IPs that point to a port."""
    return await FLOATING_IPS.find(db, "port_id = ? ORDER BY floating_ip_address", port_id)


async def remove(tx: Transaction, floating: FloatingIp) -> None:
    """Give the address back."""
    port = await PORTS.get(tx, floating.external_port_id)
    await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", floating.id)
    await FLOATING_IPS.delete(tx, floating.id)
    if port is not None:
        await remove_port(tx, port)


async def remove_unused(tx: Transaction, network_id: str) -> None:
    """Remove the floating IPs of an external network that point to no port."""
    for one in await FLOATING_IPS.find(tx, "floating_network_id = ? AND port_id IS NULL", network_id):
        await remove(tx, one)
