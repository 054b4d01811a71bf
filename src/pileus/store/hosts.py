"""Hosts in the store: also Nova's compute services and hypervisors."""

from pileus.model.hosts import Host
from pileus.store.database import Reader
from pileus.store.tables import ResourceTable

HOSTS = ResourceTable("hosts", Host)


def is_up(host: Host, now: float, silence: float) -> bool:
    """Whether the host has reported within `silence` seconds and was not forced down."""
    return not host.forced_down and now - host.seen_at < silence


async def every_host(db: Reader) -> list[Host]:
    """All hosts, by name."""
    return await HOSTS.find(db, "1 = 1 ORDER BY name")
