"""What a server's steps look up before they decide: the placement's wishes, the guest as a host is told of it, and its metadata."""

from pathlib import Path

import msgspec

from pileus.config import Config
from pileus.core.guests import Card, guest_of
from pileus.core.metadata import Facts, documents
from pileus.core.placement_request import hinted, request_of, with_hints
from pileus.core.routing import DomainRows
from pileus.model.errors import Invalid
from pileus.model.guests import Guest
from pileus.model.placement import PlacementRequest
from pileus.model.ports import Port, ServerPort
from pileus.model.routing import RoutingDomain
from pileus.model.servers import Server
from pileus.store import aggregates, device_tags, routing, server_groups
from pileus.store.database import Reader
from pileus.store.known_ports import KnownPorts
from pileus.store.ports import PORTS
from pileus.store.sealing import seal_of

GIB = 1 << 30


async def placement_request(db: Reader, server: Server, cluster: str | None = None) -> PlacementRequest:
    """What the server needs of a host, of a cluster if one is given, with where its group's members and the servers of its hints are."""
    size = int(server.image.get("virtual_size") or server.image.get("size") or 0)
    request = request_of(server, server.image.get("properties") or {}, root_gib=-(-size // GIB), cluster=cluster)
    named = hinted(server.hints, "same_host") + hinted(server.hints, "different_host")
    if named:
        request = with_hints(request, server.hints, await _hosts_of(db, named, server.project_id))
    group_id = await server_groups.group_of(db, server.id)
    if group_id is None:
        return request
    group = await server_groups.get(db, group_id)
    members = [member for member in await server_groups.members(db, group_id) if member != server.id]
    counts: dict[str, int] = {}
    for host in (await _hosts_of(db, members, None)).values():
        counts[host] = counts.get(host, 0) + 1
    most = int(group.rules.get("max_server_per_host", 1))
    return msgspec.structs.replace(request, group_policy=group.policy, group_hosts=counts, max_per_host=most)


async def aggregate_metadata(db: Reader) -> dict[str, dict[str, str]]:
    """Aggregate id -> its metadata."""
    return {one.id: one.metadata for one in await aggregates.every(db)}


async def _hosts_of(db: Reader, server_ids: list[str], project_id: str | None) -> dict[str, str]:
    """Where servers are; those of a project only, when one is named: a hint must not find another project's."""
    marks = ", ".join("?" * len(server_ids))
    sql = f"SELECT id, host, project_id FROM servers WHERE host IS NOT NULL AND removed_at IS NULL AND id IN ({marks})"  # noqa: S608
    return {row[0]: row[1] for row in await db.all(sql, *server_ids) if project_id in (None, row[2])}


async def guest_on(
    db: Reader, config: Config, server: Server, host: str, read_at: int = 0, known: KnownPorts | None = None
) -> tuple[Guest, list[RoutingDomain]]:
    """The server's guest as a host is told of it, with the domains that its cards need there; `read_at` is the number of this reading.
    `known`: what was read for others before."""
    if flaw := server.image.get("flaw"):
        raise Invalid(f"Image {server.image_id} is unacceptable: {flaw}")
    plugged = await PORTS.find(db, "device_id = ? ORDER BY created_at, id", server.id)
    found = await routing.with_rows(db, sorted({port.network_id for port in plugged}), host, config.physical_networks, known)
    home = {network.id: (domain.id, rows) for domain, rows in found for network in domain.networks}
    plugs: list[Card] = []
    cards: list[ServerPort] = []
    for port in plugged:
        domain_id, rows = home[port.network_id]
        card = _card(port, rows)
        cards.append(card)
        plugs.append(Card(port_id=card.id, network_id=card.network_id, domain_id=domain_id, mac=card.mac_address, mtu=card.mtu))
    groups = await _group_names(db, {group for port in plugged for group in port.security_groups}, [rows for _, rows in found])
    subnets = {subnet.id: subnet for _, rows in found for subnet in rows.subnets}
    password = seal_of(config.directory).open(server.admin_password) if server.admin_password else None
    tags = await device_tags.of_server(db, server.id)
    facts = Facts(server=server, ports=cards, subnets=subnets, groups=groups, password=password, tags=tags)
    domains = [msgspec.structs.replace(domain, read_at=read_at) for domain, _ in found]
    return guest_of(server, plugs, _images_of(config, server), documents(facts)), domains


def _images_of(config: Config, server: Server) -> Path:
    """The store whose file the server's disks are made of: the first that has it. Hosts elsewhere fetch it from whichever has it then."""
    stores = list(config.image_stores.values())
    content = server.image.get("content")
    there = (one for one in stores if content and (one / content).is_file())
    return stores[0] if len(stores) == 1 else next(there, stores[0])


def _card(port: Port, rows: DomainRows) -> ServerPort:
    network = rows.networks[port.network_id]
    return ServerPort(
        id=port.id,
        server_id=port.device_id,
        network_id=port.network_id,
        network_name=network.name,
        mac_address=port.mac_address,
        status=port.status,
        mtu=network.mtu,
        fixed_ips=port.fixed_ips,
        floating_ips=[(one.fixed_ip_address or "", one.floating_ip_address) for one in rows.floating_ips if one.port_id == port.id],
    )


async def _group_names(db: Reader, wanted: set[str], known: list[DomainRows]) -> list[str]:
    """The names of security groups; those of ports that are not on this host are looked up."""
    names = {group.id: group.name for rows in known for group in rows.groups if group.id in wanted}
    missing = sorted(wanted - names.keys())
    if missing:
        marks = ", ".join("?" * len(missing))
        rows = await db.all(f"SELECT id, name FROM security_groups WHERE id IN ({marks})", *missing)  # noqa: S608
        names |= {row[0]: row[1] for row in rows}
    return sorted(set(names.values()))
