"""Observed state of what the network itself owns: written by the routing reconciler alone."""

from pileus.store.database import Transaction


async def record_realized(tx: Transaction, port_ids: list[str], floating_ip_ids: list[str], status: str) -> None:
    """Routers' and DHCP's ports, and floating IPs, carry traffic (ACTIVE) or don't (DOWN)."""
    await tx.many("UPDATE ports SET status = ? WHERE id = ?", [(status, id) for id in port_ids])
    await tx.many("UPDATE floating_ips SET status = ? WHERE id = ? AND port_id IS NOT NULL", [(status, id) for id in floating_ip_ids])
