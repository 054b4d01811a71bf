"""A routing domain: a router with the networks on it, or a network without a router, as one host is told to realize it."""

import msgspec

from pileus.model.base import Model
from pileus.model.ports import PortRates


class DomainSubnet(Model, frozen=True, kw_only=True):
    """A subnet. `gateway_here`: a router of this domain holds `gateway_ip`. Addresses are text, CIDR notation where a prefix is meant."""

    id: str
    cidr: str
    ip_version: int
    gateway_ip: str | None = None
    gateway_here: bool = False
    dhcp: bool = True
    dhcp_ip: str | None = None  # the address on which DHCP, DNS and metadata are served; None: DHCP off
    dns_nameservers: list[str] = []
    host_routes: list[dict[str, str]] = []  # {"destination": cidr, "nexthop": ip}
    ipv6_ra_mode: str | None = None  # slaac, dhcpv6-stateless, dhcpv6-stateful
    ipv6_address_mode: str | None = None


class DomainNetwork(Model, frozen=True, kw_only=True):
    """A network: one bridge. `vni` is its number in VXLAN. `uplink` names a physical network when the bridge is joined to the host's
    outside (external, flat)."""

    id: str
    mtu: int = 1500
    vni: int | None = None
    uplink: str | None = None
    dns_domain: str = ""
    subnets: list[DomainSubnet] = []


class DomainPort(Model, frozen=True, kw_only=True):
    """A port. `local`: a guest on this host is plugged to it (tap device). A port with `up` False carries no traffic.

    `remote`: address of the host to which frames for the port go over VXLAN; with `local` as well, its guest is about to come from there.
    `allowed_pairs` are {"ip_address": ip or cidr, "mac_address": mac or ""}. `port_security` False: no filter and no anti-spoofing.
    """

    id: str
    network_id: str
    mac: str
    fixed_ips: list[tuple[str, str]] = []  # (subnet id, address)
    local: bool = True
    remote: str = ""
    up: bool = True
    port_security: bool = True
    security_groups: list[str] = []
    allowed_pairs: list[dict[str, str]] = []
    hostname: str = ""
    dhcp_options: list[dict[str, str]] = []  # {"opt_name", "opt_value", "ip_version"}
    guest_id: str = ""
    project_id: str = ""
    rates: PortRates | None = None


class SecurityRule(Model, frozen=True, kw_only=True):
    """A security group's rule, in Neutron's words. `remote_addresses` is the remote group's members, already looked up."""

    direction: str  # ingress, egress
    ethertype: str  # IPv4, IPv6
    protocol: str | None = None  # name or number
    port_min: int | None = None  # for ICMP: type
    port_max: int | None = None  # for ICMP: code
    remote_prefix: str | None = None
    remote_group_id: str | None = None
    remote_addresses: list[str] = []


class DomainSecurityGroup(Model, frozen=True, kw_only=True):
    """A security group that ports of this domain are in."""

    id: str
    rules: list[SecurityRule] = []
    stateful: bool = True


class FloatingAddress(Model, frozen=True, kw_only=True):
    """A floating IP and the fixed address that it stands for, one to one."""

    floating_ip: str
    fixed_ip: str


class RouterInterface(Model, frozen=True, kw_only=True):
    """A router's leg on a network of the domain: one address of one subnet."""

    network_id: str
    subnet_id: str
    ip: str
    mac: str


class RouterGateway(Model, frozen=True, kw_only=True):
    """A router's leg on an external network. `addresses` are CIDRs; `gateways` the next hops there."""

    network_id: str
    uplink: str
    mac: str
    addresses: list[str] = []
    gateways: list[str] = []
    snat: bool = True


class DomainRouter(Model, frozen=True, kw_only=True):
    """A router: legs, gateway, floating addresses, static routes ({"destination", "nexthop"}).

    `remote`: address of the host that carries it, when that is another one: here, its legs are reached over VXLAN. `outside`: it has a
    gateway there.
    """

    id: str
    up: bool = True
    remote: str = ""
    outside: bool = False
    interfaces: list[RouterInterface] = []
    gateway: RouterGateway | None = None
    floating: list[FloatingAddress] = []
    routes: list[dict[str, str]] = []


class Uplink(Model, frozen=True, kw_only=True):
    """A physical network on this host: a bridge in the host's own namespace, with these addresses and, when asked, NAT to the outside.

    `interface` names a NIC of the host to enslave (a provider network); None: host-only, as the default `public` network is.
    """

    name: str
    addresses: list[str] = []  # CIDRs that the host itself takes on it (the external subnet's gateway)
    masquerade: bool = True
    interface: str | None = None
    mtu: int = 1500


class RoutingDomain(Model, frozen=True, kw_only=True):
    """All that one host needs to know to realize a routing domain; whole, so that applying it twice does nothing the second time.

    `remotes` are the addresses of the other hosts that have the domain, `address` is this host's among them: they send each other frames
    over VXLAN. Both are empty while no other host has it.
    `read_at` numbers the reading of the records of which this was made (0: it is not said): a host that has a later one keeps that.
    """

    id: str
    address: str = ""
    remotes: list[str] = []
    networks: list[DomainNetwork] = []
    ports: list[DomainPort] = []
    routers: list[DomainRouter] = []
    security_groups: list[DomainSecurityGroup] = []
    uplinks: list[Uplink] = []
    read_at: int = 0

    @property
    def undated(self) -> "RoutingDomain":
        """The domain without the number of its reading: what tells two states of it apart."""
        return msgspec.structs.replace(self, read_at=0) if self.read_at else self
