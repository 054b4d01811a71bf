"""What a node saw of a guest, taken into the records: the server's row, its ports and its history, in one transaction."""

from pileus import clock
from pileus.core.servers import is_stale
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.servers import Server
from pileus.store import actions, ports, servers
from pileus.store.database import Transaction

CARRY = (ObservedPower.RUNNING, ObservedPower.PAUSED)
"""With these the ports of a guest are ACTIVE."""
EVENTS = {
    "scheduling": "conductor_schedule_and_build_instances",
    "spawning": "compute__do_build_and_run_instance",
    "powering-on": "compute_start_instance",
    "powering-off": "compute_stop_instance",
    "pausing": "compute_pause_instance",
    "unpausing": "compute_unpause_instance",
    "suspending": "compute_suspend_instance",
    "resuming": "compute_resume_instance",
    "rebooting": "compute_reboot_instance",
    "rebooting_hard": "compute_reboot_instance",
    "resize_finish": "compute_finish_resize",
    "rebuilding": "compute_rebuild_instance",
    "deleting": "compute_terminate_instance",
}
"""Task state -> the event's name in Nova."""


async def record(tx: Transaction, server_id: str, seen: ObservedGuest, at: float) -> Server | None:
    """Write what was seen at a time, by a report or by the answer to an apply: whichever comes first ends what was asked.

    Returns the server as it is then; None when there is no such server. What is older than what is known is left out.
    """
    before = await servers.SERVERS.get(tx, server_id)
    return None if before is None else await record_on(tx, before, seen, at)


async def record_on(tx: Transaction, before: Server, seen: ObservedGuest, at: float) -> Server | None:
    """As `record`, of a row that was read in this very transaction."""
    if before.removed_at is not None:
        return None
    if is_stale(before, seen, at):
        return before
    after = await servers.observed_as(tx, before, seen, clock.now())
    await ports.set_ports_active(tx, before.id, seen.power in CARRY)
    event = EVENTS.get(before.task_state or "")
    if event is not None and after.task_state is None and after.fault is None:
        await actions.finish(tx, before.id, after.request_id, event, host=after.host)
    return after
