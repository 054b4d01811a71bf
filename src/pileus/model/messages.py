"""What passes between a Cluster Manager and a Computer Manager: requests to a node, its replies, its reports.

A node is reachable by these alone. Each request is idempotent and carries whole desired state.
"""

from pileus.model.base import Model
from pileus.model.census import Census
from pileus.model.guests import ConsoleKind, Diagnostics, Guest, ObservedGuest
from pileus.model.hosts import HostReport
from pileus.model.moves import MoveKeys, MoveOptions, MoveProgress, MoveTarget
from pileus.model.routing import RoutingDomain


class ApplyGuest(Model, frozen=True, kw_only=True, tag="apply_guest"):
    """Bring a guest to this state, one step nearer at least. `domains` are those that its cards need, applied first, where the host has
    none that were read later and have its ports.

    `seen` is the guest as it was known when this was decided: one that has changed by itself since keeps the power that it has.
    """

    guest: Guest
    domains: list[RoutingDomain] = []
    seen: ObservedGuest | None = None


class RemoveGuest(Model, frozen=True, kw_only=True, tag="remove_guest"):
    """Leave nothing of a guest on the host: process, disks, taps, records."""

    guest_id: str


class ApplyDomain(Model, frozen=True, kw_only=True, tag="apply_domain"):
    """Bring a routing domain to this state, unless the host has a later one. Reply: DomainReply."""

    domain: RoutingDomain


class RemoveDomain(Model, frozen=True, kw_only=True, tag="remove_domain"):
    """Leave nothing of a routing domain on the host. `read_at`: when it was found that it is not needed, as in RoutingDomain; a host that
    has been told of it later keeps it. Reply: Done, or a DomainReply that says so."""

    domain_id: str
    read_at: int = 0


class Observe(Model, frozen=True, kw_only=True, tag="observe"):
    """Report now. Reply: HostReport."""


class TakeCensus(Model, frozen=True, kw_only=True, tag="take_census"):
    """Look at the host itself: processes, namespaces, devices, disks. Reply: CensusReply."""


class ReadConsoleLog(Model, frozen=True, kw_only=True, tag="read_console_log"):
    """The last lines (None: all that is kept) of the guest's serial console. Reply: ConsoleLog."""

    guest_id: str
    lines: int | None = None


class OpenConsole(Model, frozen=True, kw_only=True, tag="open_console"):
    """Where a console of the guest listens. Reply: ConsoleEndpoint.

    `stream`: a stream of the bus by which its bytes are to go; the endpoint's path says nothing then.
    """

    guest_id: str
    kind: ConsoleKind
    stream: str = ""


class Snapshot(Model, frozen=True, kw_only=True, tag="snapshot"):
    """Copy the guest's root disk, as it is now, to a new qcow2 file. Reply: SnapshotDone. The same `destination` twice does it once.

    `upload`: path and query of the cloud's API to which a host that does not see the managers' files sends the copy.
    """

    guest_id: str
    destination: str
    upload: str = ""


class ReadDiagnostics(Model, frozen=True, kw_only=True, tag="read_diagnostics"):
    """Figures of the guest. Reply: Diagnostics."""

    guest_id: str


class PrepareIncoming(Model, frozen=True, kw_only=True, tag="prepare_incoming"):
    """Make all ready for a guest that comes from another host: domains, disks (blank overlays of the same images when `copy_disks`, else
    those that both hosts see), a QEMU that waits, listeners on `address`. Twice: the same. Reply: IncomingReady.

    `machine` and `cpu_model` are those that the source's ObservedGuest says: what runs there must find the same here.
    """

    migration_id: str
    guest: Guest
    domains: list[RoutingDomain] = []
    copy_disks: bool = True
    address: str = ""  # of this host, where the source reaches it
    keys: MoveKeys | None = None  # None: without TLS, between hosts of one machine in tests
    machine: str = ""
    cpu_model: str = ""


class StartOutgoing(Model, frozen=True, kw_only=True, tag="start_outgoing"):
    """Begin to send the guest away; it goes on after the reply, and after a restart of the agent. Twice: the same. Reply: MoveReply.

    When all is there, the guest is paused and the phase SWITCHED: it does not run again here unless ResumeOutgoing says so.
    """

    migration_id: str
    guest_id: str
    target: MoveTarget
    options: MoveOptions = MoveOptions()
    keys: MoveKeys | None = None


