"""What of Neutron's extensions is really there: clients decide by this list what they use."""

from typing import Any

from pileus.api.request import Request
from pileus.model.errors import NotFound

EXTENSIONS: dict[str, tuple[str, str]] = {
    "agent": ("agent", "The agents that a host stands for"),
    "allowed-address-pairs": ("Allowed Address Pairs", "Addresses that a port may use beside its own"),
    "auto-allocated-topology": ("Auto Allocated Topology Services", "A network with a way out, made on demand"),
    "availability_zone": ("Availability Zone", "Availability zones of networks and routers"),
    "binding": ("Port Binding", "The host that a port is on"),
    "default-external-network": ("Default external network", "An external network may be the default"),
    "default-subnetpools": ("Default Subnetpools", "A subnet pool may be the default"),
    "dhcp_agent_scheduler": ("DHCP Agent Scheduler", "Which hosts serve DHCP for a network"),
    "dns-integration": ("DNS Integration", "Names of ports, networks and floating IPs"),
    "empty-string-filtering": ("Empty String Filtering Extension", "Lists can be filtered by an empty attribute"),
    "ext-gw-mode": ("Neutron L3 Configurable external gateway mode", "A router's source NAT can be off"),
    "external-net": ("Neutron external network", "Networks to the outside"),
    "extra_dhcp_opt": ("Neutron Extra DHCP options", "DHCP options of one port"),
    "extraroute": ("Neutron Extra Route", "Static routes of a router"),
    "extraroute-atomic": ("Atomically add/remove extra routes", "Static routes added and removed one by one"),
    "filter-validation": ("Filter parameters validation", "An unknown filter is refused"),
    "fip-port-details": ("Floating IP Port Details Extension", "A floating IP shows its port"),
    "ip-substring-filtering": ("IP address substring filtering", "Ports can be found by a part of an address"),
    "l3_agent_scheduler": ("L3 Agent Scheduler", "Which hosts carry a router"),
    "net-mtu": ("Network MTU", "A network shows its MTU"),
    "net-mtu-writable": ("Network MTU (writable)", "A network's MTU can be set"),
    "network-ip-availability": ("Network IP Availability", "How many addresses are used and free"),
    "network_availability_zone": ("Network Availability Zone", "Availability zones of networks"),
    "pagination": ("Pagination support", "Lists come in pages"),
    "port-security": ("Port Security", "A port's filter can be off"),
    "project-id": ("project_id field enabled", "Resources have project_id beside tenant_id"),
    "provider": ("Provider Network", "What a network is made of"),
    "quota_details": ("Quota details management support", "Limits with what is used"),
    "quotas": ("Quota management support", "Limits of a project"),
    "rbac-policies": ("RBAC Policies", "A network can be given to another project"),
    "revision-if-match": ("If-Match constraints based on revision_number", "A change can name the revision that it expects"),
    "router": ("Neutron L3 Router", "Routers and floating IPs"),
    "router_availability_zone": ("Router Availability Zone", "Availability zones of routers"),
    "security-group": ("security-group", "Security groups and their rules"),
    "security-groups-normalized-cidr": ("Normalized CIDR field for security group rules", "A rule shows its prefix in its usual form"),
    "service-type": ("Neutron Service Type Management", "Providers of advanced services"),
    "sorting": ("Sorting support", "Lists can be sorted by any attribute"),
    "standard-attr-description": ("standard-attr-description", "Resources have a description"),
    "standard-attr-revisions": ("Resource revision numbers", "Resources have a revision number"),
    "standard-attr-tag": ("Tag support for resources with standard attribute", "Resources have tags"),
    "standard-attr-timestamp": ("Resource timestamps", "Resources have times of creation and change"),
    "stateful-security-group": ("Stateful security group", "A security group can be stateless"),
    "subnet-external-network": ("Subnet belongs to external network", "Subnets can be filtered by external networks"),
    "subnet_allocation": ("Subnet Allocation", "Subnets can be cut from pools"),
    "subnet-service-types": ("Subnet service types", "A subnet can be for ports of some owners alone"),
}


async def index(request: Request) -> dict[str, Any]:
    """The list."""
    return {"extensions": [_view(alias) for alias in EXTENSIONS]}


async def show(request: Request) -> dict[str, Any]:
    """One."""
    alias = request.params["alias"]
    if alias not in EXTENSIONS:
        raise NotFound(f"Extension with alias {alias} does not exist", type="HTTPNotFound")
    return {"extension": _view(alias)}


def _view(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": description, "links": [], "updated": "2026-01-01T00:00:00-00:00"}
