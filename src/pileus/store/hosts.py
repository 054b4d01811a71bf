"""Hosts in the store: also Nova's compute services and hypervisors."""

from pileus.model.base import Resource
from pileus.model.hosts import Host
from pileus.store.database import Reader
from pileus.store.tables import ResourceTable, Table


class HostHead(Resource, frozen=True, kw_only=True):
    """A host without what it reported: to be read where there are thousands."""

    name: str
    number: int
    service_id: str
    cluster: str
    availability_zone: str
    enabled: bool
    disabled_reason: str | None
    forced_down: bool
    seen_at: float


HOSTS = ResourceTable("hosts", Host)
HEADS = Table("hosts", HostHead)


def is_up(host: Host | HostHead, now: float, silence: float) -> bool:
    """Whether the host has reported within `silence` seconds and was not forced down."""
    return not host.forced_down and now - host.seen_at < silence


async def every_host(db: Reader) -> list[Host]:
    """All hosts, by name."""
    return await HOSTS.find(db, "1 = 1 ORDER BY name")


async def every_head(db: Reader) -> list[HostHead]:
    """All hosts, by name, each without its report."""
    return await HEADS.find(db, "1 = 1 ORDER BY name")
