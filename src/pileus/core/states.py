"""Every state that something can be in on its way: how long it may last, what happens then, and what whoever owns it may do meanwhile.

`pileus` has no state without a way out. docs/reference/states.md is this table; a test demands a row for each member of each machine.
"""

from enum import StrEnum

from pileus.core.servers import Next
from pileus.model.base import Model
from pileus.model.images import ImageStatus
from pileus.model.migrations import MigrationStep
from pileus.model.moves import MovePhase
from pileus.model.servers import ResizeStep

MINUTE, HOUR = 60.0, 3600.0


class HostState(StrEnum):
    """What a host can be, as its services show it."""

    UP = "up"
    DOWN = "down"
    FENCED = "fenced"
    DRAINING = "draining"


class NetworkState(StrEnum):
    """Ports, routers and floating addresses."""

    DOWN = "DOWN"
    ACTIVE = "ACTIVE"


class Row(Model, frozen=True, kw_only=True):
    """`seconds`: how long one try of the state's step may take, or the state itself; None: it is a state of rest, or ends with the host's
    silence, as `then` says."""

    state: StrEnum
    seconds: float | None = None
    then: str
    user: str


REST = "Nothing is due."
HOST = (
    "If the host is silent, it is tried again, at most 30 s apart, until the host is back, is evacuated or is removed "
    "(`pileus host remove`)."
)
SOURCE = (
    "A source that is silent is waited for until it counts as down (`node_silence`); then the migration ends with a reason that says "
    "what to do, the destination forgets the server, and the source goes on with it when it is back."
)
DELETED = "One that is deleted waits for no host that counts as down."
DELETE = "Delete the server."
DELETE_OR_ABORT = "Abort the migration, or delete the server."

