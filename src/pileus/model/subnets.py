"""A subnet: a range of addresses of a network, with its gateway, DHCP and the pools that addresses are taken from."""

from pileus.model.base import Model, Resource


class Pool(Model, frozen=True, kw_only=True):
    """A range of addresses, both ends included."""

    start: str
    end: str


class HostRoute(Model, frozen=True, kw_only=True):
    """A static route: for a guest (a subnet's host route) or for a router (an extra route)."""

    destination: str
    nexthop: str


class Subnet(Resource, frozen=True, kw_only=True):
    """A subnet. `gateway_ip` None: none. The IPv6 modes are slaac, dhcpv6-stateful, dhcpv6-stateless or None."""

    project_id: str
    network_id: str
    name: str = ""
    description: str = ""
    cidr: str
    ip_version: int
    gateway_ip: str | None = None
    enable_dhcp: bool = True
    allocation_pools: list[Pool] = []
    dns_nameservers: list[str] = []
    host_routes: list[HostRoute] = []
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None
    service_types: list[str] = []
    dns_publish_fixed_ip: bool = False
    tags: list[str] = []
    subnetpool_id: str | None = None

    @property
    def automatic(self) -> bool:
        """Whether guests make their own address of the prefix and their MAC (EUI-64)."""
        return self.ip_version == 6 and self.ipv6_address_mode in ("slaac", "dhcpv6-stateless")
