"""The command line of QEMU for a guest: from what is desired and what the host has prepared, to argv. Nothing is read or opened here."""

import json
import re
from typing import Any

from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.guests import Guest, GuestDisk, GuestNic

BINARIES = {"x86_64": "qemu-system-x86_64", "i686": "qemu-system-i386", "aarch64": "qemu-system-aarch64", "riscv64": "qemu-system-riscv64"}
MACHINES = {"x86_64": "q35", "i686": "q35", "aarch64": "virt", "riscv64": "virt"}
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
NIC_DEVICES = {"virtio": "virtio-net-pci"} | {name: name for name in ("e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3")}
VIDEO_DEVICES = {
    "vga": "VGA",
    "virtio": "virtio-vga",
    "cirrus": "cirrus-vga",
    "bochs": "bochs-display",
    "vmvga": "vmware-svga",
    "none": "",
}
MACHINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DISK_BUSES = frozenset({"virtio", "scsi", "sata", "ide", "usb", "nvme"})

# Fixed slots on q35's root bus, so that adding a disk does not rename a guest's network cards. Beyond them QEMU chooses.
_SLOTS = {
    "video": (0x01, 1),
    "nic": (0x02, 10),
    "disk": (0x0C, 12),
    "scsi": (0x18, 1),
    "usb": (0x19, 1),
    "rng": (0x1A, 1),
    "balloon": (0x1B, 1),
}

# Nova's flavor extra specs and the matching properties of QEMU's throttle group.
_THROTTLES = {
    "quota:disk_total_bytes_sec": "x-bps-total",
    "quota:disk_read_bytes_sec": "x-bps-read",
    "quota:disk_write_bytes_sec": "x-bps-write",
    "quota:disk_total_iops_sec": "x-iops-total",
    "quota:disk_read_iops_sec": "x-iops-read",
    "quota:disk_write_iops_sec": "x-iops-write",
}


class DiskFile(Model, frozen=True, kw_only=True):
    """The file behind a disk, as QEMU will open it (relative to the guest's directory)."""

    path: str
    format: str  # qcow2, raw
    read_only: bool = False


class Launch(Model, frozen=True, kw_only=True):
    """What the host has prepared for this start: files by disk name, descriptors that QEMU inherits, and how it is to run."""

    accelerator: str  # kvm, tcg
    translation_mib: int = 128  # TCG's buffer for translated code
    qmp_fd: int  # listening sockets
    serial_fd: int
    vnc_path: str = "run/vnc.sock"
    console_log: str = "console.log"
    taps: dict[str, int] = {}  # port id -> open tap
    disks: dict[str, DiskFile] = {}
    config_drive: str | None = None
    firmware: DiskFile | None = None  # UEFI code
    firmware_variables: DiskFile | None = None
    kernel: str | None = None
    initrd: str | None = None
    incoming_fd: int | None = None  # the memory of a suspended guest
    incoming: bool = False  # wait for a guest that comes from another host
    machine: str = ""  # that of the QEMU that the guest ran on, where its memory comes from there; empty: the guest's own choice
    cpu_model: str = ""
    even_memory: bool = False  # that of a guest that was suspended by a version of ours that did not make it odd
    sandbox: bool = True


def machine_of(guest: Guest) -> str:
    """QEMU's machine type. IDE disks need the older PC, as q35 has none."""
    if guest.machine:
        if not MACHINE_NAME.fullmatch(guest.machine):  # a comma would begin an option of QEMU's, such as a file of the host to read
            raise Invalid(f"The machine type {guest.machine!r} is not known.")
        return guest.machine
    if guest.architecture in ("x86_64", "i686") and any(disk.bus == "ide" for disk in guest.disks):
        return "pc"
    return MACHINES.get(guest.architecture, "virt")


def is_q35(machine: str) -> bool:
    """Whether the machine has PCI Express and SATA, in any of its versions (q35, pc-q35-7.2)."""
    return machine == "q35" or machine.startswith("pc-q35")


