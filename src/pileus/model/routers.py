"""A router between subnets of a project, with at most one gateway to an external network."""

from pileus.model.base import Resource
from pileus.model.ports import FixedIp
from pileus.model.subnets import HostRoute


class Router(Resource, frozen=True, kw_only=True):
    """A router. Its legs are ports with its id as device; the gateway's addresses are kept here too, for lists."""

    project_id: str
    name: str = ""
    description: str = ""
    admin_state_up: bool = True
    routes: list[HostRoute] = []
    gateway_network_id: str | None = None
    gateway_port_id: str | None = None
    gateway_ips: list[FixedIp] = []
    enable_snat: bool = True
    availability_zone_hints: list[str] = []
    tags: list[str] = []
