"""What a host has: CPUs, memory, disk; how much of it is used; and, for `doctor`, which of the tools that guests need work here."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pileus.model.guests import Guest
from pileus.model.hosts import Capability, NumaNode

MIB = 1 << 20
GIB = 1 << 30
NODES = Path("/sys/devices/system/node")


class Machine(Protocol):
    """A host's size and use."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    numa: list[NumaNode]

    def used(self, guests: Iterable[Guest]) -> tuple[int, int]:
        """(MiB of memory, GiB of disk) in use now."""
        ...


class RealMachine:
    """This machine, as its kernel describes it, or one of `shares` equal parts of it: hosts that share a machine together promise no more
    memory and disk than it has. `state` lies on the file system that holds the disks."""

    def __init__(self, state: Path, shares: int = 1) -> None:
        self._state = state
        self._shares = shares
        self.vcpus = len(os.sched_getaffinity(0))
        self.memory_mib = _memory("MemTotal") // MIB // shares
        self.disk_gib = shutil.disk_usage(_existing(state)).total // GIB // shares
        self.numa = numa_nodes(NODES, os.sched_getaffinity(0))

    def used(self, guests: Iterable[Guest]) -> tuple[int, int]:
        """What the kernel says is in use, by guests or by anything else."""
        disk = shutil.disk_usage(_existing(self._state))
        memory = (_memory("MemTotal") - _memory("MemAvailable")) // MIB
        return memory // self._shares, (disk.total - disk.free) // GIB // self._shares


class SimulatedMachine:
    """A machine that is only said to exist; its use is what its guests were promised."""

    __slots__ = ("disk_gib", "memory_mib", "numa", "vcpus")

    def __init__(self, vcpus: int = 64, memory_mib: int = 262144, disk_gib: int = 4096) -> None:
        self.vcpus = vcpus
        self.memory_mib = memory_mib
        self.disk_gib = disk_gib
        self.numa: list[NumaNode] = []

    def used(self, guests: Iterable[Guest]) -> tuple[int, int]:
        """The sum over the guests."""
        memory = disk = 0
        for guest in guests:
            memory += guest.memory_mib
            disk += sum(one.size for one in guest.disks)
        return memory, disk // GIB


def numa_nodes(nodes: Path, usable: set[int]) -> list[NumaNode]:
    """The machine's NUMA nodes as its kernel describes them, with the CPUs that are ours to use; none where it says nothing."""
    found: list[NumaNode] = []
    for directory in sorted(nodes.glob("node[0-9]*"), key=lambda one: int(one.name.removeprefix("node"))):
        try:
            cpus = _cpu_list((directory / "cpulist").read_text())
            total = next((line.split()[-2] for line in (directory / "meminfo").read_text().splitlines() if "MemTotal:" in line), "0")
            pages: dict[int, int] = {}
            for size in directory.glob("hugepages/hugepages-*kB"):
                pages[int(size.name.removeprefix("hugepages-").removesuffix("kB"))] = int((size / "nr_hugepages").read_text())
        except (OSError, ValueError):  # a kernel that does not say, or a container that does not show it
            return []
        found.append(NumaNode(cpus=len(cpus & usable), memory_mib=int(total) // 1024, pages={kib: n for kib, n in pages.items() if n}))
    return found


def _cpu_list(text: str) -> set[int]:
    """The CPUs of a list like 0-3,8."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if part:
            low, _, high = part.partition("-")
            found.update(range(int(low), int(high or low) + 1))
    return found


def _memory(key: str) -> int:
    """Bytes of one line of /proc/meminfo."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return 0


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _tool(name: str, argv: list[str], package: str, needed_for: str, required: bool = True) -> Capability:
    """Run a tool once; where it does not run, say what it is needed for and how to get it."""
    try:
        found = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        works, detail = found.returncode == 0, (found.stdout or found.stderr).strip().splitlines()[:1]
    except (OSError, subprocess.TimeoutExpired) as error:
        works, detail = False, [str(error)]
    text = detail[0] if detail else ""
    remedy = "" if works else f"apt-get install {package}"
    return Capability(
        name=name, works=works, detail=text if works else f"{text} (needed for {needed_for})", remedy=remedy, required=required
    )


def examine_tools(state: Path) -> list[Capability]:
    """What QEMU guests need beside an accelerator, each tried."""
    from pileus.node.hypervisor.confinement import Confinement

    confinement = Confinement("doctor")
    refused = confinement.user_works()
    groups = confinement.controllers
    confinement.remove("none")
    return [
        _tool("qemu-system-x86_64", ["qemu-system-x86_64", "--version"], "qemu-system-x86", "guests of x86"),
        _tool("qemu-img", ["qemu-img", "--version"], "qemu-utils", "images and snapshots"),
        _tool("mkfs.ext4", ["mkfs.ext4", "-V"], "e2fsprogs", "ephemeral disks with a file system", required=False),
        Capability(
            name="own user for each guest",
            works=confinement.privileged and not refused,
            detail=refused or ("by setpriv" if confinement.privileged else "needs root"),
            remedy="run as root" if not confinement.privileged else "apt-get install util-linux" if refused else "",
        ),
        Capability(
            name="control groups",
            works=len(groups) == 3,
            detail=", ".join(groups) or "none that can be used",
            remedy=_groups_remedy(len(groups) == 3, confinement.privileged),
        ),
        _reflink(_existing(state)),
    ]


def _groups_remedy(works: bool, privileged: bool) -> str:
    if works:
        return ""
    return "mount the cpu, memory and pids controllers where root can make groups" if privileged else "run as root"


def _reflink(directory: Path) -> Capability:
    """Whether copies of images on this file system share their blocks."""
    import fcntl
    import tempfile

    from pileus.node.storage.local import FICLONE

    try:
        with tempfile.TemporaryFile(dir=directory) as source, tempfile.TemporaryFile(dir=directory) as target:
            source.write(bytes(4096))
            source.flush()
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    except OSError as error:
        detail = f"{directory}: {error.strerror}; images are linked where that will do, copied elsewhere"
        return Capability(name="reflink", works=False, detail=detail, remedy="put the state directory on XFS or btrfs")
    return Capability(name="reflink", works=True, detail=str(directory))
