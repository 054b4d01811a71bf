"""What a server's steps look up before they decide: the placement's wishes, the guest as a host is told of it, and its metadata."""

import msgspec

from pileus.config import Config
from pileus.core.guests import Card, guest_of
from pileus.core.metadata import Facts, documents
from pileus.core.placement_request import hinted, request_of, with_hints
from pileus.model.guests import Guest
from pileus.model.placement import PlacementRequest
from pileus.model.ports import ServerPort
from pileus.model.routing import RoutingDomain
from pileus.model.servers import Server
from pileus.store import aggregates, device_tags, ports, routing, server_groups
from pileus.store.database import Reader
from pileus.store.ports import PORTS
from pileus.store.sealing import seal_of
from pileus.store.subnets import SUBNETS

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


async def guest_on(db: Reader, config: Config, server: Server, host: str) -> tuple[Guest, list[RoutingDomain]]:
    """The server's guest as a host is told of it, with the domains that its cards need there."""
    cards = (await ports.ports_of(db, [server.id]))[server.id]
    domains = await routing.domains_of(db, sorted({card.network_id for card in cards}), host, config.physical_networks)
    home = {network.id: domain.id for domain in domains for network in domain.networks}
    plugs = [
        Card(port_id=one.id, network_id=one.network_id, domain_id=home[one.network_id], mac=one.mac_address, mtu=one.mtu) for one in cards
    ]
    return guest_of(server, plugs, config.directory / "images", await metadata_of(db, config, server, cards)), domains


async def metadata_of(db: Reader, config: Config, server: Server, cards: list[ServerPort]) -> dict[str, str]:
    """The documents that the guest may read of itself."""
    wanted = sorted({address.subnet_id for card in cards for address in card.fixed_ips})
    marks = ", ".join("?" * len(wanted))
    found = await SUBNETS.find(db, f"id IN ({marks})", *wanted) if wanted else []
    plugged = await PORTS.find(db, "device_id = ?", server.id)
    groups = sorted({group for port in plugged for group in port.security_groups})
    marks = ", ".join("?" * len(groups))
    names = await db.all(f"SELECT DISTINCT name FROM security_groups WHERE id IN ({marks}) ORDER BY name", *groups) if groups else []  # noqa: S608
    password = seal_of(config.directory).open(server.admin_password) if server.admin_password else None
    facts = Facts(
        server=server,
        ports=cards,
        subnets={subnet.id: subnet for subnet in found},
        groups=[row[0] for row in names],
        password=password,
        tags=await device_tags.of_server(db, server.id),
    )
    return documents(facts)
