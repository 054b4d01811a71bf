"""What hosts say of a guest that moves from one to another: the way there, how far it has come, and what may be done about it.

Words of QEMU's migration: a round sends what has changed since the one before; the pause is the time in which neither side runs.
"""

from enum import StrEnum

from pileus.model.base import Model


class MoveKeys(Model, frozen=True, kw_only=True):
    """Certificates made for one move alone (PEM): each side shows its own and trusts nobody else's."""

    authority: str
    certificate: str
    key: str

    def __repr__(self) -> str:
        return "MoveKeys(...)"  # never in a log


class MoveTarget(Model, frozen=True, kw_only=True):
    """Where the destination listens. `disk_port` None: disks are not copied, both hosts see them. `name` is that in its certificate."""

    address: str
    memory_port: int | None = None  # None: the guest is off or suspended, its memory is a file among the disks or nothing
    disk_port: int | None = None
    exports: dict[str, str] = {}  # disk name -> name of its NBD export
    name: str = ""
    post_copy: bool = False  # the destination can fetch memory that it misses


class MoveOptions(Model, frozen=True, kw_only=True):
    """How hard a live migration tries, in this order: rounds, auto-converge, post-copy, then the pause that always ends."""

    bandwidth: int = 0  # bytes a second; 0: no limit
    pause_ms: int = 300  # the longest pause that is aimed at
    deadline: float = 300.0  # seconds for rounds alone (with auto-converge); after them `post_copy`, else the pause whatever it takes
    auto_converge: bool = True
    post_copy: bool = True


class MovePhase(StrEnum):
    """How far a move has come, as one side sees it."""

    READY = "ready"  # destination: waits for the source
    DISKS = "disks"  # disks are copied
    MEMORY = "memory"  # rounds
    POST_COPY = "post_copy"  # the destination runs and fetches what it misses
    SWITCHED = "switched"  # all is there; the source will never run the guest again unless told so, the destination has not begun yet
    FINISHED = "finished"  # destination: an ordinary guest now
    FAILED = "failed"  # source: the guest goes on there; destination: nothing usable
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # this host knows nothing of the move


class MoveRound(Model, frozen=True, kw_only=True):
    """One round of a live migration: bytes sent in it, bytes left after it, bytes a second that the guest changes, per cent by which the
    guest is throttled, and the pause in milliseconds if it were switched now."""

    number: int
    seconds: float
    sent: int
    remaining: int
    dirty_rate: int
    bandwidth: int
    throttle: int = 0
    predicted_pause_ms: int = 0


class MoveForecast(Model, frozen=True, kw_only=True):
    """What is expected before it starts. `converges` False: rounds alone will not do; `reason` says why, with the figures."""

    converges: bool
    rounds: int
    seconds: float
    pause_ms: int
    memory: int  # bytes in use
    dirty_rate: int  # bytes a second
    bandwidth: int  # bytes a second, measured or asked for
    reason: str = ""


class MoveProgress(Model, frozen=True, kw_only=True):
    """How far it has come. Bytes; times in seconds since the move began, pauses in milliseconds."""

    phase: MovePhase
    memory_total: int = 0
    memory_sent: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_sent: int = 0
    seconds: float = 0.0
    pause_ms: int | None = None  # once it is over
    rounds: list[MoveRound] = []
    forecast: MoveForecast | None = None
    error: str = ""
    error_detail: str = ""
    ran: bool = False  # destination: the guest runs here, or may have run here, so that it may not go on at its source
