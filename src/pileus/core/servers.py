"""What a server's status is, and what is to be done next: both follow from what is wanted and what was seen."""

from enum import StrEnum

import msgspec

from pileus.core.guests import OFF
from pileus.model.guests import ObservedGuest, ObservedPower, Power
from pileus.model.servers import ResizeStep, Server, ServerFault, Status

POWER_STATE = {
    ObservedPower.RUNNING: 1,
    ObservedPower.PAUSED: 3,
    ObservedPower.STOPPED: 4,
    ObservedPower.CRASHED: 6,
    ObservedPower.SUSPENDED: 7,
    ObservedPower.ABSENT: 0,
}
REACHED = {
    Power.RUNNING: ObservedPower.RUNNING,
    Power.STOPPED: ObservedPower.STOPPED,
    Power.PAUSED: ObservedPower.PAUSED,
    Power.SUSPENDED: ObservedPower.SUSPENDED,
}
SETTLED = {
    ObservedPower.RUNNING: (Status.ACTIVE, "active"),
    ObservedPower.STOPPED: (Status.SHUTOFF, "stopped"),
    ObservedPower.CRASHED: (Status.SHUTOFF, "stopped"),
    ObservedPower.PAUSED: (Status.PAUSED, "paused"),
    ObservedPower.SUSPENDED: (Status.SUSPENDED, "suspended"),
    ObservedPower.ABSENT: (Status.SHUTOFF, "stopped"),
}

LOST_AFTER = 5.0
"""Seconds after which a report counts for more than what was recorded before it: reports are on their way for less."""


TRY_AGAIN = "A hard reboot tries again; what is not wanted any more can be deleted."
MAKE_ROOM = "Delete it and create one that fits; or have an administrator reset its state (os-resetState), and a host is looked for again."
"""What may be done about a server in ERROR: on a host, and where none was found."""


class Next(StrEnum):
    """The one thing that a step does."""

    NOTHING = "nothing"
    PLACE = "place"
    APPLY = "apply"
    FOLLOW = "follow"  # the guest changed by itself: what is wanted follows it
    RESIZE = "resize"
    SNAPSHOT = "snapshot"
    REMOVE = "remove"


def next_step(server: Server) -> Next:
    """What to do about a server now. One that moves is in the hands of its migration."""
    if server.removed_at is not None or server.migration is not None:
        return Next.NOTHING
    if server.deleted_at is not None:
        return Next.REMOVE
    if server.host is None:
        return Next.NOTHING if server.fault else Next.PLACE
    seen = server.observed
    if seen is None or seen.generation < server.generation:
        return Next.NOTHING if server.fault else Next.APPLY
    if server.resize is not None and server.resize.step != ResizeStep.APPLY:
        return Next.RESIZE
    if seen.power != REACHED[server.power]:
        return Next.FOLLOW
    return Next.SNAPSHOT if server.pending_snapshot else Next.NOTHING


def fault_of(server: Server, reason: str, now: float, details: str = "") -> ServerFault:
    """What the owner of a server in ERROR is told: why, and the way out. All that sets an ERROR asks for it here."""
    cause = reason.strip() or "The host does not say why."
    cause = cause if cause.endswith((".", "!", "?")) else f"{cause}."
    way_out = TRY_AGAIN if server.host is not None else MAKE_ROOM
    return ServerFault(code=500, message=f"{cause} {way_out}", details=details, created_at=now)


def followed(power: ObservedPower) -> Power:
    """The power to want of a guest that changed by itself."""
    if power in (ObservedPower.STOPPED, ObservedPower.CRASHED, ObservedPower.ABSENT):
        return Power.STOPPED
    return Power(power.value)


def is_stale(server: Server, seen: ObservedGuest, at: float) -> bool:
    """Whether this was seen, at that time, before what is known: an earlier generation, unless it is so much later that the host must
    have lost the newer one."""
    known = server.observed
    return known is not None and seen.generation < known.generation and at < server.updated_at + LOST_AFTER


