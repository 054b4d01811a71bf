"""Routing domains from the store: which networks belong together, and what each host is told of them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from pileus import clock
from pileus.core.routing import (
    Candidate,
    Component,
    DomainRows,
    Places,
    assigned,
    components,
    domain_on,
    gateway_host,
    hosts_needing,
    is_provided,
    router_host,
    vtep,
)
from pileus.model.base import Model
from pileus.model.hosts import DRAIN
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, AddressPair, Port
from pileus.model.routers import Router
from pileus.model.routing import RoutingDomain
from pileus.store.database import Database, Reader, Transaction
from pileus.store.floating_ips import FLOATING_IPS
from pileus.store.known_ports import KnownPorts
from pileus.store.networks import NETWORKS
from pileus.store.ports import PORTS
from pileus.store.routers import ROUTERS
from pileus.store.security_groups import SECURITY_GROUPS, rules_of
from pileus.store.subnets import SUBNETS

HOST_ONLY = {"public": ""}
SILENCE = 60.0  # for a choice that is not kept; the one that is, the routing reconciler makes with the configured value
PAIRS = msgspec.json.Decoder(list[AddressPair])
LEGS = f"SELECT DISTINCT network_id, device_id FROM ports WHERE device_owner = '{ROUTER_INTERFACE}'"  # noqa: S608


class Endpoint(Model, frozen=True, kw_only=True):
    """Of a host's report, where its tunnels end."""

    address: str = ""


class Realized(Model, frozen=True, kw_only=True):
    """Of a host's report, when it was made and which domains the host has."""

    reported_at: float
    domains: dict[str, str] = {}


ENDPOINT = msgspec.json.Decoder(Endpoint)
REALIZED = msgspec.json.Decoder(Realized)


async def domains_of(db: Reader, network_ids: list[str], host: str, physical: Mapping[str, str] = HOST_ONLY) -> list[RoutingDomain]:
    """The domains that contain these networks, as `host` is to realize them. Networks that are not there are passed over."""
    return [domain for domain, _ in await with_rows(db, network_ids, host, physical)]


async def with_rows(
    db: Reader, network_ids: list[str], host: str, physical: Mapping[str, str] = HOST_ONLY, known: KnownPorts | None = None
) -> list[tuple[RoutingDomain, DomainRows]]:
    """As `domains_of`, each with the rows that it is made of."""
    found: list[tuple[RoutingDomain, DomainRows]] = []
    for component in await components_of(db, network_ids):
        rows, places = await load_on(db, component, host, known)
        found.append((domain_on(component, rows, host, places, physical), rows))
    return found


async def alone_on(
    db: Reader, component: Component, host: str, physical: Mapping[str, str] = HOST_ONLY, known: KnownPorts | None = None
) -> RoutingDomain | None:
    """The component's domain as a host realizes it that has guests there and reaches no other; None where that concerns others as well."""
    rows, places = await load_on(db, component, host, known)
    guests = {name for port in rows.ports if not port.device_owner.startswith("network:") for name in (port.host, port.migrating_to)}
    if places.addresses or is_provided(rows, component) or host not in guests:
        return None
    return domain_on(component, rows, host, places, physical)


async def all_domains(db: Reader, host: str, physical: Mapping[str, str] = HOST_ONLY) -> list[RoutingDomain]:
    """Every domain that the host is to realize: those of its guests, and those whose routers it carries."""
    found: list[RoutingDomain] = []
    for component in await components_on(db, host):
        if host in await hosts_with(db, component, host):
            rows, places = await load_on(db, component, host)
            found.append(domain_on(component, rows, host, places, physical))
    return found


async def hosts_with(db: Reader, component: Component, otherwise: str | None = None) -> set[str]:
    """The hosts that need the component's domain; `otherwise` carries its routers where no host is known."""
    routers = await _routers(db, component)
    return hosts_needing(routers, await guest_hosts(db, component), await router_host_of(db, component) or otherwise)


async def load_on(db: Reader, component: Component, host: str, known: KnownPorts | None = None) -> tuple[DomainRows, Places]:
    """All that a component's domain on one host is made of: with the ports of other hosts only where these can be reached."""
    places = await places_of(db, component, host)
    return await load(db, component, None if places.addresses.get(host) else host, known), places


