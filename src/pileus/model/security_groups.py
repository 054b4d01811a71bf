"""A security group and its rules: what may reach a port, and what it may reach."""

from pileus.model.base import Resource


class SecurityGroup(Resource, frozen=True, kw_only=True):
    """A security group. Each project has one named `default`."""

    project_id: str
    name: str = ""
    description: str = ""
    stateful: bool = True
    is_default: bool = False
    tags: list[str] = []


class SecurityGroupRule(Resource, frozen=True, kw_only=True):
    """A rule, in Neutron's words. For ICMP the port range is type and code."""

    project_id: str
    security_group_id: str
    description: str = ""
    direction: str
    ethertype: str = "IPv4"
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
