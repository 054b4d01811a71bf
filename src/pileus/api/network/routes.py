"""Neutron's routes. Each kind's five and its tags' six come from `crud` and `tag_routes`; what is peculiar stands here."""

from pileus.api.faults import neutron_fault
from pileus.api.network import agents, availability, discovery, extensions, quotas, router_interfaces, security_groups, topology
from pileus.api.network.floating_ips import FLOATINGIP
from pileus.api.network.handlers import crud
from pileus.api.network.networks import NETWORK
from pileus.api.network.policy import POLICY
from pileus.api.network.ports import PORT
from pileus.api.network.rbac_policies import RBAC_POLICY
from pileus.api.network.routers import ROUTER, add_extraroutes, remove_extraroutes
from pileus.api.network.security_group_rules import SECURITY_GROUP_RULE
from pileus.api.network.security_groups import SECURITY_GROUP
from pileus.api.network.subnet_pools import SUBNETPOOL
from pileus.api.network.subnets import SUBNET
from pileus.api.network.tags import tag_routes
from pileus.api.routes import PUBLIC, Route, Service, route

KINDS = (NETWORK, SUBNET, PORT, ROUTER, FLOATINGIP, SECURITY_GROUP, SECURITY_GROUP_RULE, RBAC_POLICY, SUBNETPOOL)
TAGGED = (NETWORK, SUBNET, PORT, ROUTER, FLOATINGIP, SECURITY_GROUP, SUBNETPOOL)
GAPS = (
    "address-scopes", "address-groups", "qos", "trunks", "segments", "flavors", "service_profiles", "metering",
    "network_segment_ranges", "ndp_proxies", "local_ips", "log", "vpn", "fwaas", "bgp-speakers", "default-security-group-rules",
)  # fmt: skip


def gap_routes(name: str) -> list[Route]:
    """A resource of Neutron that answers 501."""
    places = (f"/v2.0/{name}", f"/v2.0/{name}/{{rest:path}}")
    return [route(method, path, discovery.missing, "not_implemented") for path in places for method in ("GET", "POST", "PUT", "DELETE")]


def own_crud() -> list[Route]:
    """The kinds' routes; the list of security groups makes the default one first."""
    found = [one for kind in KINDS for one in crud(kind)]
    place = next(index for index, one in enumerate(found) if (one.method, one.path) == ("GET", "/v2.0/security-groups"))
    found[place] = route("GET", "/v2.0/security-groups", security_groups.index, "get_security_group")
    return found


ROUTES: list[Route] = [
    route("GET", "/", discovery.versions, PUBLIC),
    route("GET", "/v2.0", discovery.resources, PUBLIC),
    *own_crud(),
    *(one for kind in TAGGED for one in tag_routes(kind)),
    route("PUT", "/v2.0/routers/{id}/add_router_interface", router_interfaces.add, "add_router_interface"),
    route("PUT", "/v2.0/routers/{id}/remove_router_interface", router_interfaces.remove, "remove_router_interface"),
    route("PUT", "/v2.0/routers/{id}/add_extraroutes", add_extraroutes, "add_extraroutes"),
    route("PUT", "/v2.0/routers/{id}/remove_extraroutes", remove_extraroutes, "remove_extraroutes"),
    route("GET", "/v2.0/routers/{id}/l3-agents", agents.of_router, "get_l3-agents"),
    route("GET", "/v2.0/networks/{id}/dhcp-agents", agents.of_network, "get_dhcp-agents"),
    route("GET", "/v2.0/agents", agents.index, "list_agents"),
    route("GET", "/v2.0/agents/{id}", agents.show, "get_agent"),
    route("PUT", "/v2.0/agents/{id}", agents.change, "update_agent"),
    route("DELETE", "/v2.0/agents/{id}", agents.change, "delete_agent"),
    route("GET", "/v2.0/agents/{id}/dhcp-networks", agents.networks_of, "get_dhcp-networks"),
    route("GET", "/v2.0/agents/{id}/l3-routers", agents.routers_of, "get_l3-routers"),
    route("GET", "/v2.0/availability_zones", availability.zones, "get_availability_zone"),
    route("GET", "/v2.0/network-ip-availabilities", availability.addresses, "get_network_ip_availability"),
    route("GET", "/v2.0/network-ip-availabilities/{id}", availability.addresses_of_one, "get_network_ip_availability"),
    route("GET", "/v2.0/service-providers", availability.providers, "get_service_provider"),
    route("GET", "/v2.0/extensions", extensions.index, "get_extension"),
    route("GET", "/v2.0/extensions/{alias}", extensions.show, "get_extension"),
    route("GET", "/v2.0/quotas", quotas.index, "list_quotas"),
    route("GET", "/v2.0/quotas/tenant", quotas.tenant, "get_quota"),
    route("GET", "/v2.0/quotas/project", quotas.tenant, "get_quota"),
    route("GET", "/v2.0/quotas/{project_id}", quotas.show, "get_quota"),
    route("GET", "/v2.0/quotas/{project_id}/default", quotas.defaults, "get_quota"),
    route("GET", "/v2.0/quotas/{project_id}/details", quotas.details, "get_quota"),
    route("PUT", "/v2.0/quotas/{project_id}", quotas.update, "update_quota"),
    route("DELETE", "/v2.0/quotas/{project_id}", quotas.reset, "delete_quota", success=204),
    route("GET", "/v2.0/auto-allocated-topology/{project_id}", topology.show, "get_auto_allocated_topology"),
    route("DELETE", "/v2.0/auto-allocated-topology/{project_id}", topology.delete, "delete_auto_allocated_topology", success=204),
    *(one for name in GAPS for one in gap_routes(name)),
]

SERVICE = Service(prefix="network", name="neutron", type="network", routes=ROUTES, policy=POLICY, fault=neutron_fault)
