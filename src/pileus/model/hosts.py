"""A host of guests: what its probe found and what it reports."""

from pileus.model.base import Model, Resource
from pileus.model.guests import ObservedGuest

DRAIN = "drain"
"""The reason for which a host is disabled that its operator wants empty."""


class Capability(Model, frozen=True, kw_only=True):
    """One thing that a machine can or can't do, found by trying. `remedy` is the command that mends it."""

    name: str
    works: bool
    detail: str = ""
    remedy: str = ""
    required: bool = False


class DriverCapabilities(Model, frozen=True, kw_only=True):
    """What a hypervisor driver can do on this host, as found by its probe."""

    driver: str  # qemu, simulated, ...
    hypervisor_type: str  # Nova's words: QEMU, KVM
    hypervisor_version: int  # 7002000 for 7.2.0
    accelerator: str = ""
    accelerator_reason: str = ""
    levels: list[str] = []  # instruction-set, hardware, operating-system, library, application
    architectures: list[str] = []
    modes: list[str] = []  # hvm, xen, uml, exe
    features: list[str] = []  # pause, snapshot, vnc, serial, reboot-soft, suspend, ...
    traits: list[str] = []  # of Placement (os-traits names)
    cpu_model: str = ""


class NumaNode(Model, frozen=True, kw_only=True):
    """A NUMA node of a machine: its CPUs, its memory, and how many huge pages it has by their size in KiB."""

    cpus: int
    memory_mib: int
    pages: dict[int, int] = {}


class HostReport(Model, frozen=True, kw_only=True):
    """What a Computer Manager sends when it starts, when something changed, and from time to time."""

    host: str
    address: str
    version: str
    started_at: float
    reported_at: float
    vcpus: int
    memory_mib: int
    disk_gib: int
    memory_used_mib: int = 0
    disk_used_gib: int = 0
    capabilities: list[DriverCapabilities] = []
    guests: list[ObservedGuest] = []
    domains: dict[str, str] = {}  # routing domain id -> digest of what was applied last in full
    numa: list[NumaNode] = []  # empty: the machine says nothing of them
    cluster: str = "default"
    shared_disks: bool = False  # guests' disks are where other hosts of the cluster see them: they survive this host
    complete: bool = True  # False: only the guests that changed


class Host(Resource, frozen=True, kw_only=True):
    """A host as the store keeps it; also Nova's compute service and hypervisor. `id` is the resource provider's id.

    `enabled`, `disabled_reason`, `availability_zone` are the operator's; `report` and `seen_at` come from the node.
    """

    name: str
    number: int  # Nova's old integer id
    service_id: str
    cluster: str = "default"
    availability_zone: str = "nova"
    enabled: bool = True
    disabled_reason: str | None = None
    forced_down: bool = False
    fenced_at: float | None = None  # since then it runs nothing, until it reports again
    fence_error: str | None = None
    seen_at: float = 0.0
    report: HostReport | None = None  # the newest complete one, without its guests
