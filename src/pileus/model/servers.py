"""A server: what its owner wants, what a node has seen, and the words of Nova that follow from both."""

from enum import StrEnum
from typing import Any

from pileus.model.base import Model, Resource
from pileus.model.guests import ObservedGuest, Power


class Status(StrEnum):
    """Nova's status of a server."""

    ACTIVE = "ACTIVE"
    BUILD = "BUILD"
    DELETED = "DELETED"
    ERROR = "ERROR"
    HARD_REBOOT = "HARD_REBOOT"
    MIGRATING = "MIGRATING"
    PAUSED = "PAUSED"
    REBOOT = "REBOOT"
    REBUILD = "REBUILD"
    RESIZE = "RESIZE"
    REVERT_RESIZE = "REVERT_RESIZE"
    SHUTOFF = "SHUTOFF"
    SUSPENDED = "SUSPENDED"
    UNKNOWN = "UNKNOWN"
    VERIFY_RESIZE = "VERIFY_RESIZE"


class ServerFlavor(Model, frozen=True, kw_only=True):
    """The flavor as it was when the server was made (Nova 2.47 embeds it)."""

    id: str  # flavorid
    name: str
    vcpus: int
    ram: int  # MiB
    disk: int  # GiB; 0: the image's own size
    ephemeral: int = 0  # GiB
    swap: int = 0  # MiB
    extra_specs: dict[str, str] = {}
    description: str | None = None


class ResizeStep(StrEnum):
    """How far a resize has come."""

    CLAIM = "claim"  # asked for
    MOVE = "move"  # the guest is off and goes to another host
    APPLY = "apply"  # the server has the new flavor: its host applies it, then its owner is to say whether it stays
    CONFIRM = "confirm"  # it stays
    REVERT = "revert"  # it does not
    REVERTED = "reverted"  # the server has the old flavor again: its host applies it


class Resize(Model, frozen=True, kw_only=True):
    """A resize or cold migration (the flavor stays) under way, or one that waits to be confirmed or reverted.

    `migration` is its record; `moved`: the server is on another host than before, which keeps its copy until that is confirmed.
    """

    step: ResizeStep
    old: ServerFlavor
    new: ServerFlavor
    migration: str = ""
    moved: bool = False


class ServerFault(Model, frozen=True, kw_only=True):
    """Why a server is in ERROR: for its owner `message`, for administrators `details`."""

    code: int
    message: str
    created_at: float
    details: str = ""


class Server(Resource, frozen=True, kw_only=True):
    """A server. The API writes the desired part, each time with a new generation; `observed` is written from node reports alone.

    `status`, `vm_state`, `task_state`, `power_state`, `next_step` follow from the rest (core/servers.py `derive`) and are kept for filters.
    `deleted_at` set: it is to go; `removed_at` set: it is gone, the row remains a while for lists of deleted servers.
    """

    # desired
    project_id: str
    user_id: str
    name: str
    hostname: str
    description: str | None = None
    image_id: str | None = None
    image: dict[str, Any] = {}  # name, disk_format, content hash, sizes and properties of the image as it was then
    flavor: ServerFlavor
    vcpus: int  # the flavor's, for sums in SQL
    memory_mib: int
    key_name: str | None = None
    public_key: str | None = None
    user_data: str | None = None  # base64
    admin_password: str | None = None  # sealed (core/secrets); only the guest's metadata shows it
    metadata: dict[str, str] = {}
    tags: list[str] = []
    config_drive: bool = False
    requested_zone: str | None = None
    requested_host: str | None = None
    hints: dict[str, Any] = {}
    personality: dict[str, str] = {}  # path in the guest -> base64 (Nova below 2.57)
    locked: bool = False
    locked_reason: str | None = None
    locked_by: str | None = None
    power: Power = Power.RUNNING
    reboots_soft: int = 0
    reboots_hard: int = 0
    builds: int = 0
    reservation_id: str = ""
    launch_index: int = 0
    access_ip_v4: str = ""
    access_ip_v6: str = ""
    disk_config: str = "MANUAL"
    trusted_certificates: list[str] | None = None
    root_device: str = "/dev/vda"
    request_id: str = ""  # of the newest action, whose event the reconciler ends
    deleted_at: float | None = None
    # decided by the cluster
    host: str | None = None
    availability_zone: str | None = None
    fault: ServerFault | None = None
    launched_at: float | None = None
    terminated_at: float | None = None
    removed_at: float | None = None
    resize: Resize | None = None
    pending_snapshot: str | None = None  # id of the image that a snapshot of this server fills
    migration: str | None = None  # in whose hands the server is: until then nothing else is done about it
    # observed
    observed: ObservedGuest | None = None
    # derived
    status: Status = Status.BUILD
    vm_state: str = "building"
    task_state: str | None = None
    power_state: int = 0
    next_step: str = "place"  # core/servers.py Next: what the reconciler is to do about it
