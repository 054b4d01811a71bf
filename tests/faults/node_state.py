"""What must be true of a host after whatever was killed: it has what it was told to have, whole and once, and nothing else."""

import hashlib
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from pileus.core.network_names import namespace_name, tap
from pileus.core.servers import REACHED, derive
from pileus.core.verify import World, guests, migrations, ports, servers
from pileus.model.census import Census
from pileus.model.guests import Guest, ObservedGuest, Power
from pileus.model.hosts import Host
from pileus.model.routing import RoutingDomain
from pileus.model.servers import Server, ServerFlavor
from pileus.node.network import namespaces
from pileus.node.network.linux import _instances
from pileus.node.storage.shared import FILE as OWNER
from pileus.store.world import view_of
from tests.faults.node_life import Node

ON = (Power.RUNNING, Power.PAUSED)
ON_HOSTS = (
    ports.namespaces_are_wanted, ports.wanted_namespaces_exist, ports.taps_have_ports, ports.namespaces_are_filtered,
    ports.guests_are_given_their_addresses, ports.nobody_else_is_given_addresses,
)  # fmt: skip
"""Of the invariants of ports, those that look at hosts; the others are of records that these tests have none of."""
INVARIANTS = [
    *(one for subject in (guests, servers, migrations) for one in subject.INVARIANTS),
    *(one for one in ports.INVARIANTS if one.check in ON_HOSTS),
]
TRANSIENT = (".log", ".sock", "lock", "pid")
"""Ends of names of files that change while nothing is done."""


def wrong_with(node: Node, guest: Guest | None, domain: RoutingDomain | None) -> list[str]:
    """What is missing, doubled or left over, in words."""
    census = node.census()
    wanted: dict[str, Any] = {
        "broken disks": [],
        "processes": {guest.id: 1} if guest and guest.power in ON else {},
        "guests": [guest.id] if guest else [],
        "disks": sorted((disk.name, disk.size) for disk in guest.disks) if guest else [],
        "base images": sorted({disk.image.sha256 for disk in guest.disks if disk.image}) if guest and not node.shared else [],
        "namespaces": [namespace_name(node.tag, domain.id)] if domain else [],
        "taps": {namespace_name(node.tag, domain.id): sorted(tap(one.id) for one in domain.ports if one.local)} if domain else {},
        "daemons": [1] * len(_instances(domain)) if domain else [],
        "unfiltered": [],
        "left half done": [],
        "control groups": [guest.id] if guest else [],
        "memory": [f"size={guest.memory_mib * 1024 + 8}K"] if guest and guest.power in ON else [],
    }
    found: dict[str, Any] = {
        "broken disks": census.broken_disks,
        "processes": {name: len(pids) for name, pids in census.processes.items()},
        "guests": _names(node.state / "guests"),
        "disks": sorted((one.name, one.size) for one in census.disks or [] if one.name != OWNER),
        "base images": _names(node.state / "base"),
        "namespaces": census.namespaces,
        "taps": census.taps,
        "daemons": sorted(node.daemons().values()),
        "unfiltered": census.unfiltered,
        "left half done": [str(path) for path in node.state.rglob("*") if "partial" in path.name or path.name.startswith(".")],
        "control groups": _groups(node) or ([guest.id] if guest and guest.power not in ON else []),  # of one that is off there may be none
        "memory": [size for pids in census.processes.values() for pid in pids for size in _memory(pid)],
    }
    differs = [f"{name}: {found[name]} where {wanted[name]} is wanted" for name in wanted if found[name] != wanted[name]]
    return differs + breaches([(node, guest, domain)], {node.name: census})


def breaches(hosts: list[tuple[Node, Guest | None, RoutingDomain | None]], known: dict[str, Census] | None = None) -> list[str]:
    """What `verify` finds on hosts that are to have these guests and domains, by its own invariants: records against what is there."""
    placed = [server_of(guest, node.name) for node, guest, _ in hosts if guest is not None]
    known_hosts = [Host(id=node.name, name=node.name, number=1, service_id=node.name) for node, _, _ in hosts]
    world = World(hosts=known_hosts, servers=placed, settled=frozenset(one.id for one in placed))
    censuses = known or {node.name: node.census() for node, _, _ in hosts}
    views = [view_of(world, node.name, censuses[node.name], [domain] if domain else []) for node, _, domain in hosts]
    world = msgspec.structs.replace(world, views=views)
    return [f"{one.name}: {one.evidence}" for invariant in INVARIANTS for one in invariant.breaches(world)]


def server_of(guest: Guest, host: str) -> Server:
    """The record of a server that has reached what is wanted of it."""
    flavor = ServerFlavor(id="f", name="f", vcpus=guest.vcpus, ram=guest.memory_mib, disk=0)
    counters: dict[str, Any] = {"reboots_soft": guest.reboots_soft, "reboots_hard": guest.reboots_hard, "builds": guest.builds}
    seen = ObservedGuest(id=guest.id, power=REACHED[guest.power], generation=guest.generation, hypervisor="qemu", **counters)
    server = Server(
        id=guest.id,
        project_id=guest.project_id,
        user_id="u",
        name=guest.name,
        hostname="guest",
        host=host,
        availability_zone="nova",
        vcpus=guest.vcpus,
        memory_mib=guest.memory_mib,
        flavor=flavor,
        power=guest.power,
        generation=guest.generation,
        observed=seen,
        launched_at=1.0,
        request_id="r",
        **counters,
    )
    return derive(server)


def _groups(node: Node) -> list[str]:
    return sorted({one.name for one in Path("/sys/fs/cgroup").glob(f"*/pileus-{node.tag}/*") if one.is_dir()})


def _names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.is_dir() else []


def _memory(pid: int) -> list[str]:
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return [after for before, after in pairwise(words) if before == "-m"]


def fingerprint(node: Node) -> dict[str, Any]:
    """All of a host that a request may change: files, processes, devices, addresses, routes, rules. Blocking."""
    found: dict[str, Any] = {"processes": node.census().processes, "daemons": node.daemons()}
    for path in sorted(node.state.rglob("*")):
        if path.is_file() and not path.name.endswith(TRANSIENT):
            content = "" if "disks" in path.parts else hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = (path.stat().st_ino if "disks" in path.parts else 0, content)
    for name in filter(namespaces.exists, namespaces.listed(f"pileus-{node.tag}-")):
        found |= {f"{name} {line}": 1 for line in namespaces.inside(name, _network)}
    devices = [name for name in os.listdir("/sys/class/net") if node.tag in name]
    found["host"] = [sorted(devices), _said("nft", "-s", "list", "table", "inet", f"pileus_{node.tag}")]
    return found


def _network() -> list[str]:
    """Without what the kernel decides by itself, such as whether a device has a carrier."""
    links = [re.sub(r"<.*?>|state \w+", "", line) for line in _said("ip", "-o", "link").splitlines()]
    commands = (["nft", "-s", "list", "ruleset"], ["ip", "-o", "addr"], ["ip", "route", "show", "table", "all"], ["ip", "rule"])
    lines = [*links, *(line for command in commands for line in _said(*command).splitlines())]
    return [line for line in lines if " fe80" not in line and "proto kernel" not in line]


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    names = sorted(before.keys() | after.keys())
    return [f"{name}: {before.get(name)} became {after.get(name)}" for name in names if before.get(name) != after.get(name)]
