"""Gathers what `verify` compares: the records of the store, and a census of this host."""

import os
import socket
from pathlib import Path
from typing import Any

import msgspec

from pileus.config import Config
from pileus.core.availability import is_fenced
from pileus.core.network_names import namespace_name, tap
from pileus.core.servers import Next, next_step
from pileus.core.verify import World, WorldMove, WorldPort
from pileus.model.census import Census
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.migrations import MigrationKind, MigrationStep
from pileus.model.servers import Server
from pileus.store import hosts, routing
from pileus.store.database import Reader
from pileus.store.images import IMAGES
from pileus.store.migration_records import alive
from pileus.store.ports import PORTS
from pileus.store.providers import PROVIDERS
from pileus.store.servers import SERVERS


async def gather(db: Reader, config: Config, host: str) -> World:
    """The world as the records say, to be seen from a host."""
    servers = await SERVERS.find(db, "removed_at IS NULL")
    ports = await PORTS.find(db)
    known = await hosts.every_host(db)
    world = World(
        host=host,
        servers=servers,
        settled=frozenset(one.id for one in servers if next_step(one) == Next.NOTHING and one.task_state is None),
        ports=[
            WorldPort(
                id=port.id,
                network_id=port.network_id,
                device_id=port.device_id,
                device_owner=port.device_owner,
                host=port.host,
                addresses=[(one.subnet_id, one.ip_address) for one in port.fixed_ips],
            )
            for port in ports
        ],
        networks=frozenset([row[0] for row in await db.all("SELECT id FROM networks")]),
        subnets=frozenset([row[0] for row in await db.all("SELECT id FROM subnets")]),
        floating=[(row[0], row[1]) for row in await db.all("SELECT floating_ip_address, port_id FROM floating_ips")],
        provider_of_host={one.name: one.id for one in known},
        fenced=frozenset(one.name for one in known if is_fenced(one)),
        moves=[
            WorldMove(
                id=one.id,
                server_id=one.server_id,
                hosts=[host for host in (one.source, one.destination) if host],
                evacuation=one.kind == MigrationKind.EVACUATION,
                left=one.step == MigrationStep.CLEAN,
            )
            for one in await alive(db)
        ],
        **await _placement(db),
        **await _images(db, config.directory / "images"),
    )
    return world


async def _placement(db: Reader) -> dict[str, Any]:
    held: dict[str, dict[str, dict[str, int]]] = {}
    for consumer, provider, resources in await db.all("SELECT consumer_id, provider_id, resources FROM allocations"):
        held.setdefault(consumer, {})[provider] = msgspec.json.decode(resources, type=dict[str, int])
    providers = await PROVIDERS.find(db)
    return {
        "allocations": held,
        "provider_used": {one.id: dict(one.used) for one in providers},
        "provider_capacity": {one.id: {name: stock.capacity for name, stock in one.inventories.items()} for one in providers},
    }


async def _images(db: Reader, folder: Path) -> dict[str, Any]:
    contents: dict[str, list[tuple[str, int]]] = {}
    for image in await IMAGES.find(db, "content IS NOT NULL"):
        contents.setdefault(str(image.content), []).append((image.id, image.size or 0))
    files = {one.name: one.stat().st_size for one in folder.iterdir() if one.is_file() and len(one.name) == 64} if folder.is_dir() else {}
    return {"image_contents": contents, "image_files": files}


def running_on(censuses: dict[str, Census]) -> dict[str, list[str]]:
    """Guest -> the hosts that have a process of it, by host's census."""
    found: dict[str, list[str]] = {}
    for host, census in censuses.items():
        for guest in census.processes:
            found.setdefault(guest, []).append(host)
    return found


async def with_host(db: Reader, world: World, census: Census) -> World:
    """The world as one host's part of it says: `world.host` is that host."""
    domains = {
        namespace_name(census.tag, domain.id): [tap(port.id) for port in domain.ports if port.local]
        for domain in await routing.all_domains(db, world.host)
    }
    return msgspec.structs.replace(
        world,
        guests=[_guest(server, census.processes.get(server.id)) for server in world.servers if server.id in census.guest_directories],
        guest_directories=census.guest_directories,
        processes=census.processes,
        namespaces=census.namespaces,
        taps=census.taps,
        domains=domains,
        broken_disks=census.broken_disks,
    )


def _guest(server: Server, pids: list[int] | None) -> ObservedGuest:
    """A guest as the process table has it: a paused one has a process too."""
    if not pids:
        return ObservedGuest(id=server.id, power=ObservedPower.STOPPED)
    paused = server.observed is not None and server.observed.power == ObservedPower.PAUSED
    return ObservedGuest(id=server.id, power=ObservedPower.PAUSED if paused else ObservedPower.RUNNING, pid=pids[0])


def this_host() -> str:
    """This host's name in the cloud."""
    return os.environ.get("PILEUS_HOST") or socket.gethostname()
