"""Networks."""

import uuid
from typing import Any

import msgspec

from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Attribute, given, refused, shown
from pileus.api.network.kinds import Call, Kind, Values, Where, project_of
from pileus.api.network.tags import save_tags
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.model.errors import Conflict, Invalid
from pileus.model.networks import Network
from pileus.model.ports import DHCP, ROUTER_GATEWAY
from pileus.store import networks as store
from pileus.store.floating_ips import remove_unused
from pileus.store.ports import PORTS, remove_port
from pileus.store.security_groups import default_security_group
from pileus.store.subnets import remove_subnet, subnet_ids, subnets_of_network

TENANT_MTU, OUTSIDE_MTU = 1450, 1500
LARGEST_MTU = 9000

ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("name", check.text_or_empty(), default=""),
    given("description", check.text_or_empty(), default=""),
    given("admin_state_up", check.boolean, default=True),
    given("shared", check.boolean, default=False, guarded=True),
    given("router:external", check.boolean, default=False, column="external", guarded=True),
    given("is_default", check.boolean, default=False, guarded=True),
    given("port_security_enabled", check.boolean, default=True),
    given("mtu", check.integer(68, LARGEST_MTU), default=0),
    given("dns_domain", check.dns_domain, default=""),
    given(
        "provider:network_type", check.optional(check.text()), put=False, default=None, column="network_type", admin_view=True, guarded=True
    ),
    given(
        "provider:physical_network", check.optional(check.text(64)), put=False, default=None, column="physical_network", admin_view=True,
        guarded=True,
    ),
    given(
        "provider:segmentation_id", check.optional(check.integer()), put=False, default=None, column="segmentation_id", admin_view=True,
        guarded=True,
    ),
    given("availability_zone_hints", check.listed(check.text()), put=False, default=[], column=None),
    given("tags", check.listed(check.tag), put=False, default=[], column=None),
    given("vlan_transparent", check.optional(check.choice(False)), put=False, default=None, column=None),
    given("qos_policy_id", check.optional(check.choice()), default=None, column=None),
    *(shown(name) for name in ("status", "subnets", "availability_zones", "ipv4_address_scope", "ipv6_address_scope", "l2_adjacency")),
]  # fmt: skip


async def visible(request: Request) -> Where:
    """Own networks, shared ones, external ones, and those given by RBAC."""
    return store.VISIBLE, store.visible_args(request.identity.project_id)


async def views(request: Request, rows: list[Network]) -> list[Values]:
    """Documents; the subnets of all in one query."""
    db = request.cloud.db
    subnets = await subnet_ids(db, [row.id for row in rows])
    mine: set[str] = set()
    external: set[str] = set()
    for object_id, action in await db.all(
        "SELECT object_id, action FROM network_rbac_policies WHERE target_project IN (?, '*')", request.identity.project_id
    ):
        (mine if action == "access_as_shared" else external).add(object_id)
    return [_view(row, subnets[row.id], row.shared or row.id in mine, row.external or row.id in external) for row in rows]


def _view(row: Network, subnets: list[str], shared: bool, external: bool) -> Values:
    document = base_of(row)
    document |= {
        "name": row.name,
        "description": row.description,
        "status": "ACTIVE",
        "admin_state_up": row.admin_state_up,
        "shared": shared,
        "router:external": external,
        "port_security_enabled": row.port_security_enabled,
        "mtu": row.mtu,
        "dns_domain": row.dns_domain,
        "subnets": subnets,
        "availability_zone_hints": row.availability_zone_hints,
        "availability_zones": ["nova"],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "l2_adjacency": True,
        "qos_policy_id": None,
        "vlan_transparent": None,
        "provider:network_type": row.network_type,
        "provider:physical_network": row.physical_network,
        "provider:segmentation_id": row.segmentation_id,
        "tags": row.tags,
    }
    if external:
        document["is_default"] = row.is_default
    return document


async def create(call: Call, values: Values) -> Network:
    """Make a network; the project's default security group comes with it, as in Neutron."""
    kind, physical, segment = (values[f"provider:{name}"] for name in ("network_type", "physical_network", "segmentation_id"))
    kind = kind or "vxlan"
    _check_provider(call, kind, physical, segment)
    outside = kind == "flat" or values["router:external"]
    project_id = project_of(call, values)
    network = Network(
        id=str(uuid.uuid4()),
        project_id=project_id,
        name=values["name"],
        description=values["description"],
        admin_state_up=values["admin_state_up"],
        shared=values["shared"],
        external=values["router:external"],
        is_default=values["is_default"],
        port_security_enabled=values["port_security_enabled"],
        mtu=_mtu(values["mtu"], outside),
        dns_domain=values["dns_domain"],
        network_type=kind,
        physical_network=physical,
        segmentation_id=segment,
        availability_zone_hints=values["availability_zone_hints"],
        tags=values["tags"],
    )
    await _check_default(call, network)
    await default_security_group(call.tx, project_id)
    network = await store.insert_network(call.tx, network)
    await save_tags(call.tx, network.id, network.tags)
    return network


