"""What is on this host of a cloud, found by looking at the host itself and not at anybody's records; for `verify`."""

import contextlib
import json
import subprocess
from pathlib import Path

from pileus.core.disk_headers import read_backing_name, read_qcow2_header
from pileus.core.dnsmasq import owners
from pileus.core.network_names import namespace_name, tap
from pileus.model.census import Census, FoundDisk
from pileus.node.network import links, namespaces
from pileus.node.network.nft_load import is_filtered

HEAD = 4096


def take(state: Path, tag: str) -> Census:
    """Look at the node's directory `state`, the process table, and the namespaces that carry the tag. Blocking."""
    folder = state / "guests"
    guests = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    processes = hypervisor_processes(folder)
    found = namespaces.listed(namespace_name(tag, "").rstrip("-") + "-")
    prefix = tap("")
    return Census(
        tag=tag,
        guest_directories=guests,
        processes=processes,
        namespaces=sorted(found),
        taps={name: sorted(one for one in namespaces.inside(name, links.device_names) if one.startswith(prefix)) for name in found},
        broken_disks=[line for guest in guests for line in broken_disks(folder / guest, running=guest in processes)],
        disks=[disk for guest in guests for disk in disks_of(folder / guest)],
        addresses={namespace_name(tag, one.name): addresses_of(one) for one in _folders(state / "domains")},
        unfiltered=sorted(name for name in found if not is_filtered(name)),
    )


def _folders(place: Path) -> list[Path]:
    return sorted(one for one in place.iterdir() if one.is_dir()) if place.is_dir() else []


def disks_of(guest: Path) -> list[FoundDisk]:
    """What the heads of a guest's disks say; a disk that goes while it is looked at is passed over."""
    found: list[FoundDisk] = []
    for disk in sorted((guest / "disks").glob("*")) if (guest / "disks").is_dir() else []:
        try:
            with disk.open("rb") as file:
                head = file.read(HEAD)
            size = disk.stat().st_size
        except OSError:
            continue
        header, backing = read_qcow2_header(head), read_backing_name(head)
        backed = not backing or (disk.resolve().parent / backing).exists()
        size = size if header is None else header.virtual_size
        found.append(FoundDisk(guest=guest.name, name=disk.name, size=size, backing=backing, backed=backed))
    return found


def addresses_of(domain: Path) -> dict[str, str]:
    """Whom dnsmasq gives which address, by all its files of a domain."""
    found: dict[str, str] = {}
    for file in sorted((domain / "dnsmasq").glob("*/hosts")):
        with contextlib.suppress(OSError):
            found |= owners(file.read_text())
    return found


def hypervisor_processes(folder: Path) -> dict[str, list[int]]:
    """Guest id -> pids of QEMU processes that work in the guest's directory."""
    found: dict[str, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            program = (entry / "cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
            home = (entry / "cwd").readlink()
        except OSError:  # it ended
            continue
        if Path(program).name.startswith("qemu-system") and home.parent == folder.resolve():
            found.setdefault(home.name, []).append(int(entry.name))
    return found


def broken_disks(guest: Path, running: bool) -> list[str]:
    """What `qemu-img check` says of a guest's qcow2 disks; one that is in use is looked at without its lock, and only for corruption."""
    lines: list[str] = []
    for disk in sorted((guest / "disks").glob("*")) if (guest / "disks").is_dir() else []:
        with disk.open("rb") as file:
            if file.read(4) != b"QFI\xfb":
                continue
        if running:  # its tables are in QEMU's memory: a check from outside reports what is not so
            continue
        done = subprocess.run(["qemu-img", "check", "-f", "qcow2", "--output=json", str(disk)], capture_output=True, text=True)
        report = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        if done.returncode not in (0, 3) or report.get("corruptions") or report.get("check-errors"):
            lines.append(f"{guest.name}/{disk.name}: {done.stderr.strip() or report}")
    return lines
