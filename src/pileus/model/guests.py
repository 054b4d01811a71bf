"""What a Computer Manager is told to run (Guest) and what it sees running (ObservedGuest)."""

from enum import StrEnum

from pileus.model.base import Model


class Power(StrEnum):
    """The desired power of a guest."""

    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    SUSPENDED = "suspended"


class ObservedPower(StrEnum):
    """What a hypervisor says of a guest. ABSENT: nothing of it on this host. CRASHED: it ended without being asked to."""

    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    CRASHED = "crashed"
    ABSENT = "absent"


class DiskImage(Model, frozen=True, kw_only=True):
    """An image in the content-addressed store that a disk starts from. `path` is readable on the host."""

    sha256: str
    path: str
    format: str  # qcow2, raw, iso
    source: str = ""  # URL from which a host that does not see `path` fetches the content, for a while
    size: int = 0  # bytes of the file; 0: not known
    virtual_size: int  # bytes


class GuestDisk(Model, frozen=True, kw_only=True):
    """One disk. With an `image` it is a copy-on-write overlay of it; without, blank (`filesystem`: swap, ext4 or None for unformatted)."""

    name: str  # root, ephemeral0, swap: unique in the guest, and its file's name
    size: int  # bytes
    image: DiskImage | None = None
    bus: str = "virtio"  # virtio, scsi, sata, ide, usb, nvme
    boot_index: int | None = None
    filesystem: str | None = None
    label: str | None = None
    cdrom: bool = False


class GuestNic(Model, frozen=True, kw_only=True):
    """One network card, plugged to a port of a routing domain on the same host."""

    port_id: str
    network_id: str
    domain_id: str
    mac: str
    model: str = "virtio"  # virtio, e1000, e1000e, rtl8139, ...
    mtu: int = 1500


class Guest(Model, frozen=True, kw_only=True):
    """The whole desired state of one guest. Applying it twice does nothing the second time.

    `reboots_soft` and `reboots_hard` are counters: a node that has applied a lower count reboots once and remembers the new one.
    `metadata` maps a path ("openstack/latest/meta_data.json", "ec2/...") to text; the metadata service and the config drive both serve it.
    """

    id: str
    name: str
    project_id: str
    user_id: str = ""
    generation: int = 0
    power: Power = Power.RUNNING
    reboots_soft: int = 0
    reboots_hard: int = 0
    builds: int = 0  # grows when the root disk is to be made anew (rebuild)
    made: bool = False  # its disks were made by an earlier apply: where they are missing they are lost, and no empty ones take their place
    vcpus: int
    memory_mib: int
    architecture: str = "x86_64"
    machine: str | None = None  # QEMU machine type; None: the driver's default
    firmware: str = "bios"  # bios or uefi
    vm_mode: str = "hvm"
    cpu_model: str | None = None
    disks: list[GuestDisk] = []
    nics: list[GuestNic] = []
    kernel: str | None = None  # path of a kernel to boot directly, with initrd and command line
    initrd: str | None = None
    kernel_command_line: str | None = None
    video: str = "vga"  # vga, virtio, cirrus, none
    rng: bool = True
    cpu_shares: int | None = None
    cpu_quota: float | None = None  # CPUs; None: vcpus
    metadata: dict[str, str] = {}
    config_drive: bool = False
    extra: dict[str, str] = {}  # flavor extra specs and image properties that only a driver understands


class ObservedGuest(Model, frozen=True, kw_only=True):
    """What the hypervisor says. `generation` and the counters are those of the last Guest that was applied in full."""

    id: str
    power: ObservedPower
    generation: int = 0
    reboots_soft: int = 0
    reboots_hard: int = 0
    builds: int = 0
    pid: int | None = None
    hypervisor: str = ""  # driver name: qemu, simulated
    accelerator: str = ""  # kvm, tcg, ...
    accelerator_reason: str = ""  # why this one ("KVM probe: guest did not boot within 8 s")
    machine: str = ""  # with its version, so that another host can offer the same
    cpu_model: str = ""  # as QEMU was told
    started_at: float | None = None
    migration: str = ""  # id of a move: this host is its destination and does not own the guest yet, or its source that has given it away
    error: str | None = None  # why the last apply failed, in words a user understands
    error_detail: str | None = None  # what the tool said; for administrators


class ConsoleKind(StrEnum):
    """The consoles of a guest, in Nova's words."""

    VNC = "vnc"
    SERIAL = "serial"


class Diagnostics(Model, frozen=True, kw_only=True):
    """Figures of one guest in Nova's diagnostics shape (API ref 2.48): times in nanoseconds, memory in MiB, the rest bytes and counts."""

    state: str
    driver: str
    hypervisor: str
    hypervisor_os: str = "linux"
    uptime: int = 0  # seconds
    config_drive: bool = False
    cpu_details: list[dict[str, int]] = []
    nic_details: list[dict[str, int | str]] = []
    disk_details: list[dict[str, int]] = []
    memory_maximum: int = 0
    memory_used: int = 0
    extra: dict[str, str] = {}
