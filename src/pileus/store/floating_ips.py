"""Floating IPs in the store."""

from pileus.model.floating_ips import FloatingIp
from pileus.store.database import Reader
from pileus.store.tables import ResourceTable

FLOATING_IPS = ResourceTable("floating_ips", FloatingIp)


async def floating_ips_of_port(db: Reader, port_id: str) -> list[FloatingIp]:
    """The floating IPs that point to a port."""
    return await FLOATING_IPS.find(db, "port_id = ? ORDER BY floating_ip_address", port_id)
