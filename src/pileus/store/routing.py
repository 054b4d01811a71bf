"""Routing domains from the store: which networks belong together, and what each host is told of them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pileus.core.routing import Component, DomainRows, components, domain_on, gateway_host, hosts_of
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, AddressPair
from pileus.model.routing import RoutingDomain
from pileus.store.database import Reader
from pileus.store.floating_ips import FLOATING_IPS
from pileus.store.networks import NETWORKS
from pileus.store.ports import PORTS
from pileus.store.routers import ROUTERS
from pileus.store.security_groups import SECURITY_GROUPS, rules_of
from pileus.store.subnets import SUBNETS

HOST_ONLY = {"public": ""}
PAIRS = msgspec.json.Decoder(list[AddressPair])
LEGS = f"SELECT DISTINCT network_id, device_id FROM ports WHERE device_owner = '{ROUTER_INTERFACE}'"  # noqa: S608


async def domains_of(db: Reader, network_ids: list[str], host: str, physical: Mapping[str, str] = HOST_ONLY) -> list[RoutingDomain]:
    """The domains that contain these networks, as `host` is to realize them. Networks that are not there are passed over."""
    hosts = await host_names(db)
    found: list[RoutingDomain] = []
    for component in await components_of(db, network_ids):
        rows = await load(db, component, host)
        found.append(domain_on(component, rows, host, gateway_host(component.id, hosts) in (host, None), physical))
    return found


async def all_domains(db: Reader, host: str, physical: Mapping[str, str] = HOST_ONLY) -> list[RoutingDomain]:
    """Every domain that the host is to realize: those of its guests, and those whose gateways it carries."""
    hosts = await host_names(db)
    found: list[RoutingDomain] = []
    for component in await components_on(db, host):
        rows = await load(db, component, host)
        if host in hosts_of(component, rows, hosts or [host]):
            found.append(domain_on(component, rows, host, gateway_host(component.id, hosts) in (host, None), physical))
    return found


async def host_names(db: Reader) -> list[str]:
    """The names of all hosts."""
    return [row[0] for row in await db.all("SELECT name FROM hosts ORDER BY name")]


async def components_on(db: Reader, host: str) -> list[Component]:
    """The components that may be on a host: those of its ports, and those whose routers have gateways."""
    gateways = f"SELECT id FROM routers WHERE gateway_network_id IS NOT NULL AND id IN (SELECT device_id FROM ports WHERE device_owner = '{ROUTER_INTERFACE}')"  # noqa: E501, S608
    networks = await db.all(
        f"SELECT network_id FROM ports WHERE host = ? UNION SELECT network_id FROM ports WHERE device_owner = '{ROUTER_INTERFACE}' "  # noqa: S608
        f"AND device_id IN ({gateways})",
        host,
    )
    found = await components_of(db, sorted(row[0] for row in networks))
    alone = await db.all(
        f"SELECT id FROM routers WHERE gateway_network_id IS NOT NULL AND id NOT IN (SELECT device_id FROM ports WHERE device_owner = '{ROUTER_INTERFACE}')"  # noqa: E501, S608
    )
    return found + [Component(id=row[0], networks=(), routers=(row[0],)) for row in alone]


async def components_of(db: Reader, network_ids: list[str]) -> list[Component]:
    """The components that contain these networks, each once."""
    networks = {row[0] for row in await _in(db, "SELECT id FROM networks WHERE id", network_ids)}
    legs: set[tuple[str, str]] = set()
    new_networks, seen_routers = set(networks), set[str]()
    while new_networks:
        found = {(row[0], row[1]) for row in await _in(db, f"{LEGS} AND network_id", sorted(new_networks))}
        routers = {router for _, router in found} - seen_routers
        seen_routers |= routers
        found |= {(row[0], row[1]) for row in await _in(db, f"{LEGS} AND device_id", sorted(routers))}
        legs |= found
        new_networks = {network for network, _ in found} - networks
        networks |= new_networks
    return components(sorted(networks), sorted(legs))


async def component_of(db: Reader, id: str) -> Component | None:
    """The component of a network or router; None when there is neither."""
    found = await components_of(db, [id])
    if found:
        return found[0]
    return await component_of_router(db, id) if await ROUTERS.get(db, id) is not None else None


async def realizable(db: Reader) -> list[str]:
    """Ids of networks with a guest's port on a host, and of routers with a gateway: what some host should have."""
    networks = await db.all("SELECT DISTINCT network_id FROM ports WHERE host IS NOT NULL AND device_owner NOT LIKE 'network:%'")
    routers = await db.all("SELECT id FROM routers WHERE gateway_network_id IS NOT NULL")
    return sorted(row[0] for row in [*networks, *routers])


