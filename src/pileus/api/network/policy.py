"""Who may do what: Neutron's action names. `network_owner` is an administrator or the owner of the port's network (attributes.py)."""

from pileus.api.network.attributes import NETWORK_OWNER

RESOURCES = ("network", "subnet", "port", "router", "floatingip", "security_group", "subnetpool", "security_group_rule", "rbac_policy")
TAGGED = RESOURCES[:7]

POLICY: dict[str, str] = {
    **{f"get_{one}": "reader" for one in RESOURCES},
    **{f"{action}_{one}": "member" for one in RESOURCES for action in ("create", "update", "delete")},
    **{f"get_{one}s_tags": "reader" for one in TAGGED},
    **{f"update_{one}s_tags": "member" for one in TAGGED},
    "add_router_interface": "member",
    "remove_router_interface": "member",
    "add_extraroutes": "member",
    "remove_extraroutes": "member",
    "list_agents": "reader",
    "get_agent": "admin",
    "update_agent": "admin",
    "delete_agent": "admin",
    "get_dhcp-agents": "admin",
    "get_l3-agents": "admin",
    "get_dhcp-networks": "admin",
    "get_l3-routers": "admin",
    "get_availability_zone": "reader",
    "get_network_ip_availability": "admin",
    "get_service_provider": "reader",
    "get_extension": "anyone",
    "get_quota": "reader",
    "list_quotas": "admin",
    "update_quota": "admin",
    "delete_quota": "admin",
    "get_auto_allocated_topology": "member",
    "delete_auto_allocated_topology": "member",
    "not_implemented": "anyone",
    # attributes that not everyone may give
    **{f"{action}_network:{name}": "admin" for action in ("create", "update") for name in (
        "shared", "router:external", "is_default", "provider:network_type", "provider:physical_network", "provider:segmentation_id",
    )},
    **{f"{action}_subnetpool:{name}": "admin" for action in ("create", "update") for name in ("shared", "is_default")},
    **{f"{action}_router:{name}": "admin" for action in ("create", "update") for name in (
        "ha", "distributed", "external_gateway_info:enable_snat", "external_gateway_info:external_fixed_ips",
    )},
    **{f"{action}_port:{name}": "service" for action in ("create", "update") for name in ("binding:host_id", "binding:profile")},
    "update_port:mac_address": "service",
    **{f"create_port:{name}": NETWORK_OWNER for name in (
        "mac_address", "fixed_ips", "port_security_enabled", "allowed_address_pairs",
    )},
    **{f"update_port:{name}": NETWORK_OWNER for name in ("fixed_ips", "port_security_enabled", "allowed_address_pairs")},
    "create_floatingip:floating_ip_address": "admin",
    "create_rbac_policy:target_tenant": "member",
    "update_rbac_policy:target_tenant": "member",
}  # fmt: skip