def translation_buffer_mib(memory_mib: int) -> int:
    """How large TCG's buffer should be: too small and it is flushed all the time, too large and idle guests hold memory."""
    return max(64, min(512, memory_mib // 2))


def qemu_argv(guest: Guest, launch: Launch) -> list[str]:
    """The whole command line. Raises Invalid, naming the value, where the guest asks for a device that is not known."""
    binary = BINARIES.get(guest.architecture)
    if binary is None:
        raise Invalid(f"No QEMU is known for the architecture {guest.architecture!r}.")
    machine = launch.machine or machine_of(guest)
    slots = _Slots(is_q35(machine))
    argv = [binary, "-name", f"guest={guest.id},debug-threads=on", "-uuid", guest.id]
    argv += ["-S", "-no-shutdown", "-nodefaults", "-no-user-config", "-msg", "timestamp=on"]
    argv += _machine(guest, machine, launch)
    argv += _firmware(guest, machine, launch)
    argv += _consoles(guest, launch, slots)
    for index, nic in enumerate(guest.nics):
        argv += _nic(nic, launch.taps[nic.port_id], slots.take("nic", index))
    argv += _Disks(guest, machine, launch, slots).argv()
    if guest.rng:
        argv += ["-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0" + slots.take("rng")]
    argv += ["-device", "virtio-balloon-pci,id=balloon0" + slots.take("balloon")]
    if launch.incoming_fd is not None:
        argv += ["-incoming", f"fd:{launch.incoming_fd}"]
    elif launch.incoming:
        argv += ["-incoming", "defer"]
    if launch.sandbox:
        argv += ["-sandbox", SANDBOX]
    return argv


def carrier_argv(guest: Guest, launch: Launch) -> list[str]:
    """A QEMU without a machine, which carries the disks of a guest that is off to or from another host. Its nodes are `disk-NAME`."""
    argv = [BINARIES.get(guest.architecture, BINARIES["x86_64"]), "-name", f"guest={guest.id},debug-threads=on"]
    argv += ["-S", "-nodefaults", "-no-user-config", "-msg", "timestamp=on", "-machine", "none", "-display", "none"]
    argv += ["-chardev", f"socket,id=qmp,fd={launch.qmp_fd},server=on,wait=off", "-mon", "chardev=qmp,mode=control"]
    for name, file in launch.disks.items():
        if not file.read_only:
            argv += _blockdev(driver="file", filename=file.path, node_name=f"disk-{name}-file", aio="threads", discard="unmap")
            argv += _blockdev(driver=file.format, file=f"disk-{name}-file", node_name=f"disk-{name}", discard="unmap")
    return argv + (["-sandbox", SANDBOX] if launch.sandbox else [])


def cpu_model_of(guest: Guest, accelerator: str) -> str:
    """The CPU that a guest gets, as QEMU is told."""
    if guest.cpu_model:
        return guest.cpu_model
    # la57=off: five-level page tables make TCG's page walks longer and bring a guest nothing.
    return "host" if accelerator == "kvm" else "max,la57=off" if guest.architecture in ("x86_64", "i686") else "max"


class _Slots:
    """Hands out addresses on q35's root bus; empty text on other machines."""

    def __init__(self, fixed: bool) -> None:
        self._fixed = fixed

    def take(self, kind: str, index: int = 0) -> str:
        first, count = _SLOTS[kind]
        return f",bus=pcie.0,addr={first + index:#x}" if self._fixed and index < count else ""


def _machine(guest: Guest, machine: str, launch: Launch) -> list[str]:
    kvm = launch.accelerator == "kvm"
    x86 = guest.architecture in ("x86_64", "i686")
    options = [machine, "usb=off", "dump-guest-core=off"]
    if x86:
        # Without System Management Mode the firmware starts sooner; only UEFI's secure boot would need it.
        options += ["vmport=off", "smm=off"]
    if launch.firmware:
        options.append("pflash0=firmware")
    if launch.firmware_variables:
        options.append("pflash1=firmware-variables")
    cpu = launch.cpu_model or cpu_model_of(guest, launch.accelerator)
    accelerator = "kvm" if kvm else f"tcg,thread=multi,tb-size={launch.translation_mib}"
    argv = ["-machine", ",".join(options), "-accel", accelerator, "-cpu", cpu, "-smp", str(guest.vcpus), "-m", _memory(guest, launch)]
    argv += ["-rtc", "base=utc,driftfix=slew" if kvm and x86 else "base=utc"]
    if is_q35(machine):
        argv += ["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"]
    # The product's name is how cloud-init in a guest recognizes an OpenStack-like cloud.
    argv += ["-smbios", f"type=1,manufacturer=pileus,product=OpenStack Nova,serial={guest.id},uuid={guest.id},family=Virtual Machine"]
    return argv


def _memory(guest: Guest, launch: Launch) -> str:
    """Before version 9, QEMU on TCG loses track of memory that changes during a live migration, unless the memory's size is odd: it then
    looks at each page by itself, and not at 64 at a time. 8 KiB more make it odd."""
    return f"size={guest.memory_mib * 1024 + 8}K" if launch.accelerator == "tcg" and not launch.even_memory else str(guest.memory_mib)


def _firmware(guest: Guest, machine: str, launch: Launch) -> list[str]:
    argv: list[str] = []
    for node, file in (("firmware", launch.firmware), ("firmware-variables", launch.firmware_variables)):
        if file:
            argv += _blockdev(driver="file", filename=file.path, node_name=f"{node}-file", read_only=file.read_only)
            argv += _blockdev(driver=file.format, file=f"{node}-file", node_name=node, read_only=file.read_only)
    if launch.kernel:
        argv += ["-kernel", launch.kernel]
        if launch.initrd:
            argv += ["-initrd", launch.initrd]
        if guest.kernel_command_line:
            argv += ["-append", guest.kernel_command_line]
    if guest.architecture in ("x86_64", "i686"):
        argv += ["-boot", "strict=on,menu=off"]
    return argv


def _consoles(guest: Guest, launch: Launch, slots: _Slots) -> list[str]:
    argv = ["-chardev", f"socket,id=qmp,fd={launch.qmp_fd},server=on,wait=off", "-mon", "chardev=qmp,mode=control"]
    log = f"logfile={_escaped(launch.console_log)},logappend=on"
    argv += ["-chardev", f"socket,id=serial0,fd={launch.serial_fd},server=on,wait=off,{log}", "-serial", "chardev:serial0"]
    if guest.video not in VIDEO_DEVICES:
        raise Invalid(f"The video model {guest.video!r} is not known; known are {', '.join(VIDEO_DEVICES)}.")
    argv += ["-display", "none"]
    if device := VIDEO_DEVICES[guest.video]:
        argv += ["-device", device + ",id=video0" + slots.take("video"), "-vnc", f"unix:{_escaped(launch.vnc_path)}"]
    return argv


def _nic(nic: GuestNic, descriptor: int, slot: str) -> list[str]:
    device = NIC_DEVICES.get(nic.model)
    if device is None:
        raise Invalid(f"The network card model {nic.model!r} is not known; known are {', '.join(NIC_DEVICES)}.")
    name = f"nic-{nic.port_id}"
    options = f"{device},id={name},netdev=net-{nic.port_id},mac={nic.mac},romfile="
    if nic.model == "virtio":
        options += f",host_mtu={nic.mtu}"
    return ["-netdev", f"tap,id=net-{nic.port_id},fd={descriptor}", "-device", options + slot]


class _Disks:
    """The disks of one guest, with the controllers that their buses need."""

    def __init__(self, guest: Guest, machine: str, launch: Launch, slots: _Slots) -> None:
        self._guest = guest
        self._machine = machine
        self._launch = launch
        self._slots = slots
        self._controllers: list[str] = []
        self._used: dict[str, int] = {}

    def argv(self) -> list[str]:
        throttle = {name: int(self._guest.extra[spec]) for spec, name in _THROTTLES.items() if self._guest.extra.get(spec)}
        parts: list[str] = []
        bootable = any(disk.boot_index is not None for disk in self._guest.disks)
        for position, disk in enumerate(self._guest.disks):
            boot_index = disk.boot_index if bootable else (1 if position == 0 else None)
            if boot_index is not None and boot_index < 0:  # Nova's way to say "not bootable"
                boot_index = None
            parts += self._nodes(disk, self._launch.disks[disk.name], throttle)
            parts += ["-device", self._device(disk, self._launch.disks[disk.name].read_only, boot_index)]
        if self._launch.config_drive:
            drive = self._config_drive()
            parts += self._nodes(drive, DiskFile(path=self._launch.config_drive, format="raw", read_only=True), {})
            parts += ["-device", self._device(drive, True, None)]
        return self._controllers + parts

    def _config_drive(self) -> GuestDisk:
        """A read-only disk on virtio, a CD where the guest's disks say that it may know no virtio."""
        bus = self._guest.disks[0].bus if self._guest.disks else "virtio"
        return GuestDisk(name="config", size=0, bus=bus, cdrom=bus not in ("virtio", "nvme"))

    def _nodes(self, disk: GuestDisk, file: DiskFile, throttle: dict[str, int]) -> list[str]:
        """The chain of block nodes: file, format, and a throttle filter where the flavor limits; the topmost is `disk-NAME`."""
        top = f"disk-{disk.name}"
        base: dict[str, Any] = {"read_only": file.read_only} if file.read_only else {"discard": "unmap"}
        argv = _blockdev(driver="file", filename=file.path, node_name=f"{top}-file", aio="threads", **base)
        if not throttle or file.read_only:
            return argv + _blockdev(driver=file.format, file=f"{top}-file", node_name=top, **base)
        argv += _blockdev(driver=file.format, file=f"{top}-file", node_name=f"{top}-format", **base)
        limits = ",".join(f"{name}={value}" for name, value in sorted(throttle.items()))
        argv += ["-object", f"throttle-group,id=limit-{disk.name},{limits}"]
        return argv + _blockdev(driver="throttle", file=f"{top}-format", node_name=top, throttle_group=f"limit-{disk.name}", **base)

    def _device(self, disk: GuestDisk, read_only: bool, boot_index: int | None) -> str:
        if disk.bus not in DISK_BUSES:
            raise Invalid(f"The disk bus {disk.bus!r} is not known; known are {', '.join(sorted(DISK_BUSES))}.")
        bus = "sata" if disk.cdrom and disk.bus in ("virtio", "nvme") else disk.bus
        options = f"{self._on_bus(bus, disk.cdrom)},id={disk.name},drive=disk-{disk.name}"
        if bus == "virtio":
            options += self._slots.take("disk", self._count("slot"))
        elif bus == "nvme":
            options += f",serial={disk.name}" + self._slots.take("disk", self._count("slot"))
        if boot_index is not None:
            options += f",bootindex={boot_index}"
        return options

    def _on_bus(self, bus: str, cdrom: bool) -> str:
        if bus == "virtio":
            return "virtio-blk-pci"
        if bus == "nvme":
            return "nvme"
        kind = "cd" if cdrom else "hd"
        if bus == "ide" and is_q35(self._machine):  # its only such controller is SATA
            bus = "sata"
        index = self._count(bus)
        if bus == "scsi":
            self._controller("virtio-scsi-pci,id=scsi0" + self._slots.take("scsi"))
            return f"scsi-{kind},bus=scsi0.0,scsi-id={index}"
        if bus == "usb":
            self._controller("qemu-xhci,id=usb0" + self._slots.take("usb"))
            return "usb-storage,bus=usb0.0,removable=" + ("on" if cdrom else "off")
        if bus == "ide":
            return f"ide-{kind},bus=ide.{index // 2},unit={index % 2}"
        if is_q35(self._machine):
            return f"ide-{kind},bus=ide.{index}"
        self._controller("ahci,id=sata0")
        return f"ide-{kind},bus=sata0.{index}"

    def _count(self, bus: str) -> int:
        self._used[bus] = self._used.get(bus, -1) + 1
        return self._used[bus]

    def _controller(self, device: str) -> None:
        if device not in self._controllers:
            self._controllers += ["-device", device]


def _blockdev(**options: Any) -> list[str]:
    named = {key.replace("_", "-"): value for key, value in options.items()}
    return ["-blockdev", json.dumps(named, separators=(",", ":"))]


def _escaped(value: str) -> str:
    return value.replace(",", ",,")