async def idle_on(db: Reader, host: str) -> list[Component]:
    """The components that no host needs yet, and that `host` would be the first to have."""
    busy, hosts = set(await realizable(db)), await host_names(db)
    every = await components_of(db, [row[0] for row in await db.all("SELECT id FROM networks")])
    return [one for one in every if not busy & {*one.networks, *one.routers} and gateway_host(one.id, hosts) == host]


async def waiting(db: Reader) -> list[str]:
    """Ids of networks whose own ports are not ACTIVE, where there are hosts."""
    own = f"device_owner IN ('{DHCP}', '{ROUTER_INTERFACE}')"
    rows = await db.all(f"SELECT DISTINCT network_id FROM ports WHERE status <> 'ACTIVE' AND {own} AND EXISTS (SELECT 1 FROM hosts)")  # noqa: S608
    return sorted(row[0] for row in rows)


async def component_of_router(db: Reader, router_id: str) -> Component:
    """The component that a router is in."""
    networks = [row[0] for row in await db.all(f"{LEGS} AND device_id = ?", router_id)]
    found = await components_of(db, networks)
    return found[0] if found else Component(id=router_id, networks=(), routers=(router_id,))


async def load(db: Reader, component: Component, host: str | None = None) -> DomainRows:
    """All rows that the component's domain is made of; with `host`, guests' ports of that host alone."""
    routers = [one for id in component.routers if (one := await ROUTERS.get(db, id)) is not None]
    outside = sorted({one.gateway_network_id for one in routers if one.gateway_network_id} - set(component.networks))
    network_ids = [*component.networks, *outside]
    marks = _marks(network_ids)
    networks = {one.id: one for one in await NETWORKS.find(db, f"id IN ({marks})", *network_ids)}
    subnets = await SUBNETS.find(db, f"network_id IN ({marks}) ORDER BY created_at, id", *network_ids)
    ports = await _ports(db, component, host)
    router_marks = _marks(component.routers)
    floating = await FLOATING_IPS.find(db, f"router_id IN ({router_marks}) ORDER BY floating_ip_address", *component.routers)
    group_ids = sorted({group for port in ports for group in port.security_groups})
    groups = await SECURITY_GROUPS.find(db, f"id IN ({_marks(group_ids)}) ORDER BY id", *group_ids)
    rules = await rules_of(db, group_ids)
    remote = sorted({rule.remote_group_id for found in rules.values() for rule in found if rule.remote_group_id})
    members = await _members(db, remote, list(component.networks))
    return DomainRows(
        networks=networks, subnets=subnets, ports=ports, routers=routers, floating_ips=floating, groups=groups, rules=rules, members=members
    )


async def _ports(db: Reader, component: Component, host: str | None) -> list[Any]:
    ids = component.networks
    if host is None:
        where, args = "device_owner <> 'network:floatingip'", []
    else:
        where, args = "(host = ? OR device_owner IN ('network:router_interface', 'network:dhcp'))", [host]
    ports = await PORTS.find(db, f"network_id IN ({_marks(ids)}) AND {where} ORDER BY id", *ids, *args)
    if component.routers:
        legs = f"device_owner = '{ROUTER_GATEWAY}' AND device_id IN ({_marks(component.routers)}) ORDER BY id"
        ports = [one for one in ports if one.device_owner != ROUTER_GATEWAY] + await PORTS.find(db, legs, *component.routers)
    return ports


async def _members(db: Reader, groups: list[str], networks: list[str]) -> dict[str, list[str]]:
    """Group -> addresses of its ports on the networks, with what their allowed pairs add."""
    if not groups or not networks:
        return {}
    found: dict[str, set[str]] = {group: set() for group in groups}
    for group, address in await db.all(
        "SELECT security_group_id, ip_address FROM port_security_groups JOIN addresses ON addresses.port_id = port_security_groups.port_id "  # noqa: S608
        f"WHERE security_group_id IN ({_marks(groups)}) AND addresses.network_id IN ({_marks(networks)})",
        *groups, *networks,
    ):  # fmt: skip
        found[group].add(address)
    for group, pairs in await db.all(
        "SELECT security_group_id, allowed_address_pairs FROM port_security_groups JOIN ports ON ports.id = port_id "  # noqa: S608
        f"WHERE allowed_address_pairs <> '[]' AND security_group_id IN ({_marks(groups)}) AND network_id IN ({_marks(networks)})",
        *groups, *networks,
    ):  # fmt: skip
        found[group] |= {pair.ip_address for pair in PAIRS.decode(pairs)}
    return {group: sorted(addresses) for group, addresses in found.items()}


def _marks(values: Any) -> str:
    return ", ".join("?" * len(values)) or "NULL"


async def _in(db: Reader, sql: str, values: list[str]) -> list[Any]:
    return await db.all(f"{sql} IN ({_marks(values)})", *values) if values else []
