"""The contract of a network driver."""

from collections.abc import Callable
from typing import Protocol

from pileus.model.hosts import Capability
from pileus.model.routing import RoutingDomain

MetadataOf = Callable[[str], dict[str, str] | None]
"""Guest id -> its metadata documents by path, or None when it is not known here."""


class NetworkDriver(Protocol):
    """Few verbs, each idempotent and taking whole desired structs. Errors that a user should read are `NodeFailed`."""

    name: str

    async def probe(self) -> list[Capability]:
        """What this host's kernel and tools can do, found by trying."""
        ...

    async def start(self, metadata_of: MetadataOf) -> dict[str, str]:
        """Adopt what is there (namespaces, dnsmasq), listen for metadata requests again; returns `observe()`."""
        ...

    async def observe(self) -> dict[str, str]:
        """Routing domain id -> digest of what was applied last in full ("" when incomplete)."""
        ...

    async def apply(self, domain: RoutingDomain, taps: Callable[[], None] | None = None) -> str:
        """Bring the domain to this state and return its digest; cheap when nothing changed. `taps` is called once the taps of its ports can
        be opened; as long as not all is in place, new ones are joined to nothing."""
        ...

    def read_at(self, domain_id: str) -> int:
        """The number of the reading (RoutingDomain.read_at) that was applied last, also by an earlier process; 0: there is none."""
        ...

    async def remove(self, domain_id: str) -> None:
        """Leave nothing of the domain. Fine when it is gone already."""
        ...

    def open_tap(self, domain_id: str, port_id: str) -> int:
        """An open descriptor of the port's tap in the domain's namespace (made if missing); the caller owns it."""
        ...

    def ports_of(self, guest_id: str) -> dict[str, tuple[str, list[str]]]:
        """The guest's ports on this host, as applied last: port id -> domain id and addresses."""
        ...

    async def connections(self, domain_id: str, addresses: list[str]) -> list[str]:
        """The tracked connections of a port's addresses, for `restore` on the host that its guest moves to: they go on even where rules
        allow them in the other direction only. To be asked while the guest is paused."""
        ...

    async def restore(self, domain_id: str, addresses: list[str], connections: list[str]) -> int:
        """Track connections of a port's addresses (no others') as another host has tracked them; how many."""
        ...

    async def close(self) -> None:
        """Stop listening; namespaces and traffic go on."""
        ...
