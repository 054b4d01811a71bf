"""Ports."""

from typing import Any

import msgspec

from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Absent, Attribute, Required, check_network_owner, given, refused, shown
from pileus.api.network.kinds import Call, Kind, Values, Where, project_of
from pileus.api.network.networks import NETWORK
from pileus.api.network.tags import save_tags
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.core.routing import LOCAL_DOMAIN, host_name_of
from pileus.model.errors import Conflict, Invalid
from pileus.model.networks import Network
from pileus.model.ports import COMPUTE, ROUTER_GATEWAY, ROUTER_INTERFACE, AddressPair, DhcpOption, Port
from pileus.store import networks
from pileus.store.fixed_ips import FixedIpRequest
from pileus.store.ports import PORTS, NewPort, create_port, remove_port, update_port
from pileus.store.security_groups import check_groups, default_security_group

MOST_PAIRS = 100
MOST_OPTIONS = 64
SERVICE_OWNERS = (ROUTER_INTERFACE, ROUTER_GATEWAY, "network:floatingip")


def _pair(ip_address: str, mac_address: str = "") -> AddressPair:
    return AddressPair(ip_address=ip_address, mac_address=mac_address)


def _option(opt_name: str, opt_value: str | None = None, ip_version: int = 4) -> DhcpOption:
    return DhcpOption(opt_name=opt_name, opt_value=opt_value or "", ip_version=ip_version)


fixed_ips = check.listed(
    check.record({"subnet_id": check.optional(check.uuid), "ip_address": check.optional(check.address)}, build=FixedIpRequest),
    distinct=False,
)
pairs = check.listed(
    check.record({"ip_address": check.address_or_cidr, "mac_address": check.mac}, required=("ip_address",), build=_pair), longest=MOST_PAIRS
)
options = check.listed(
    check.record(
        {"opt_name": check.text(64), "opt_value": check.optional(check.text()), "ip_version": check.integer(4, 6)}, ("opt_name",), _option
    ),
    longest=MOST_OPTIONS,
)


def _dictionary(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise check.InvalidValue(f"'{value}' is not a dictionary")
    return value or {}


ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("network_id", check.uuid, put=False, default=Required),
    given("name", check.text_or_empty(), default=""),
    given("description", check.text_or_empty(), default=""),
    given("admin_state_up", check.boolean, default=True),
    given("mac_address", check.optional(check.mac), default=None, guarded=True),
    given("fixed_ips", fixed_ips, default=Absent, column=None),
    given("device_id", check.text_or_empty(), default=""),
    given("device_owner", check.text_or_empty(), default=""),
    given("security_groups", check.listed(check.text()), default=Absent, column=None),
    given("allowed_address_pairs", pairs, default=[], column=None),
    given("extra_dhcp_opts", options, default=[], column=None),
    given("port_security_enabled", check.boolean, default=Absent),
    given("binding:host_id", check.optional(check.text_or_empty()), default=None, column="host", admin_view=True, guarded=True),
    given("binding:vnic_type", check.choice("normal"), default="normal", column="vnic_type"),
    given("binding:profile", _dictionary, default={}, column=None, admin_view=True, guarded=True),
    given("dns_name", check.dns_domain, default=""),
    given("qos_policy_id", check.optional(check.choice()), default=None, column=None),
    given("propagate_uplink_status", check.boolean, put=False, default=Absent, column=None),
    given("tags", check.listed(check.tag), put=False, default=[], column=None),
    shown("status", "status"),
    shown("binding:vif_type", admin_view=True),
    shown("binding:vif_details", admin_view=True),
    shown("dns_assignment"),
]


async def visible(request: Request) -> Where:
    """Own ports, and others' on own networks."""
    own = request.identity.project_id
    return "ports.project_id = ? OR ports.network_id IN (SELECT id FROM networks WHERE project_id = ?)", [own, own]


async def views(request: Request, rows: list[Port]) -> list[Values]:
    """Documents; the networks' DNS domains in one query."""
    ids = sorted({row.network_id for row in rows})
    domains: dict[str, str] = {}
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        sql = f"SELECT id, dns_domain FROM networks WHERE id IN ({', '.join('?' * len(part))})"  # noqa: S608
        domains |= {row[0]: row[1] for row in await request.cloud.db.all(sql, *part)}
    return [_view(row, domains.get(row.network_id, "")) for row in rows]


