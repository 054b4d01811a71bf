"""The settings of a cloud: one struct, each with a default that works; kept in `DIR/config.json` when changed."""

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from pileus.model.base import Model
from pileus.model.federation import FederationSettings
from pileus.model.image_stores import LOCAL, ImageSettings
from pileus.model.limits import UnifiedLimits

MIB = 1 << 20


ROLES = ("cloud", "cluster", "node")
"""What a process may be: Cloud Manager, Cluster Manager, Computer Manager."""


class Config(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator may set. Sizes in bytes, times in seconds, unless the name says otherwise."""

    state: str = "/var/lib/pileus"
    database: str | None = (
        None  # postgresql://...; None: SQLite in the state directory. Kept apart from the rest (cli/settings.py): it may hold a password
    )
    bus: str | None = None  # nats://HOST:PORT or tls://HOST:PORT; None: all in one process
    bus_ca: str | None = None  # file of who signed the bus's certificate; None: the cloud's own authority
    cluster: str = "default"  # the cluster that a manager process leads, or that a host is in
    hosts: int = 0  # `up --hosts`: so many hosts in network namespaces of this machine, with their own PostgreSQL and NATS
    machine_shares: int = 1  # of a host that shares its machine with others: into how many parts that is divided
    listen: str = "127.0.0.1:5000"
    host_listen: str | None = None  # a second address, where hosts reach the API
    metrics_listen: str | None = None  # HOST:PORT where a Prometheus server reads /metrics, without a password; None: nowhere
    log_format: Literal["text", "json"] = "text"  # of DIR/log/pileus.log
    public_url: str | None = None  # None: the address that the client used
    trusted_proxies: list[str] = []  # addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed
    privilege_separation: bool = True  # of managers that root has started: requests are parsed by a process without privileges
    tls_certificate: str | None = None
    tls_key: str | None = None
    region: str = "RegionOne"
    simulate: int = 0  # simulated hosts; 0: this machine's real hypervisors
    token_lifetime: float = 3600.0 * 12
    password_history: int = 0  # a user's new password must differ from that many of the last; 0: from the current one only
    password_expires_days: int = 0  # days after which a password has to be changed; 0: never
    password_minimum_days: int = 0  # days for which a user has to keep a password that it has chosen; 0: none
    password_change_first: bool = False  # a password that an administrator has set has to be changed before the first login
    inactive_days: int = 0  # days without a login after which a user is disabled; 0: never
    password_regex: str | None = None  # what a password must match; None: any will do
    password_regex_description: str | None = None  # that rule in words, for who has to choose a password
    federation: FederationSettings = FederationSettings()  # logins of users of identity providers: {"trusted_dashboards": [ADDRESS]}
    lockout_attempts: int = 0  # after so many logins by password that failed in a row, none succeeds; 0: no limit
    lockout_time: float = 1800.0  # for so long after the last of them
    limit_model: Literal["flat", "strict_two_level"] = "flat"  # what unified limits of domains say of those of their projects
    unified_limits: UnifiedLimits = UnifiedLimits()  # services that charge unified limits instead of quotas of their own
    project_requests: float = 0.0  # requests a second of one project, administrators' not counted; 0: no limit
    body_limit: int = 2 * MIB  # of a JSON body
    image_size_limit: int = 1 << 40
    image_import_format: Literal["raw", "qcow2"] | None = None  # of imported disks; None: VMDK, VDI, VHD, VHDX become qcow2, others stay
    import_hosts: list[str] = []  # HOST or HOST:PORT that images may be imported from though they are not public, port 80 or 443
    image: ImageSettings = ImageSettings()  # further stores, content that stays in the web, locations: docs/how-to/images.md
    cpu_allocation_ratio: float = 4.0
    memory_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    reserved_memory_mib: int = 512
    public_cidr: str | None = None  # None: the first free of 172.24.4.0/24, 172.24.5.0/24, ...
    list_limit: int = 1000
    physical_networks: dict[str, str] = msgspec.field(
        default_factory=lambda: {"public": ""}
    )  # name -> NIC that it is on; "" is host-only, behind NAT
    resize_confirm_window: float = 0.0  # seconds after which a resize or cold migration is confirmed by itself; 0: never
    node_silence: float = 60.0  # after this without a report a host counts as down
    fencing: dict[str, str] = {}  # host ("*": all others) -> command:PROGRAM, ipmi://USER@HOST, redfish://USER@HOST/redfish/v1/Systems/ID
    evacuate: str = "marked"  # servers that start elsewhere when their host is lost: none, marked (HA_Enabled in metadata or flavor), all
    move_bandwidth: int = 0  # bytes a second that a live migration may send; 0: what the network gives
    move_pause_ms: int = 300  # the longest pause that a live migration aims at
    move_deadline: float = 300.0  # seconds of rounds, then post-copy where it can be, else the pause that it takes
    shutdown_grace: float = 60.0

    def __repr__(self) -> str:
        return f"Config(state={self.state!r})"  # never the password in `database`

    @property
    def directory(self) -> Path:
        """The state directory."""
        return Path(self.state)

    @property
    def image_stores(self) -> dict[str, Path]:
        """The directories of image content by the store's name, the default one first."""
        others = {name: Path(one.path) for name, one in self.image.stores.items() if name != LOCAL}
        return {LOCAL: self.directory / "images", **others}

    @property
    def snapshots(self) -> Path:
        """Where a host puts copies of disks, for the image service to take in."""
        return self.directory / "images" / ".snapshots"

    @property
    def tag(self) -> str:
        """Four hex digits that mark this cloud's devices, namespaces and cgroups on a host."""
        return hashlib.sha256(str(self.directory.resolve()).encode()).hexdigest()[:4]
