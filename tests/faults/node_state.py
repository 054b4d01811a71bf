"""What must be true of a host after whatever was killed: it has what it was told to have, whole and once, and nothing else."""

import hashlib
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

from pileus.core.network_names import namespace_name, tap
from pileus.model.guests import Guest, Power
from pileus.model.routing import RoutingDomain
from pileus.node.network import namespaces
from pileus.node.network.linux import _instances
from pileus.node.storage.shared import FILE as OWNER
from tests.faults.node_life import Node

ON = (Power.RUNNING, Power.PAUSED)
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
    return [f"{name}: {found[name]} where {wanted[name]} is wanted" for name in wanted if found[name] != wanted[name]]


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
