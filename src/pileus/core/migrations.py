"""What decides about a migration: whether a host can take the guest, whether its disks are copied, how soon to look again."""

from pileus.core.moves import can_run
from pileus.model.guests import ObservedGuest
from pileus.model.hosts import DriverCapabilities, HostReport
from pileus.model.migrations import Migration, MigrationKind, MigrationStep
from pileus.model.moves import MovePhase, MoveProgress

SLOW, QUICK = 0.5, 0.05  # seconds between looks at a move
NEARLY = 1.0  # seconds of sending that are left when the looks become quick
GIVEN_AWAY = (MovePhase.SWITCHED, MovePhase.POST_COPY)
"""With these the source runs the guest no more."""
UNDOABLE = (MigrationStep.PLACE, MigrationStep.STOP, MigrationStep.PREPARE, MigrationStep.SEND)
"""Until the records say that the guest is the destination's."""


def copies_disks(source: HostReport, destination: HostReport) -> bool:
    """Whether the guest's disks are sent along: unless both hosts see them in the same place."""
    return not (source.shared_disks and destination.shared_disks)


def refusal(migration: Migration, seen: ObservedGuest | None, source: HostReport, destination: HostReport, live: bool) -> str:
    """Why the destination can't take the guest from the source; empty when it can."""
    copied = copies_disks(source, destination)
    if migration.kind == MigrationKind.EVACUATION and source.shared_disks and copied:
        return "does not see the disks that the lost host shares"  # it would begin with an empty one
    if migration.block_migration is True and not copied:
        return "its guests' disks are shared with the source: nothing is to be copied (block_migration)"
    if migration.block_migration is False and copied:
        return "it does not share its guests' disks with the source: they have to be copied (block_migration)"
    name = seen.hypervisor if seen else ""
    here, there = _driver(source, name), _driver(destination, name)
    if there is None or here is None:
        return f"has no hypervisor {name or 'at all'}"
    if not live or seen is None:
        return ""
    return can_run(seen.machine, seen.cpu_model, here, there)


def _driver(report: HostReport, name: str) -> DriverCapabilities | None:
    return next((one for one in report.capabilities if name in ("", one.driver)), None)


def look_again(progress: MoveProgress) -> float:
    """Seconds until the next look at a move: soon when it is nearly over, as the guest waits for us then."""
    if progress.phase != MovePhase.MEMORY:
        return QUICK if progress.phase in GIVEN_AWAY else SLOW
    bandwidth = progress.rounds[-1].bandwidth if progress.rounds else 0
    return QUICK if progress.memory_remaining <= bandwidth * NEARLY or not progress.rounds else SLOW
