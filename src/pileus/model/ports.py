"""A port: where a guest, a router or a service is plugged to a network, with its addresses."""

from typing import Any

from pileus.model.base import Model, Resource

COMPUTE = "compute:"
DHCP = "network:dhcp"
ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"
FLOATING_IP = "network:floatingip"


class FixedIp(Model, frozen=True, kw_only=True):
    """An address of a subnet."""

    subnet_id: str
    ip_address: str


class AddressPair(Model, frozen=True, kw_only=True):
    """An address or CIDR that a port may use beside its own; `mac_address` is the port's own unless told."""

    ip_address: str
    mac_address: str


class DhcpOption(Model, frozen=True, kw_only=True):
    """An extra DHCP option of one port."""

    opt_name: str
    opt_value: str
    ip_version: int = 4


class Rate(Model, frozen=True, kw_only=True, order=True):
    """A limit of bandwidth: bytes a second, and bytes that may come at once, which are a second's worth at least."""

    average: int
    burst: int


class PortRates(Model, frozen=True, kw_only=True):
    """What a port lets through; None: whatever the network can. `inbound` is what the guest receives."""

    inbound: Rate | None = None
    outbound: Rate | None = None


class Port(Resource, frozen=True, kw_only=True):
    """A port. `status` is observed: ACTIVE once it is wired on its host. `created_by_compute`: made for a server and goes with it."""

    project_id: str
    network_id: str
    name: str = ""
    description: str = ""
    admin_state_up: bool = True
    status: str = "DOWN"
    mac_address: str
    fixed_ips: list[FixedIp] = []
    device_id: str = ""
    device_owner: str = ""
    security_groups: list[str] = []
    allowed_address_pairs: list[AddressPair] = []
    extra_dhcp_opts: list[DhcpOption] = []
    port_security_enabled: bool = True
    host: str | None = None
    vnic_type: str = "normal"
    profile: dict[str, Any] = {}
    dns_name: str = ""
    created_by_compute: bool = False
    tags: list[str] = []
    rates: PortRates | None = None  # of the flavor of its server
    migrating_to: str | None = None  # a host that has the port as well, without traffic for it, until the server's move is over


class ServerPort(Model, frozen=True, kw_only=True):
    """A server's port with what a server's addresses and network cards need."""

    id: str
    server_id: str
    network_id: str
    network_name: str
    mac_address: str
    status: str
    mtu: int
    fixed_ips: list[FixedIp] = []
    floating_ips: list[tuple[str, str]] = []  # (fixed address, floating address)