SERVERS = [
    Row(state=Next.NOTHING, then=REST, user="Everything that its status allows; delete it."),
    Row(
        state=Next.PLACE, then="A host is found and claimed at once, or the server is in ERROR and says which hosts lack what.", user=DELETE
    ),
    Row(
        state=Next.APPLY,
        seconds=300.0,
        then=f"What the host can't do becomes an ERROR with its reason. {HOST}",
        user="Hard reboot or delete it.",
    ),
    Row(state=Next.FOLLOW, then="One write, at once.", user=DELETE),
    Row(state=Next.RESIZE, then="One write, at once; what does not fit here is moved.", user=DELETE),
    Row(
        state=Next.SNAPSHOT,
        seconds=HOUR,
        then=f"An image that can't be filled is taken away, and the history says why. {HOST}",
        user=DELETE,
    ),
    Row(
        state=Next.REMOVE,
        then="Guest, ports and claims go. A host that is silent is tried again, at most 30 s apart, until it counts as down "
        "(`node_silence`); then the server is gone, and what its host has of it goes when that is back.",
        user="Nothing more is needed.",
    ),
]
RESIZES = [
    Row(state=ResizeStep.CLAIM, then="One write, at once; what does not fit goes to another host.", user=DELETE),
    Row(
        state=ResizeStep.MOVE,
        then="As its migration's step says, below; what fails gives the server back with its old flavor.",
        user=DELETE,
    ),
    Row(
        state=ResizeStep.APPLY,
        then="It is applied as any change; then it waits for a word: `resize_confirm_window` confirms it by itself.",
        user="Confirm, revert or delete it.",
    ),
    Row(state=ResizeStep.CONFIRM, then="One write, at once.", user=DELETE),
    Row(state=ResizeStep.REVERT, then="One write, or the way back of its migration.", user=DELETE),
    Row(state=ResizeStep.REVERTED, then="The old flavor is applied as any change.", user=DELETE),
]
MIGRATIONS = [
    Row(
        state=MigrationStep.PLACE,
        seconds=30.0,
        then="Longer it does not wait for what an earlier move left; no host: it ends, with the reason.",
        user=DELETE_OR_ABORT,
    ),
    Row(
        state=MigrationStep.STOP,
        seconds=300.0,
        then=f"A guest that does not shut down in its time (`shutdown_grace`) is ended. {SOURCE}",
        user=DELETE_OR_ABORT,
    ),
    Row(
        state=MigrationStep.PREPARE,
        seconds=120.0,
        then="A destination that does not answer is given up; the server stays as it was.",
        user=DELETE_OR_ABORT,
    ),
    Row(
        state=MigrationStep.SEND,
        seconds=300.0,
        then=f"After `move_deadline`: post-copy, else the pause that it takes. It fails: all is as before. {SOURCE}",
        user="Force it to complete, abort it, or delete the server.",
    ),
    Row(
        state=MigrationStep.FINISH,
        seconds=30.0,
        then="A destination that lacks the last of it, or has lost it, is cancelled, and the source "
        f"goes on. Where it may have run it is in ERROR, with its disk. {HOST} {DELETED}",
        user=DELETE,
    ),
    Row(state=MigrationStep.CLEAN, then=f"What is left at the source is removed. {HOST}", user="The server is free for anything."),
    Row(
        state=MigrationStep.VERIFY,
        then="It waits for a word; `resize_confirm_window` confirms it by itself.",
        user="Confirm, revert or delete the server.",
    ),
    Row(state=MigrationStep.CONFIRM, then="One write, at once.", user=DELETE),
    Row(state=MigrationStep.REVERT, then=f"What is at the destination is removed. {HOST} {DELETED}", user=DELETE),
    Row(
        state=MigrationStep.RESUME,
        seconds=300.0,
        then="A source that can't take it up puts it in ERROR, with its disk. After a live migration, one that counts as down takes it up "
        f"when it is back. {HOST} {DELETED}",
        user=DELETE,
    ),
    Row(
        state=MigrationStep.UNDO,
        then="The source goes on, and the destination forgets it. A source that counts as down goes on when it is back; meanwhile the "
        f"server is on it as any other of a host that is down. {HOST}",
        user="The server is free for anything once the source has it; evacuate or delete it while that is down.",
    ),
    Row(state=MigrationStep.DONE, then=REST, user="Ask for another."),
]
MOVES = [
    Row(state=MovePhase.READY, then="The control plane cancels it with its migration.", user=DELETE_OR_ABORT),
    Row(
        state=MovePhase.DISKS,
        seconds=300.0,
        then="After `move_deadline` the guest's writes wait for the copy, which then ends.",
        user=DELETE_OR_ABORT,
    ),
    Row(
        state=MovePhase.MEMORY, seconds=300.0, then="After `move_deadline`: post-copy, else the pause that it takes.", user=DELETE_OR_ABORT
    ),
    Row(
        state=MovePhase.POST_COPY,
        seconds=30.0,
        then="A source that is lost for so long is given up: the guest is ended, its disks are whole. So it is where the destination is "
        "lost before it has begun.",
        user=DELETE,
    ),
    Row(state=MovePhase.SWITCHED, then="The control plane has it finished at the destination, or resumed here.", user=DELETE),
    Row(state=MovePhase.FINISHED, then=REST, user=DELETE),
    Row(state=MovePhase.FAILED, then=REST, user="The reason stands in the migration; ask for another."),
    Row(state=MovePhase.CANCELLED, then=REST, user="Ask for another."),
    Row(state=MovePhase.UNKNOWN, then="The source is told again; a destination is given up.", user=DELETE_OR_ABORT),
]
IMAGES = [
    Row(state=ImageStatus.QUEUED, then=REST, user="Upload, import or delete it."),
    Row(
        state=ImageStatus.SAVING,
        seconds=60.0,
        then="One whose writer has died waits for content again when it is next asked for.",
        user="Delete it.",
    ),
    Row(
        state=ImageStatus.UPLOADING,
        seconds=60.0,
        then="As saving; once all is staged it waits for its import.",
        user="Import or delete it.",
    ),
    Row(state=ImageStatus.IMPORTING, seconds=60.0, then="As saving, and its task has failed, with the reason.", user="Delete it."),
    Row(state=ImageStatus.ACTIVE, then=REST, user="Everything."),
    Row(state=ImageStatus.DEACTIVATED, then=REST, user="Have it reactivated by an administrator, or delete it."),
    Row(state=ImageStatus.KILLED, then="No image comes into it: what fails waits for content again.", user="Delete it."),
    Row(state=ImageStatus.DELETED, then="No image comes into it: its row goes at once.", user="Nothing is left to be done."),
    Row(state=ImageStatus.PENDING_DELETE, then="No image comes into it: its content goes at once.", user="Nothing is left to be done."),
]
NETWORKS = [
    Row(state=NetworkState.DOWN, then=f"A host that is up has it within seconds of a change. {HOST}", user="Change or delete it."),
    Row(state=NetworkState.ACTIVE, then=REST, user="Change or delete it."),
]
HOSTS = [
    Row(
        state=HostState.UP,
        seconds=MINUTE,
        then="Without a report for so long (`node_silence`) it is down.",
        user="Disable, drain or remove it.",
    ),
    Row(
        state=HostState.DOWN,
        then="Where that is configured it is fenced, and its servers start elsewhere; else it is waited for.",
        user="Fence, evacuate, remove it; or bring it back.",
    ),
    Row(state=HostState.FENCED, then="Its servers start elsewhere; its next report ends this.", user="Remove it, or bring it back."),
    Row(
        state=HostState.DRAINING,
        then="Its servers move away one by one; one that can't is named with the reason.",
        user="Enable it again, or move the rest by hand.",
    ),
]

MACHINES: dict[str, tuple[type[StrEnum], list[Row]]] = {
    "Servers: what is done next": (Next, SERVERS),
    "Resizes": (ResizeStep, RESIZES),
    "Migrations": (MigrationStep, MIGRATIONS),
    "Moves, as each host sees them": (MovePhase, MOVES),
    "Images": (ImageStatus, IMAGES),
    "Ports, routers and floating addresses": (NetworkState, NETWORKS),
    "Hosts": (HostState, HOSTS),
}


def page() -> str:
    """The table as Markdown."""
    lines = ["# States, their deadlines, and the ways out", "", "Made from `pileus/core/states.py`; a test holds the two together.", ""]
    for title, (_, rows) in MACHINES.items():
        lines += [f"## {title}", "", "| state | seconds | then | meanwhile one may |", "|---|---|---|---|"]
        lines += [
            f"| `{row.state.value}` | {'' if row.seconds is None else f'{row.seconds:g}'} | {row.then} | {row.user} |" for row in rows
        ]
        lines.append("")
    return "\n".join(lines)
