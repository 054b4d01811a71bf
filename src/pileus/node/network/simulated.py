"""A network driver that remembers what it was told and does nothing, for simulated hosts."""

import hashlib
from collections.abc import Callable

import msgspec

from pileus.core.network_plan import ports_of
from pileus.model.errors import NodeFailed
from pileus.model.hosts import Capability
from pileus.model.routing import RoutingDomain
from pileus.node.network.driver import MetadataOf


class SimulatedNetwork:
    """Routing domains in memory."""

    name = "simulated"

    def __init__(self) -> None:
        self.domains: dict[str, RoutingDomain] = {}
        self._digests: dict[str, str] = {}

    async def probe(self) -> list[Capability]:
        """Everything works where nothing is done."""
        return [Capability(name="simulated-network", works=True)]

    async def start(self, metadata_of: MetadataOf) -> dict[str, str]:
        """There are no guests to serve metadata to."""
        return dict(self._digests)

    async def observe(self) -> dict[str, str]:
        """Routing domain id -> digest."""
        return dict(self._digests)

    async def apply(self, domain: RoutingDomain, taps: Callable[[], None] | None = None) -> str:
        """Remember the domain."""
        digest = hashlib.sha256(msgspec.json.encode(domain.undated)).hexdigest()
        self.domains[domain.id] = domain
        self._digests[domain.id] = digest
        return digest

    def read_at(self, domain_id: str) -> int:
        """The number of the reading that was applied last."""
        domain = self.domains.get(domain_id)
        return domain.read_at if domain else 0

    async def remove(self, domain_id: str) -> None:
        """Forget the domain."""
        self.domains.pop(domain_id, None)
        self._digests.pop(domain_id, None)

    def open_tap(self, domain_id: str, port_id: str) -> int:
        """A simulated guest has no tap."""
        raise NodeFailed("A simulated network has no taps.")

    def ports_of(self, guest_id: str) -> dict[str, tuple[str, list[str]]]:
        """The guest's ports on this host."""
        return ports_of(self.domains.values(), guest_id)

    async def connections(self, domain_id: str, addresses: list[str]) -> list[str]:
        """A simulated guest has no connections."""
        return []

    async def restore(self, domain_id: str, addresses: list[str], connections: list[str]) -> int:
        """There is nothing to track."""
        return 0

    async def close(self) -> None:
        """Nothing is open."""