class ForecastMove(Model, frozen=True, kw_only=True, tag="forecast_move"):
    """What a live migration of this guest would take now: its dirty rate is measured for a second. Reply: MoveReply with a forecast."""

    guest_id: str
    options: MoveOptions = MoveOptions()


class AskMove(Model, frozen=True, kw_only=True, tag="ask_move"):
    """How far the move has come, as this side sees it; with `connections`, also which are tracked of the guest's ports here. Reply:
    MoveReply."""

    migration_id: str
    guest_id: str
    connections: bool = False


class ForceMove(Model, frozen=True, kw_only=True, tag="force_move"):
    """To the source: end it now, by post-copy where that was prepared, else by pausing the guest until all is sent. Reply: MoveReply."""

    migration_id: str
    guest_id: str


class CancelMove(Model, frozen=True, kw_only=True, tag="cancel_move"):
    """Stop. To the source: the guest goes on there, unless it is SWITCHED or in post-copy (the reply says the phase that holds). To the
    destination: leave nothing of it, unless FINISHED. Reply: MoveReply."""

    migration_id: str
    guest_id: str


class FinishIncoming(Model, frozen=True, kw_only=True, tag="finish_incoming"):
    """To the destination, after the source is SWITCHED, or in POST_COPY, and after the records say that the guest is here: run it (with
    the power that it had), with the connections that the source tracked. Twice: the same. Conflict before that. Reply: GuestReply."""

    migration_id: str
    guest: Guest
    connections: dict[str, list[str]] = {}  # port id -> what the source's MoveReply said


class ResumeOutgoing(Model, frozen=True, kw_only=True, tag="resume_outgoing"):
    """To a source that is SWITCHED, when the destination is known to be gone and never ran: go on here. In POST_COPY there is no way back:
    the guest is ended, with an error that says so, and its disks are whole. Reply: GuestReply."""

    migration_id: str
    guest_id: str


class MoveReply(Model, frozen=True, kw_only=True, tag="move"):
    """How far a move has come, and the connections that are tracked of the guest, if that was asked for."""

    progress: MoveProgress
    connections: dict[str, list[str]] = {}  # port id -> each as the network driver writes it


class IncomingReady(Model, frozen=True, kw_only=True, tag="incoming_ready"):
    """Where the source is to send the guest."""

    target: MoveTarget


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
    """What the guest is like after an ApplyGuest; the digests of the domains that came with it, as applied."""

    guest: ObservedGuest
    domains: dict[str, str] = {}


class DomainReply(Model, frozen=True, kw_only=True, tag="domain"):
    """The digest of the domain as applied. `read_at`: of the later word that the host keeps instead of this one; 0: it is as asked."""

    domain_id: str
    digest: str
    read_at: int = 0


class CensusReply(Model, frozen=True, kw_only=True, tag="census"):
    """What is on the host."""

    census: Census


class ReportReply(Model, frozen=True, kw_only=True, tag="report"):
    """A host's report; also sent unasked, as an event, when something changed."""

    report: HostReport


class DiagnosticsReply(Model, frozen=True, kw_only=True, tag="diagnostics"):
    """Figures of a guest."""

    diagnostics: Diagnostics


NodeRequest = (
    ApplyGuest
    | RemoveGuest
    | ApplyDomain
    | RemoveDomain
    | Observe
    | TakeCensus
    | ReadConsoleLog
    | OpenConsole
    | Snapshot
    | ReadDiagnostics
    | PrepareIncoming
    | StartOutgoing
    | ForecastMove
    | AskMove
    | ForceMove
    | CancelMove
    | FinishIncoming
    | ResumeOutgoing
)
NodeReply = (
    Done
    | Failed
    | GuestReply
    | DomainReply
    | ReportReply
    | CensusReply
    | ConsoleLog
    | ConsoleEndpoint
    | SnapshotDone
    | DiagnosticsReply
    | MoveReply
    | IncomingReady
)
