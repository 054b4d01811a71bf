"""A floating IP: an address of an external network that stands for a fixed address, one to one."""

from pileus.model.base import Resource


class FloatingIp(Resource, frozen=True, kw_only=True):
    """A floating IP; `external_port_id` is the port that holds its address. `status` is observed: ACTIVE once a host forwards it."""

    project_id: str
    description: str = ""
    floating_network_id: str
    floating_ip_address: str
    external_port_id: str
    port_id: str | None = None
    fixed_ip_address: str | None = None
    router_id: str | None = None
    status: str = "DOWN"
    dns_name: str = ""
    dns_domain: str = ""
    tags: list[str] = []