async def places_of(db: Reader, component: Component, host: str | None = None) -> Places:
    """Where the component's hosts are (None: for any host's eyes), and which of them carries its routers."""
    router = await router_host_of(db, component)
    own = await _addresses(db, {host}) if host else {}
    if host and not own:  # which reaches no other
        return Places(router=router, addresses={})
    names = await guest_hosts(db, component) | {one for one in (router,) if one}
    return Places(router=router, addresses=own | await _addresses(db, names - own.keys()))


async def guest_hosts(db: Reader, component: Component) -> set[str]:
    """The hosts of the component's guests, and those that guests are moving to."""
    rows = await db.all(
        f"SELECT DISTINCT host, migrating_to FROM ports WHERE network_id IN ({_marks(component.networks)}) "  # noqa: S608
        "AND (host IS NOT NULL OR migrating_to IS NOT NULL) AND device_owner NOT LIKE 'network:%'",
        *component.networks,
    )
    return {host for row in rows for host in row if host}


async def _addresses(db: Reader, names: set[str]) -> dict[str, str]:
    rows = await _in(db, "SELECT name, report FROM hosts WHERE report IS NOT NULL AND name", sorted(names))
    found = {row[0]: vtep(ENDPOINT.decode(row[1]).address) for row in rows}
    return {name: address for name, address in found.items() if address}


async def router_host_of(db: Reader, component: Component) -> str | None:
    """The host that carries the component's routers, or that would if it was chosen now; None when there is no host, or no router."""
    if not component.routers:
        return None
    current = assigned(component, await assignments(db, component))
    return current or router_host(component.id, await candidates(db, clock.now(), SILENCE), None)


async def assignments(db: Reader, component: Component) -> dict[str, str]:
    """Router id -> the host that was chosen to carry the domain that had the router's id as its name."""
    return {row[0]: row[1] for row in await _in(db, "SELECT domain_id, host FROM router_hosts WHERE domain_id", [*component.routers])}


async def router_hosts(db: Reader) -> dict[str, str]:
    """Domain id -> the host that was chosen to carry its routers."""
    return {row[0]: row[1] for row in await db.all("SELECT domain_id, host FROM router_hosts")}


async def carried_by(db: Reader, host: str) -> list[str]:
    """The domains whose routers a host carries."""
    return [row[0] for row in await db.all("SELECT domain_id FROM router_hosts WHERE host = ? ORDER BY domain_id", host)]


async def assign(tx: Transaction, component: Component, host: str, now: float) -> None:
    """Have a host carry the component's routers."""
    marks = _marks(component.routers)
    await tx.execute(f"DELETE FROM router_hosts WHERE domain_id IN ({marks})", *component.routers)  # noqa: S608
    await tx.execute("INSERT INTO router_hosts (domain_id, host, since) VALUES (?, ?, ?)", component.id, host, now)


async def unassign(db: Database, domain_id: str) -> None:
    """Forget who carried a router that is gone."""
    if await db.value("SELECT 1 FROM router_hosts WHERE domain_id = ?", domain_id) is not None:
        await db.write(lambda tx: tx.execute("DELETE FROM router_hosts WHERE domain_id = ?", domain_id))


async def candidates(db: Reader, now: float, silence: float) -> list[Candidate]:
    """Every host, as one that could carry routers."""
    rows = await db.all("SELECT name, enabled, disabled_reason, forced_down, seen_at FROM hosts ORDER BY name")
    return [
        Candidate(
            name=name,
            up=not forced_down and now - seen_at < silence,
            enabled=bool(enabled),
            drained=not enabled and reason == DRAIN,
        )
        for name, enabled, reason, forced_down, seen_at in rows
    ]


async def reported(db: Reader) -> dict[str, Realized]:
    """Of each host that has reported, the domains that it has."""
    rows = await db.all("SELECT name, report FROM hosts WHERE report IS NOT NULL ORDER BY name")
    return {row[0]: REALIZED.decode(row[1]) for row in rows}