def observe(server: Server, seen: ObservedGuest, now: float) -> Server:
    """The server after its node saw its guest. It was launched when it first reached what was wanted.

    An error that stands in a report becomes no fault: it may be of an apply that its owner has already asked to be done again.
    What a guest does while it moves changes nothing of what is wanted.
    """
    changes: dict[str, object] = {"observed": seen, "updated_at": now}
    if server.migration is not None:
        return msgspec.structs.replace(server, **changes)
    by_itself = seen.generation >= server.generation and seen.power != REACHED[server.power]
    if by_itself or _ended_meanwhile(server, seen):  # at once: what its owner asks for next is asked of the guest as it is
        changes |= {"power": followed(seen.power), "generation": max(server.generation, seen.generation) + 1}
    reached = seen.generation >= server.generation and seen.error is None and seen.power == REACHED[server.power]
    if server.launched_at is None and reached:
        changes["launched_at"] = now
    return msgspec.structs.replace(server, **changes)


def _ended_meanwhile(server: Server, seen: ObservedGuest) -> bool:
    """Whether a guest has ended by itself before a change was applied that its owner asked for without knowing: a rename does not
    start it again. A reboot or a rebuild does."""
    known = server.observed
    ran = seen.generation > 0 if known is None else known.power in (ObservedPower.RUNNING, ObservedPower.PAUSED)
    if not ran or seen.power not in OFF or server.power != Power.RUNNING:
        return False
    asked = (server.reboots_soft, server.reboots_hard, server.builds) != (seen.reboots_soft, seen.reboots_hard, seen.builds)
    return seen.generation < server.generation and not asked


def derive(server: Server) -> Server:
    """The server with status, vm_state, task_state, power_state and next_step as they follow from the rest."""
    status, vm_state, task = _states(server)
    power_state = POWER_STATE[server.observed.power] if server.observed else 0
    following = next_step(server).value
    return msgspec.structs.replace(server, status=status, vm_state=vm_state, task_state=task, power_state=power_state, next_step=following)


def _states(server: Server) -> tuple[Status, str, str | None]:
    seen = server.observed
    if server.removed_at is not None:
        return Status.DELETED, "deleted", None
    if server.launched_at is None or seen is None:
        if server.fault:
            return Status.ERROR, "error", "deleting" if server.deleted_at else None
        task = "deleting" if server.deleted_at else "scheduling" if server.host is None else "spawning"
        return Status.BUILD, "building", task
    status, vm_state = SETTLED[seen.power]
    if server.fault:
        status, vm_state = Status.ERROR, "error"
    if server.deleted_at is not None:
        return status, vm_state, "deleting"
    if server.resize is not None and server.fault is None:
        return _resizing(server.resize.step, seen.generation >= server.generation, vm_state)
    if server.migration is not None and server.fault is None:
        return Status.MIGRATING, vm_state, "migrating"
    task = _task(server, seen)
    in_progress = {
        "rebooting": Status.REBOOT,
        "reboot_started_hard": Status.HARD_REBOOT,
        "rebooting_hard": Status.HARD_REBOOT,
        "rebuilding": Status.REBUILD,
    }
    if server.fault is None and task in in_progress:
        status = in_progress[task]
    return status, vm_state, task


def _resizing(step: ResizeStep, reached: bool, vm_state: str) -> tuple[Status, str, str | None]:
    if step == ResizeStep.CLAIM:
        return Status.RESIZE, vm_state, "resize_prep"
    if step == ResizeStep.MOVE:
        return Status.RESIZE, vm_state, "resize_migrating"
    if step in (ResizeStep.REVERT, ResizeStep.REVERTED):
        return Status.REVERT_RESIZE, "resized", "resize_reverting"
    if step == ResizeStep.APPLY and not reached:
        return Status.RESIZE, vm_state, "resize_finish"
    return Status.VERIFY_RESIZE, "resized", None


def _task(server: Server, seen: ObservedGuest) -> str | None:
    if server.fault:
        return None
    copying = "image_snapshot" if server.pending_snapshot else None
    if seen.generation < server.generation:
        if seen.builds < server.builds:
            return "rebuilding"
        if seen.reboots_hard < server.reboots_hard:
            return "rebooting_hard"
        if seen.reboots_soft < server.reboots_soft:
            return "rebooting"
        return _power_task(seen.power, server.power) or copying
    return copying


def _power_task(seen: ObservedPower, wanted: Power) -> str | None:
    if seen == REACHED[wanted]:
        return None
    if wanted == Power.RUNNING:
        return {ObservedPower.PAUSED: "unpausing", ObservedPower.SUSPENDED: "resuming"}.get(seen, "powering-on")
    return {Power.STOPPED: "powering-off", Power.PAUSED: "pausing", Power.SUSPENDED: "suspending"}[wanted]