def _view(row: Port, domain: str) -> Values:
    bound = row.host is not None and row.device_owner.startswith(COMPUTE)
    return base_of(row) | {
        "network_id": row.network_id,
        "name": row.name,
        "description": row.description,
        "admin_state_up": row.admin_state_up,
        "status": row.status,
        "mac_address": row.mac_address,
        "fixed_ips": row.fixed_ips,
        "device_id": row.device_id,
        "device_owner": row.device_owner,
        "security_groups": row.security_groups,
        "allowed_address_pairs": [
            {"ip_address": one.ip_address, "mac_address": one.mac_address or row.mac_address} for one in row.allowed_address_pairs
        ],
        "extra_dhcp_opts": row.extra_dhcp_opts,
        "port_security_enabled": row.port_security_enabled,
        "binding:host_id": row.host or "",
        "binding:vnic_type": row.vnic_type,
        "binding:profile": row.profile,
        "binding:vif_type": "bridge" if bound else "unbound",
        "binding:vif_details": {"port_filter": row.port_security_enabled, "connectivity": "l2"} if bound else {},
        "dns_name": row.dns_name,
        "dns_assignment": _assignment(row, domain),
        "qos_policy_id": None,
        "tags": row.tags,
    }


def _assignment(row: Port, domain: str) -> list[Values]:
    suffix = (domain or LOCAL_DOMAIN).rstrip(".") + "."
    found: list[Values] = []
    for one in row.fixed_ips:
        name = row.dns_name or host_name_of(one.ip_address)
        fqdn = name if name.endswith(".") else f"{name}.{suffix}"
        found.append({"hostname": name, "ip_address": one.ip_address, "fqdn": fqdn})
    return found


async def create(call: Call, values: Values) -> Port:
    """Make a port with its addresses and security groups."""
    network = await NETWORK.load(call.request, call.tx, values["network_id"])
    await _check_rights(call, network, "create_port", {name: one for name, one in values.items() if name in call.given})
    project_id = project_of(call, values)
    security = values.get("port_security_enabled", network.port_security_enabled)
    _check_security(security, values.get("security_groups"), values["allowed_address_pairs"])
    groups = values.get("security_groups")
    new = NewPort(
        project_id=project_id,
        network_id=network.id,
        name=values["name"],
        description=values["description"],
        admin_state_up=values["admin_state_up"],
        mac_address=values["mac_address"],
        fixed_ips=values.get("fixed_ips"),
        device_id=values["device_id"],
        device_owner=values["device_owner"],
        security_groups=None if groups is None else await check_groups(call.tx, project_id, groups, call.admin),
        checked=True,
        allowed_address_pairs=values["allowed_address_pairs"],
        extra_dhcp_opts=[one for one in values["extra_dhcp_opts"] if one.opt_value],
        port_security_enabled=security,
        host=values["binding:host_id"] or None,
        vnic_type=values["binding:vnic_type"],
        profile=values["binding:profile"],
        dns_name=values["dns_name"],
        tags=values["tags"],
    )
    if not security:
        await default_security_group(call.tx, project_id)
    port = await create_port(call.tx, new, network)
    if port.tags:
        await save_tags(call.tx, port.id, port.tags)
    call.wake(network.id)
    return port


async def _check_rights(call: Call, network: Network, action: str, values: Values) -> None:
    """What a project may do on the network: on its own all but binding; on a shared one plain ports; elsewhere nothing."""
    usable = call.admin or await networks.may_use(call.tx, network, call.request.identity.project_id)
    if not usable and action == "create_port":
        raise refused(action)
    names = [name for name in values if name != "fixed_ips"]
    if any(one.ip_address for one in values.get("fixed_ips") or []):
        names.append("fixed_ips")
    if values.get("mac_address") is None and "mac_address" in names:
        names.remove("mac_address")
    check_network_owner(call.request, action, names, network.project_id)
    owner = values.get("device_owner") or ""
    if (
        owner.startswith("network:")
        and not call.admin
        and (owner in SERVICE_OWNERS or call.request.identity.project_id != network.project_id)
    ):  # a port that says it is a router's leg becomes one
        raise refused(f"{action}:device_owner")
    await _check_device(call, values.get("device_id") or "")


async def _check_device(call: Call, device_id: str) -> None:
    """Refused when the device is a server or a router of another project: the port would be plugged into it."""
    if not device_id or call.admin:
        return
    for table in ("servers", "routers"):
        owner = await call.tx.value(f"SELECT project_id FROM {table} WHERE id = ?", device_id)  # noqa: S608
        if owner is not None and owner != call.request.identity.project_id:
            raise Conflict("The following device_id is not owned by your project.", type="DeviceIDNotOwnedByTenant")


def _check_security(security: bool, groups: list[str] | None, address_pairs: list[AddressPair]) -> None:
    if security:
        return
    if groups:
        raise Conflict(
            "Port Security must be enabled in order to have allowed address pairs or security groups on a port.",
            type="PortSecurityAndIPRequiredForSecurityGroups", status=400,
        )  # fmt: skip
    if address_pairs:
        raise Conflict(
            "Port Security must be enabled in order to have allowed address pairs on a port.", type="AddressPairAndPortSecurityRequired"
        )


FIELDS = {
    "name": "name", "description": "description", "admin_state_up": "admin_state_up", "mac_address": "mac_address",
    "device_id": "device_id", "device_owner": "device_owner", "allowed_address_pairs": "allowed_address_pairs",
    "port_security_enabled": "port_security_enabled",
    "binding:host_id": "host", "binding:profile": "profile", "binding:vnic_type": "vnic_type", "dns_name": "dns_name",
}  # fmt: skip


