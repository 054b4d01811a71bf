"""Who may use the network service."""

from typing import Any

from pileus.api.network.policy import RESOURCES, TAGGED
from tests.api.access import ADMIN, MEMBERS, READERS
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron

OPEN = {"GET /", "GET /v2.0"}

ACCESS = {
    **{f"get_{one}": READERS for one in RESOURCES},
    **{f"{action}_{one}": MEMBERS for one in RESOURCES for action in ("create", "update", "delete")},
    **{f"get_{one}s_tags": READERS for one in TAGGED},
    **{f"update_{one}s_tags": MEMBERS for one in TAGGED},
    "add_router_interface": MEMBERS,
    "remove_router_interface": MEMBERS,
    "add_extraroutes": MEMBERS,
    "remove_extraroutes": MEMBERS,
    "list_agents": READERS,
    "get_agent": ADMIN,
    "update_agent": ADMIN,
    "delete_agent": ADMIN,
    "get_dhcp-agents": ADMIN,
    "get_l3-agents": ADMIN,
    "get_dhcp-networks": ADMIN,
    "get_l3-routers": ADMIN,
    "get_availability_zone": READERS,
    "get_network_ip_availability": ADMIN,
    "get_service_provider": READERS,
    "get_extension": READERS,
    "get_quota": READERS,
    "list_quotas": ADMIN,
    "update_quota": ADMIN,
    "delete_quota": ADMIN,
    "get_auto_allocated_topology": MEMBERS,
    "delete_auto_allocated_topology": MEMBERS,
    "not_implemented": READERS,
}


def belongings(cloud: TestCloud) -> list[tuple[str, str, Any]]:
    """Requests about one resource of each kind of project demo."""
    demo = Neutron(cloud)
    network = demo.make("network")
    subnet = demo.subnet(network)
    router = demo.make("router")
    leg = {"subnet_id": subnet["id"]}
    assert demo.call("PUT", f"routers/{router['id']}/add_router_interface", leg).status == 200
    group = demo.make("security_group", name="mine")
    rule = demo.make("security_group_rule", security_group_id=group["id"], direction="ingress", protocol="tcp")
    port = demo.make("port", network_id=network["id"])
    other = cloud.project_id("admin")
    pool = demo.make("subnetpool", name="pool", prefixes=["10.77.0.0/16"])
    policy = demo.make("rbac_policy", object_type="network", object_id=network["id"], action="access_as_shared", target_tenant=other)
    mine = [("network", network), ("subnet", subnet), ("router", router), ("security_group", group), ("security_group_rule", rule),
            ("port", port), ("rbac_policy", policy), ("subnetpool", pool)]  # fmt: skip
    found: list[tuple[str, str, Any]] = []
    for kind, resource in mine:
        path = f"/network/v2.0/{Neutron.path(kind)}/{resource['id']}"
        update = {"description": "x"} if kind != "rbac_policy" else {"target_tenant": cloud.project_id("other")}
        found += [("GET", path, None), ("PUT", path, {kind: update})]
        if kind not in ("security_group_rule", "rbac_policy"):
            found += [("PUT", f"{path}/tags/t", None), ("GET", f"{path}/tags", None)]
    routers = f"/network/v2.0/routers/{router['id']}"
    extra = {"router": {"routes": [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.9"}]}}
    found += [
        ("PUT", f"{routers}/add_router_interface", leg),
        ("PUT", f"{routers}/remove_router_interface", leg),
        ("PUT", f"{routers}/add_extraroutes", extra),
        ("POST", "/network/v2.0/ports", {"port": {"network_id": network["id"]}}),
        ("POST", "/network/v2.0/subnets", {"subnet": {"network_id": network["id"], "cidr": "10.5.0.0/24", "ip_version": 4}}),
        ("POST", "/network/v2.0/security-group-rules", {"security_group_rule": {"security_group_id": group["id"], "direction": "egress"}}),
        ("GET", f"/network/v2.0/quotas/{cloud.project_id()}", None),
    ]
    return found + [("DELETE", f"/network/v2.0/{Neutron.path(kind)}/{resource['id']}", None) for kind, resource in reversed(mine)]
