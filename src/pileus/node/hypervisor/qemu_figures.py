"""Figures of a running guest: CPU time from the kernel, disks and memory from QEMU."""

import os
import time
from pathlib import Path
from typing import Any

from pileus.model.errors import NodeFailed
from pileus.model.guests import Diagnostics, ObservedPower
from pileus.node.hypervisor.qemu_guest import QemuGuest

_TICKS = os.sysconf("SC_CLK_TCK")


async def read_figures(guest: QemuGuest) -> Diagnostics:
    """Diagnostics; NodeFailed when the guest does not run."""
    if guest.process is None or guest.qmp is None:
        raise NodeFailed("The server does not run, so it has no figures.")
    cpus = await guest.qmp.execute("query-cpus-fast")
    blocks = await guest.qmp.execute("query-blockstats")
    record = guest.record
    pid = guest.process.pid
    return Diagnostics(
        state=guest.power.value if guest.power is not ObservedPower.STOPPED else "shutdown",
        driver="qemu",
        hypervisor=record.accelerator,
        uptime=int(time.time() - record.started_at) if record.started_at else 0,
        config_drive=record.guest.config_drive,
        cpu_details=[_cpu(pid, cpu) for cpu in cpus],
        nic_details=[{"mac_address": nic.mac} for nic in record.guest.nics],
        disk_details=[_disk(block["stats"]) for block in blocks if block.get("qdev")],
        memory_maximum=record.guest.memory_mib,
        memory_used=resident_mib(pid),
        extra={"machine": record.machine, "accelerator_reason": record.accelerator_reason},
    )


def _cpu(pid: int, cpu: dict[str, Any]) -> dict[str, int]:
    """A virtual CPU is a thread of QEMU's; its time is user and system time together."""
    fields = _stat(Path(f"/proc/{pid}/task/{cpu['thread-id']}/stat"))
    ticks = int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    return {"id": int(cpu["cpu-index"]), "time": ticks * (1_000_000_000 // _TICKS)}


def _stat(path: Path) -> list[str]:
    """The fields after the program's name, which may itself hold spaces."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _disk(stats: dict[str, Any]) -> dict[str, int]:
    return {
        "read_bytes": stats["rd_bytes"],
        "read_requests": stats["rd_operations"],
        "write_bytes": stats["wr_bytes"],
        "write_requests": stats["wr_operations"],
        "errors_count": stats["failed_rd_operations"] + stats["failed_wr_operations"],
    }


def resident_mib(pid: int) -> int:
    """Memory that a process holds."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20