async def update(call: Call, row: Port, values: Values) -> Port:
    """Change a port; its addresses, groups and options as wholes."""
    network = await networks.NETWORKS.get(call.tx, row.network_id)
    assert network is not None
    values = {name: value for name, value in values.items() if name != "mac_address" or (value and value != row.mac_address)}
    await _check_rights(call, network, "update_port", values)
    changes: dict[str, Any] = {FIELDS[name]: value for name, value in values.items() if name in FIELDS}
    if "host" in changes:
        changes["host"] = changes["host"] or None
    if "mac_address" in changes and row.host and row.device_id:
        raise Conflict(f"Unable to complete operation on port {row.id}, port is already bound.", type="PortBound")
    if "security_groups" in values:
        changes["security_groups"] = await check_groups(call.tx, row.project_id, values["security_groups"], call.admin)
    if "extra_dhcp_opts" in values:
        changes["extra_dhcp_opts"] = _merge_options(row.extra_dhcp_opts, values["extra_dhcp_opts"])
    after = msgspec.structs.replace(row, **changes)
    _check_security(after.port_security_enabled, after.security_groups, after.allowed_address_pairs)
    moved = any(changes.get(name, getattr(row, name)) != getattr(row, name) for name in ("device_id", "device_owner"))
    if row.device_owner in SERVICE_OWNERS and moved:  # else a router's leg, which is not filtered, could become a guest's port
        raise Conflict(f"Port {row.id} cannot be updated: device owner {row.device_owner}.", type="ServicePortInUse")
    port = await update_port(call.tx, row, values.get("fixed_ips"), **changes)
    call.wake(row.network_id)
    return port


def _merge_options(have: list[DhcpOption], wanted: list[DhcpOption]) -> list[DhcpOption]:
    """Options replace those of the same name and version; one without a value takes it away."""
    merged = {(one.opt_name, one.ip_version): one for one in have}
    for one in wanted:
        merged[one.opt_name, one.ip_version] = one
    return [one for one in merged.values() if one.opt_value]


async def delete(call: Call, row: Port) -> None:
    """Remove a port that no router holds."""
    if row.device_owner in SERVICE_OWNERS and row.device_id:
        raise Conflict(
            f"Port {row.id} cannot be deleted directly via the port API: has device owner {row.device_owner}.", type="ServicePortInUse"
        )
    await remove_port(call.tx, row)
    call.wake(row.network_id)


async def may_delete(call: Call, row: Port) -> bool:
    """A network's owner may remove others' ports from it."""
    network = await networks.NETWORKS.get(call.tx, row.network_id)
    return network is not None and network.project_id == call.request.identity.project_id


def _by_fixed_ips(values: list[str]) -> Where:
    """fixed_ips=ip_address=10.0.0.5, fixed_ips=subnet_id=..., ip_address_substr=10.0."""
    wanted: dict[str, list[str]] = {}
    for value in values:
        key, _, text = value.partition("=")
        if key not in ("ip_address", "subnet_id", "ip_address_substr") or not text:
            raise Invalid(
                f"Invalid input for fixed_ips. Reason: '{value}' is not key=value with ip_address, subnet_id or ip_address_substr."
            )
        wanted.setdefault(key, []).append(text)
    clauses: list[str] = []
    args: list[Any] = []
    for key, texts in wanted.items():
        marks = ", ".join("?" * len(texts))
        if key == "ip_address_substr":
            clauses.append("(" + " OR ".join("ip_address LIKE ?" for _ in texts) + ")")
            args += [f"%{one.replace('%', '')}%" for one in texts]
        else:
            clauses.append(f"{key} IN ({marks})")
            args += texts
    return f"ports.id IN (SELECT port_id FROM addresses WHERE {' AND '.join(clauses)})", args  # noqa: S608


def _by_groups(values: list[str]) -> Where:
    return f"ports.id IN (SELECT port_id FROM port_security_groups WHERE security_group_id IN ({', '.join('?' * len(values))}))", [*values]  # noqa: S608


def _by_host(values: list[str]) -> Where:
    clause = f"ports.host IN ({', '.join('?' * len(values))})"
    return (f"{clause} OR ports.host IS NULL" if "" in values else clause), [*values]


def _by_mac(values: list[str]) -> Where:
    return f"ports.mac_address IN ({', '.join('?' * len(values))})", [one.lower() for one in values]


PORT = Kind(
    name="port", plural="ports", title="Port", table=PORTS, attributes=ATTRIBUTES, views=views, create=create, update=update, delete=delete,
    visible=visible, may_delete=may_delete,
    filters={"fixed_ips": _by_fixed_ips, "security_groups": _by_groups, "binding:host_id": _by_host, "mac_address": _by_mac},
)  # fmt: skip
