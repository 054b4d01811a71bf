"""Prepares a guest's files and descriptors, and starts its QEMU. Everything here blocks and runs in a thread."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pileus.core.qemu_argv import DiskFile, Launch, carrier_argv, qemu_argv, translation_buffer_mib
from pileus.model.errors import NodeFailed
from pileus.model.guests import Guest
from pileus.node.hypervisor.accelerators import kvm_groups
from pileus.node.hypervisor.config_drive import write_config_drive
from pileus.node.hypervisor.driver import DISKS_LOST, OpenTap
from pileus.node.hypervisor.qemu_process import spawn
from pileus.node.hypervisor.qmp import listening_socket
from pileus.node.storage.local import LocalStorage

if TYPE_CHECKING:
    from pileus.node.hypervisor.qemu_guest import Host

_UEFI = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
]


class Kind(StrEnum):
    """What a QEMU is started for."""

    GUEST = "guest"
    INCOMING = "incoming"  # to wait for a guest from another host
    CARRIER = "carrier"  # to carry the disks of a guest that is off


@dataclass
class Start:
    """One start of one guest."""

    guest: Guest
    directory: Path
    user: int | None
    accelerator: str
    saved: int | None = None  # descriptor of the memory to start from
    kind: Kind = Kind.GUEST
    machine: str = ""  # where its memory comes from another QEMU: that one's
    cpu_model: str = ""
    even_memory: bool = False


def prepare(directory: Path, guest: Guest, user: int | None, storage: LocalStorage) -> dict[str, DiskFile]:
    """The guest's disks, made if missing, and its config drive, made anew. NodeFailed where a disk that was made once is lost."""
    if guest.made and any(disk.name == "root" for disk in guest.disks) and not (directory / "disks" / "root").exists():
        raise NodeFailed(DISKS_LOST)
    disks = {disk.name: storage.make(directory, disk, user) for disk in guest.disks}
    if guest.config_drive:
        write_config_drive(directory / "config.iso", guest.metadata, user)
    return disks


def open_taps(guest: Guest, open_tap: OpenTap) -> dict[str, int]:
    """Port id -> descriptor, for each card; all or none."""
    taps: dict[str, int] = {}
    try:
        for nic in guest.nics:
            taps[nic.port_id] = open_tap(nic.domain_id, nic.port_id)
    except BaseException:
        close_all(taps.values())
        raise
    return taps


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


def launch(start: Start, disks: dict[str, DiskFile], taps: dict[str, int], lock: int, host: "Host") -> subprocess.Popen[bytes]:
    """Start QEMU with its CPUs stopped. Owns `taps`; `lock` stays the caller's (QEMU inherits a copy)."""
    sockets = []
    try:
        names = ("qmp.sock",) if start.kind is Kind.CARRIER else ("qmp.sock", "serial.sock")
        sockets = [listening_socket(start.directory / name) for name in names]
        if start.kind is Kind.CARRIER:
            argv = carrier_argv(start.guest, Launch(accelerator="tcg", qmp_fd=sockets[0].fileno(), serial_fd=-1, disks=disks))
        else:
            argv = _argv(start, [one.fileno() for one in sockets], disks, taps, host.storage)
        groups = kvm_groups() or [] if start.accelerator == "kvm" else []
        descriptors = [lock, *taps.values(), *(one.fileno() for one in sockets), *([] if start.saved is None else [start.saved])]
        return spawn(start.directory, host.confinement.prefix(start.user, groups) + argv, descriptors)
    finally:
        close_all(taps.values())
        for one in sockets:
            one.close()


def _argv(start: Start, sockets: list[int], disks: dict[str, DiskFile], taps: dict[str, int], storage: LocalStorage) -> list[str]:
    _console_log(start)
    _run_directory(start)
    firmware, variables = _firmware(start)
    guest = start.guest
    launch = Launch(
        accelerator=start.accelerator,
        translation_mib=translation_buffer_mib(guest.memory_mib),
        qmp_fd=sockets[0],
        serial_fd=sockets[1],
        taps=taps,
        disks=disks,
        config_drive="config.iso" if guest.config_drive else None,
        firmware=firmware,
        firmware_variables=variables,
        kernel=_base_file(start, storage, guest.kernel),
        initrd=_base_file(start, storage, guest.initrd),
        incoming_fd=start.saved,
        incoming=start.kind is Kind.INCOMING,
        machine=start.machine,
        cpu_model=start.cpu_model,
        even_memory=start.even_memory,
    )
    return qemu_argv(guest, launch)


def hide_display(directory: Path) -> None:
    """Take the display's socket from the directory that QEMU may write, before the guest's first instruction: from then on
    whoever opens it by name gets this socket and no other."""
    run = directory / "run"
    try:
        (run / "vnc.sock").rename(directory / "vnc.sock")
    except FileNotFoundError:  # a guest without a display
        (directory / "vnc.sock").unlink(missing_ok=True)
    shutil.rmtree(run, ignore_errors=True)


def _console_log(start: Start) -> None:
    """A new, empty log for this power-on, which QEMU can only append to."""
    path = start.directory / "console.log"
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    if start.user is not None:
        os.chown(path, start.user, start.user)


def _run_directory(start: Start) -> None:
    run = start.directory / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(mode=0o700)
    if start.user is not None:
        os.chown(run, start.user, start.user)


def _base_file(start: Start, storage: LocalStorage, path: str | None) -> str | None:
    return os.path.relpath(storage.place_file(Path(path)), start.directory) if path else None


def _firmware(start: Start) -> tuple[DiskFile | None, DiskFile | None]:
    """UEFI's code, and this guest's own copy of its variables."""
    if start.guest.firmware != "uefi":
        return None, None
    for code, variables in _UEFI:
        if Path(code).exists() and Path(variables).exists():
            own = start.directory / "disks" / "uefi-variables"
            if not own.exists():
                shutil.copyfile(variables, own)
                own.chmod(0o600)
                if start.user is not None:
                    os.chown(own, start.user, start.user)
            return DiskFile(path=code, format="raw", read_only=True), DiskFile(path="disks/uefi-variables", format="raw")
    raise NodeFailed("The image needs UEFI firmware, which this host does not have.", detail="apt-get install ovmf")