async def host_names(db: Reader) -> list[str]:
    """The names of all hosts."""
    return [row[0] for row in await db.all("SELECT name FROM hosts ORDER BY name")]


async def components_on(db: Reader, host: str) -> list[Component]:
    """The components that may be on a host: those of its ports, those whose routers it carries, and those whose routers have gateways."""
    legs = f"SELECT network_id FROM ports WHERE device_owner = '{ROUTER_INTERFACE}' AND device_id IN"  # noqa: S608
    networks = await db.all(
        f"SELECT network_id FROM ports WHERE ? IN (host, migrating_to) "  # noqa: S608
        f"UNION {legs} (SELECT domain_id FROM router_hosts WHERE host = ?) "
        f"UNION {legs} (SELECT id FROM routers WHERE gateway_network_id IS NOT NULL)",
        host, host,
    )  # fmt: skip
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


async def load_everywhere(db: Reader, component: Component, known: KnownPorts) -> tuple[DomainRows, Places]:
    """All that a component's domain is made of on any of its hosts."""
    ports = await _with_gateways(db, component, await known.of(db, component.networks))
    guests = {host for port in ports if not port.device_owner.startswith("network:") for host in (port.host, port.migrating_to) if host}
    router = await router_host_of(db, component)
    places = Places(router=router, addresses=await _addresses(db, guests | {one for one in (router,) if one}))
    return await _rows(db, component, ports, everywhere=bool(places.addresses)), places


async def load(db: Reader, component: Component, host: str | None = None, known: KnownPorts | None = None) -> DomainRows:
    """All rows that the component's domain is made of; with `host`, guests' ports of that host alone."""
    return await _rows(db, component, await _ports(db, component, host, known or KnownPorts()), everywhere=host is None)


async def _rows(db: Reader, component: Component, ports: list[Port], everywhere: bool) -> DomainRows:
    """The rest of the rows; the members of remote groups where hosts reach each other, else those on a host are enough for it."""
    routers = await _routers(db, component)
    outside = sorted({one.gateway_network_id for one in routers if one.gateway_network_id} - set(component.networks))
    network_ids = [*component.networks, *outside]
    marks = _marks(network_ids)
    networks = {one.id: one for one in await NETWORKS.find(db, f"id IN ({marks})", *network_ids)}
    subnets = await SUBNETS.find(db, f"network_id IN ({marks}) ORDER BY created_at, id", *network_ids)
    routed = f"router_id IN ({_marks(component.routers)}) ORDER BY floating_ip_address"
    floating = await FLOATING_IPS.find(db, routed, *component.routers) if component.routers else []
    group_ids = sorted({group for port in ports for group in port.security_groups})
    groups = await SECURITY_GROUPS.find(db, f"id IN ({_marks(group_ids)}) ORDER BY id", *group_ids)
    rules = await rules_of(db, group_ids)
    remote = sorted({rule.remote_group_id for found in rules.values() for rule in found if rule.remote_group_id})
    wanted = everywhere or any(networks[id].uplink is not None for id in component.networks)
    members = await _members(db, remote, list(component.networks)) if wanted else {}
    return DomainRows(
        networks=networks, subnets=subnets, ports=ports, routers=routers, floating_ips=floating, groups=groups, rules=rules, members=members
    )


async def _routers(db: Reader, component: Component) -> list[Router]:
    return [one for id in component.routers if (one := await ROUTERS.get(db, id)) is not None]


async def _ports(db: Reader, component: Component, host: str | None, known: KnownPorts) -> list[Port]:
    ids = component.networks
    if host is None:
        ports = await known.of(db, ids)
    else:  # by an index each: a network may have thousands
        kinds = ("host = ?", "migrating_to = ?", f"device_owner IN ('{ROUTER_INTERFACE}', '{DHCP}')")
        some = " UNION ".join(f"SELECT id FROM ports WHERE {kind} AND network_id IN ({_marks(ids)})" for kind in kinds)  # noqa: S608
        ports = await known.where(db, (*ids, host), f"id IN ({some}) ORDER BY id", host, *ids, host, *ids, *ids)
    return await _with_gateways(db, component, ports)


async def _with_gateways(db: Reader, component: Component, ports: list[Port]) -> list[Port]:
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
