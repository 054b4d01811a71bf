"""A migration: one move of a server from a host to another, as Nova's API shows it and as the reconciler goes through it."""

import uuid
from enum import StrEnum

from pileus.model.base import Model, Resource
from pileus.model.moves import MoveForecast, MoveOptions, MoveProgress, MoveTarget


class MigrationKind(StrEnum):
    """Nova's migration_type."""

    LIVE = "live-migration"
    COLD = "migration"
    RESIZE = "resize"
    EVACUATION = "evacuation"


class MigrationStatus(StrEnum):
    """Nova's words for how far a migration is."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    POST_MIGRATING = "post-migrating"
    PRE_MIGRATING = "pre-migrating"
    MIGRATING = "migrating"
    FINISHED = "finished"  # cold: the server is on the destination and waits to be confirmed
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    REVERTING = "reverting"
    REVERTED = "reverted"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    ERROR = "error"
    DONE = "done"  # evacuation


class MigrationStep(StrEnum):
    """What the reconciler does next."""

    PLACE = "place"  # choose a destination and claim it
    STOP = "stop"  # cold: the guest is shut down where it is
    PREPARE = "prepare"  # the destination makes ready
    SEND = "send"  # the source sends, until all is there
    FINISH = "finish"  # the records say that the guest is at the destination: it is run there
    CLEAN = "clean"  # nothing is to be left of it at the source
    VERIFY = "verify"  # cold: the server's owner is to say whether it stays; the source's copy is kept
    CONFIRM = "confirm"
    REVERT = "revert"  # nothing is to be left of it at the destination
    RESUME = "resume"  # the records say that it is the source's again: it is given back there
    UNDO = "undo"  # it failed or was cancelled before the switch: both sides are as before
    DONE = "done"


class Migration(Resource, frozen=True, kw_only=True):
    """One migration. `id` is Nova's uuid and the consumer that holds the source's allocations; `number` is Nova's integer id.

    Until the step FINISH the server is the source's; from then on, whatever happens, the destination's.
    """

    number: int
    server_id: str
    kind: MigrationKind
    status: MigrationStatus = MigrationStatus.ACCEPTED
    step: MigrationStep = MigrationStep.PLACE
    source: str
    destination: str | None = None
    requested_host: str | None = None
    force: bool = False  # the requested host is taken as it is, no filter is asked (Nova 2.30 to 2.67)
    block_migration: bool | None = None  # None: as the hosts' disks are
    copy_disks: bool = True
    old_flavor_id: str = ""
    new_flavor_id: str = ""
    user_id: str | None = None  # who asked for it
    project_id: str | None = None
    request_id: str = ""  # of the action, in whose history the steps are written
    options: MoveOptions = MoveOptions()
    target: MoveTarget | None = None
    keys: str | None = None  # sealed; gone once the move is over
    progress: MoveProgress | None = None
    forecast: MoveForecast | None = None
    force_complete: bool = False  # wishes of whoever may
    abort: bool = False
    error: str = ""
    stop: bool = False  # EVACUATION: the server is off at its destination (Nova since 2.95)
    back: bool = False  # REVERT, where the disks are shared: the guest is sent back to the source
    restored: bool = False  # UNDO: the source goes on, the destination is still to forget it
    owed: bool = False  # UNDO, restored: the source was down then; it is to be told to go on when it is back
    started_at: float | None = None  # of the sending
    finished_at: float | None = None  # when the server was at the destination, or everything was as before
    due_at: float | None = None  # VERIFY: when it is confirmed by itself

    @property
    def move_id(self) -> str:
        """What the hosts call it: the way back is a move of its own."""
        return str(uuid.uuid5(uuid.UUID(self.id), "back")) if self.back else self.id

    @property
    def sender(self) -> str:
        """The host that has the guest and sends it."""
        return self.destination or "" if self.back else self.source

    @property
    def receiver(self) -> str:
        """The host that is to have it; empty until one was chosen."""
        return self.source if self.back else self.destination or ""


class NewMigration(Model, frozen=True, kw_only=True):
    """What a migration is asked for."""

    requested_host: str | None = None
    force: bool = False
    block_migration: bool | None = None
    new_flavor_id: str | None = None  # None: the flavor stays
    user_id: str | None = None
    project_id: str | None = None
    request_id: str = ""
    stop: bool = False
    options: MoveOptions = MoveOptions()


ENDED = (
    MigrationStatus.CONFIRMED,
    MigrationStatus.REVERTED,
    MigrationStatus.COMPLETED,
    MigrationStatus.CANCELLED,
    MigrationStatus.FAILED,
    MigrationStatus.ERROR,
    MigrationStatus.DONE,
)
