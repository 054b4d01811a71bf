"""What passes between a Cluster Manager and a Computer Manager: requests to a node, its replies, its reports.

A node is reachable by these alone. Each request is idempotent and carries whole desired state.
"""

from pileus.model.base import Model
from pileus.model.guests import ConsoleKind, Diagnostics, Guest, ObservedGuest
from pileus.model.hosts import HostReport
from pileus.model.routing import RoutingDomain


class ApplyGuest(Model, frozen=True, kw_only=True, tag="apply_guest"):
    """Bring a guest to this state, one step nearer at least. `domains` are those that its cards need, applied first.

    `seen` is the guest as it was known when this was decided: one that has changed by itself since keeps the power that it has.
    """

    guest: Guest
    domains: list[RoutingDomain] = []
    seen: ObservedGuest | None = None


class RemoveGuest(Model, frozen=True, kw_only=True, tag="remove_guest"):
    """Leave nothing of a guest on the host: process, disks, taps, records."""

    guest_id: str


class ApplyDomain(Model, frozen=True, kw_only=True, tag="apply_domain"):
    """Bring a routing domain to this state."""

    domain: RoutingDomain


class RemoveDomain(Model, frozen=True, kw_only=True, tag="remove_domain"):
    """Leave nothing of a routing domain on the host."""

    domain_id: str


class Observe(Model, frozen=True, kw_only=True, tag="observe"):
    """Report now. Reply: HostReport."""


class ReadConsoleLog(Model, frozen=True, kw_only=True, tag="read_console_log"):
    """The last lines (None: all that is kept) of the guest's serial console. Reply: ConsoleLog."""

    guest_id: str
    lines: int | None = None


class OpenConsole(Model, frozen=True, kw_only=True, tag="open_console"):
    """Where a console of the guest listens. Reply: ConsoleEndpoint."""

    guest_id: str
    kind: ConsoleKind


class Snapshot(Model, frozen=True, kw_only=True, tag="snapshot"):
    """Copy the guest's root disk, as it is now, to a new qcow2 file. Reply: SnapshotDone. The same `destination` twice does it once."""

    guest_id: str
    destination: str


class ReadDiagnostics(Model, frozen=True, kw_only=True, tag="read_diagnostics"):
    """Figures of the guest. Reply: Diagnostics."""

    guest_id: str


class ConsoleLog(Model, frozen=True, kw_only=True, tag="console_log"):
    """Text of a serial console."""

    text: str


class ConsoleEndpoint(Model, frozen=True, kw_only=True, tag="console_endpoint"):
    """A Unix socket on the node that speaks RFB (vnc) or raw bytes (serial)."""

    path: str


class SnapshotDone(Model, frozen=True, kw_only=True, tag="snapshot_done"):
    """A snapshot's file: its path, size in bytes and virtual size in bytes."""

    path: str
    size: int
    virtual_size: int


class Done(Model, frozen=True, kw_only=True, tag="done"):
    """It is so."""


class Failed(Model, frozen=True, kw_only=True, tag="failed"):
    """It could not be done: why, in words a user understands, what the tool said, and the error's kind (an ErrorKind's name)."""

    reason: str
    detail: str = ""
    kind: str = "internal"


class GuestReply(Model, frozen=True, kw_only=True, tag="guest"):
    """What the guest is like after an ApplyGuest."""

    guest: ObservedGuest


class DomainReply(Model, frozen=True, kw_only=True, tag="domain"):
    """The digest of the domain as applied."""

    domain_id: str
    digest: str


class ReportReply(Model, frozen=True, kw_only=True, tag="report"):
    """A host's report; also sent unasked, as an event, when something changed."""

    report: HostReport


class DiagnosticsReply(Model, frozen=True, kw_only=True, tag="diagnostics"):
    """Figures of a guest."""

    diagnostics: Diagnostics


NodeRequest = ApplyGuest | RemoveGuest | ApplyDomain | RemoveDomain | Observe | ReadConsoleLog | OpenConsole | Snapshot | ReadDiagnostics
NodeReply = Done | Failed | GuestReply | DomainReply | ReportReply | ConsoleLog | ConsoleEndpoint | SnapshotDone | DiagnosticsReply