def _mtu(wanted: int, outside: bool) -> int:
    largest = OUTSIDE_MTU if outside else TENANT_MTU
    if wanted > largest:
        raise Invalid(f"Invalid input for operation: Requested MTU is too big, maximum is {largest}.", type="InvalidInput", field="mtu")
    return wanted or largest


def _check_provider(call: Call, kind: str, physical: str | None, segment: int | None) -> None:
    problem = None
    if kind not in ("vxlan", "flat"):
        problem = f"network_type value '{kind}' not supported; use vxlan or flat"
    elif kind == "flat" and physical is None:
        problem = "physical_network required for flat provider network"
    elif kind == "flat" and segment is not None:
        problem = "segmentation_id specified for flat provider network"
    elif kind == "flat" and physical not in call.request.cloud.config.physical_networks:
        problem = f"Unknown provider:physical_network {physical}"
    elif kind == "vxlan" and physical is not None:
        problem = "provider:physical_network specified for vxlan network"
    if problem:
        raise Invalid(f"Invalid input for operation: {problem}.", type="InvalidInput")


async def _check_default(call: Call, network: Network) -> None:
    if not (network.is_default and network.external):
        return
    other = await store.NETWORKS.first(call.tx, "is_default = 1 AND external = 1 AND id <> ?", network.id)
    if other is not None:
        raise Conflict(f"A default external network already exists: {other.id}.", type="DefaultExternalNetworkExists")


FIELDS = {
    "name": "name", "description": "description", "admin_state_up": "admin_state_up", "shared": "shared", "router:external": "external",
    "is_default": "is_default", "port_security_enabled": "port_security_enabled", "dns_domain": "dns_domain",
}  # fmt: skip


async def update(call: Call, row: Network, values: Values) -> Network:
    """Change a network. It can't be taken from projects that use it."""
    changes: dict[str, Any] = {FIELDS[name]: value for name, value in values.items() if name in FIELDS}
    if "mtu" in values:
        changes["mtu"] = _mtu(values["mtu"], row.uplink is not None)
    if row.shared and changes.get("shared") is False:
        await _check_unshare(call, row)
    if row.external and changes.get("external") is False:
        gateways = await call.tx.value("SELECT count(*) FROM routers WHERE gateway_network_id = ?", row.id)
        if gateways or await call.tx.value("SELECT 1 FROM floating_ips WHERE floating_network_id = ? LIMIT 1", row.id) is not None:
            raise Conflict(f"External network {row.id} cannot be updated to be made non-external, since it has existing gateway ports.",
                           type="ExternalNetworkInUse")  # fmt: skip
    await _check_default(call, msgspec.structs.replace(row, **changes))
    call.wake(row.id)
    return await store.NETWORKS.update(call.tx, row, **changes)


async def _check_unshare(call: Call, row: Network) -> None:
    foreign = await call.tx.value(
        "SELECT 1 FROM ports WHERE network_id = ? AND project_id NOT IN (?, '') AND device_owner NOT LIKE 'network:%' "
        "AND project_id NOT IN (SELECT target_project FROM network_rbac_policies WHERE object_id = ?) LIMIT 1",
        row.id, row.project_id, row.id,
    )  # fmt: skip
    if foreign is not None:
        raise Conflict(
            f"Unable to reconfigure sharing settings for network {row.name}. Multiple tenants are using it.", type="InvalidSharedSetting"
        )


async def delete(call: Call, row: Network) -> None:
    """Remove a network with its subnets and floating IPs that point nowhere; a Conflict while anything but DHCP is plugged to it."""
    await remove_unused(call.tx, row.id)
    ports = await PORTS.find(call.tx, "network_id = ?", row.id)
    busy = [port for port in ports if port.device_owner != DHCP]
    if busy:
        if any(port.device_owner == ROUTER_GATEWAY for port in busy):
            words = f"Unable to complete operation on network {row.id}. There are one or more routers with a gateway on it."
        else:
            ids = ", ".join(port.id for port in busy[:5])
            words = f"Unable to complete operation on network {row.id}. There are one or more ports still in use on the network: {ids}."
        raise Conflict(words, type="NetworkInUse")
    for port in ports:
        await remove_port(call.tx, port)
    for subnet in await subnets_of_network(call.tx, row.id):
        await remove_subnet(call.tx, subnet.id)
    await store.remove_network(call.tx, row.id)
    call.wake(row.id)


NETWORK = Kind(
    name="network", plural="networks", title="Network", table=store.NETWORKS, attributes=ATTRIBUTES, views=views, create=create,
    update=update, delete=delete, visible=visible, filters={"status": lambda values: ("1 = 1" if "ACTIVE" in values else "1 = 0", [])},
)  # fmt: skip


async def usable(call: Call, network_id: str, action: str) -> Network:
    """The network when the caller may plug ports to it: NotFound when it is invisible, refused when it is only visible."""
    network = await NETWORK.load(call.request, call.tx, network_id)
    if not call.admin and not await store.may_use(call.tx, network, call.request.identity.project_id):
        raise refused(action)
    return network
