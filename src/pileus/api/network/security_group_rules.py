"""Rules of security groups."""

import uuid
from ipaddress import ip_network
from typing import Any

from pileus import clock
from pileus.api.network import validators as check
from pileus.api.network.attributes import BASE, Absent, Attribute, Required, given, shown
from pileus.api.network.kinds import Call, Kind, Values, Where
from pileus.api.network.times import base_of
from pileus.api.request import Request
from pileus.model.errors import Invalid, NotFound
from pileus.model.security_groups import SecurityGroup, SecurityGroupRule
from pileus.store import security_groups as store

PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58, "igmp": 2, "ip": 0,
    "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46,
    "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
WITH_PORTS = {"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "33", "132", "136"}
ICMP = {"icmp", "1", "icmpv6", "ipv6-icmp", "58"}


def _protocol(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.lower() in ("", "any")):
        return None
    text = str(value).lower()
    if text in PROTOCOLS:
        return "ipv6-icmp" if text == "icmpv6" else text
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255:
        return str(int(text)) if int(text) else None
    raise check.InvalidValue(
        f"Security group rule protocol {value} not supported. Only protocol values {sorted(PROTOCOLS)} and integers [0 - 255] are supported"
    )


def _ethertype(value: Any) -> str:
    found = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(str(value).lower())
    if found is None:
        raise check.InvalidValue(f"'{value}' is not in ['IPv4', 'IPv6']")
    return found


port = check.optional(check.integer())
ATTRIBUTES: list[Attribute] = [
    *BASE,
    given("project_id", check.project, put=False),
    given("security_group_id", check.uuid, put=False, default=Required),
    given("direction", check.choice("ingress", "egress"), put=False, default=Required),
    given("ethertype", _ethertype, put=False, default="IPv4"),
    given("protocol", _protocol, put=False, default=None),
    given("port_range_min", port, put=False, default=None),
    given("port_range_max", port, put=False, default=None),
    given("remote_ip_prefix", check.optional(check.remote_prefix), put=False, default=None),
    given("remote_group_id", check.optional(check.text()), put=False, default=None),
    given("remote_address_group_id", check.optional(check.choice()), put=False, default=Absent, column=None),
    given("description", check.text_or_empty(), default=""),
    shown("normalized_cidr"),
    shown("belongs_to_default_sg"),
]


async def visible(request: Request) -> Where:
    """Rules of one's own groups."""
    own = request.identity.project_id
    groups = "security_group_rules.security_group_id IN (SELECT id FROM security_groups WHERE project_id = ?)"
    return f"security_group_rules.project_id = ? OR {groups}", [own, own]


async def views(request: Request, rows: list[SecurityGroupRule]) -> list[Values]:
    """Documents."""
    return [rule_view(row) for row in rows]


def rule_view(row: SecurityGroupRule) -> Values:
    """A rule's document."""
    return base_of(row) | {
        "security_group_id": row.security_group_id,
        "direction": row.direction,
        "ethertype": row.ethertype,
        "protocol": row.protocol,
        "port_range_min": row.port_range_min,
        "port_range_max": row.port_range_max,
        "remote_ip_prefix": row.remote_ip_prefix,
        "normalized_cidr": str(ip_network(row.remote_ip_prefix, strict=False)) if row.remote_ip_prefix else None,
        "remote_group_id": row.remote_group_id,
        "remote_address_group_id": None,
        "description": row.description,
    }


async def create(call: Call, values: Values) -> SecurityGroupRule:
    """Add a rule to a group of one's own."""
    group = await _group(call, values["security_group_id"])
    if values["remote_group_id"]:
        await _group(call, values["remote_group_id"])
    _check(values)
    now = clock.now()
    fields = ("security_group_id", "direction", "ethertype", "protocol", "remote_ip_prefix", "remote_group_id", "description")
    low, high = values["port_range_min"], values["port_range_max"]
    rule = SecurityGroupRule(
        id=str(uuid.uuid4()), created_at=now, updated_at=now, project_id=group.project_id, port_range_min=None if low == -1 else low,
        port_range_max=None if high == -1 else high, **{name: values[name] for name in fields},
    )  # fmt: skip
    await store.insert_rule(call.tx, rule)
    await _touch(call, group)
    return rule


async def update(call: Call, row: SecurityGroupRule, values: Values) -> SecurityGroupRule:
    """Change the description, which is all that can change."""
    changed: SecurityGroupRule = await store.RULES.update(call.tx, row, **values)
    return changed


async def delete(call: Call, row: SecurityGroupRule) -> None:
    """Take a rule away."""
    await store.RULES.delete(call.tx, row.id)
    group = await store.SECURITY_GROUPS.get(call.tx, row.security_group_id)
    assert group is not None
    await _touch(call, group)


async def _touch(call: Call, group: SecurityGroup) -> None:
    """The group has a new revision; the networks of its ports are looked at."""
    await store.SECURITY_GROUPS.update(call.tx, group)
    rows = await call.tx.all(
        "SELECT DISTINCT network_id FROM ports JOIN port_security_groups ON port_id = ports.id WHERE security_group_id = ?", group.id
    )
    call.wake(*(row[0] for row in rows))


async def _group(call: Call, id: str) -> SecurityGroup:
    group = await store.SECURITY_GROUPS.get(call.tx, id)
    if group is None or (group.project_id != call.request.identity.project_id and not call.admin):
        raise NotFound(f"Security group {id} does not exist", type="SecurityGroupNotFound")
    return group


def _check(values: Values) -> None:
    protocol, ethertype = values["protocol"], values["ethertype"]
    if values["remote_group_id"] and values["remote_ip_prefix"]:
        raise Invalid("Only remote_ip_prefix or remote_group_id may be provided.", type="SecurityGroupMultipleRemoteEntites")
    prefix = values["remote_ip_prefix"]
    if prefix and f"IPv{ip_network(prefix, strict=False).version}" != ethertype:
        raise Invalid(f"Conflicting value ethertype {ethertype} for CIDR {prefix}", type="SecurityGroupRuleParameterConflict")
    if protocol in ("ipv6-icmp", "58", "ipv6-encap", "ipv6-frag", "ipv6-nonxt", "ipv6-opts", "ipv6-route") and ethertype == "IPv4":
        raise Invalid(f"Invalid ethertype {ethertype} for protocol {protocol}.", type="SecurityGroupEthertypeConflictWithProtocol")
    _check_ports(protocol, values["port_range_min"], values["port_range_max"])


def _check_ports(protocol: str | None, low: int | None, high: int | None) -> None:
    if low in (None, -1) and high in (None, -1):
        return
    if protocol is None:
        raise Invalid("Must also specify protocol if port range is given.", type="SecurityGroupProtocolRequiredWithPorts")
    if protocol in ICMP:
        for name, value in (("port_range_min", low), ("port_range_max", high)):
            if value is not None and not 0 <= value <= 255:
                field = "ICMP type" if name == "port_range_min" else "ICMP code"
                raise Invalid(f"Invalid value for {field} ({name}) {value}. It must be 0 to 255.", type="SecurityGroupInvalidIcmpValue")
        if low is None and high is not None:
            words = f"ICMP code (port-range-max) {high} is provided but ICMP type (port-range-min) is missing."
            raise Invalid(words, type="SecurityGroupMissingIcmpType")
        return
    if protocol not in WITH_PORTS:
        raise Invalid(
            f"Invalid port range for protocol {protocol}: ports are for TCP, UDP, SCTP, DCCP and UDPLITE.",
            type="SecurityGroupInvalidProtocolForPort",
        )
    for value in (low, high):
        if value is not None and not 0 <= value <= 65535:
            raise Invalid(f"Invalid value for port {value}", type="SecurityGroupInvalidPortValue")
    if low is None or high is None or low > high:
        raise Invalid("For TCP/UDP protocols, port_range_min must be <= port_range_max", type="SecurityGroupInvalidPortRange")
    if low == 0:
        raise Invalid("Invalid port 0: ports begin at 1.", type="SecurityGroupInvalidPortValue")


SECURITY_GROUP_RULE = Kind(
    name="security_group_rule", plural="security_group_rules", title="SecurityGroupRule", table=store.RULES, attributes=ATTRIBUTES,
    views=views, create=create, update=update, delete=delete, visible=visible,
)  # fmt: skip
