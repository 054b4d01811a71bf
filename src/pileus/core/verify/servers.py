"""Invariants of servers' records: what follows from what, and the history of what was asked of them."""

from pileus.core.servers import derive
from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.repairs import Rederive
from pileus.core.verify.world import World
from pileus.model.servers import Status


def states_follow(world: World) -> Findings:
    """The words of Nova in a row are those that follow from what is wanted and seen."""
    for server in world.servers:
        fresh = derive(server)
        if (fresh.status, fresh.vm_state, fresh.task_state) != (server.status, server.vm_state, server.task_state):
            yield Finding(
                evidence=f"server {server.id} is stored as {server.status}/{server.task_state}, but is {fresh.status}/{fresh.task_state}",
                repair=Rederive(server_id=server.id),
            )


def next_steps_follow(world: World) -> Findings:
    """Else nobody would do what is to be done about it."""
    for server in world.servers:
        fresh = derive(server)
        if (fresh.next_step, fresh.power_state) != (server.next_step, server.power_state):
            yield Finding(
                evidence=f"server {server.id} waits for {server.next_step} (power state {server.power_state}), "
                f"but is to {fresh.next_step} (power state {fresh.power_state})",
                repair=Rederive(server_id=server.id),
            )


def errors_have_causes(world: World) -> Findings:
    """Its owner is told why."""
    for server in world.servers:
        if server.status == Status.ERROR and (server.fault is None or not server.fault.message.strip()):
            yield Finding(evidence=f"server {server.id} is in ERROR, and its fault says nothing; a hard reboot tries again")


def sizes_are_the_flavors(world: World) -> Findings:
    """Quotas add up these columns."""
    for server in world.servers:
        if (server.vcpus, server.memory_mib) != (server.flavor.vcpus, server.flavor.ram):
            yield Finding(
                evidence=f"server {server.id} counts {server.vcpus} vCPUs and {server.memory_mib} MiB, its flavor {server.flavor.name} has "
                f"{server.flavor.vcpus} and {server.flavor.ram}"
            )


def placed_servers_have_hosts(world: World) -> Findings:
    """Nobody answers for a server on a host that is not there."""
    for server in world.servers:
        if server.host is not None and server.host not in world.host_of:
            yield Finding(evidence=f"server {server.id} is on {server.host}, and no host has that name; start that host's agent again")


def zones_are_the_hosts(world: World) -> Findings:
    """A server is in the availability zone of its host."""
    for server in world.servers:
        host = world.host_of.get(server.host or "")
        if host is not None and server.id in world.settled and server.availability_zone != host.availability_zone:
            yield Finding(
                evidence=f"server {server.id} is said to be in zone {server.availability_zone}, its host {host.name} is in "
                f"{host.availability_zone}"
            )


def launched_servers_were_placed(world: World) -> Findings:
    """Only what is on a host can have run there."""
    for server in world.servers:
        if server.observed is not None and server.host is None:
            yield Finding(evidence=f"server {server.id} was seen {server.observed.power}, and is on no host")


def newest_actions_end(world: World) -> Findings:
    """What was asked last of a server about which nothing is being done has come to an end."""
    for action, event in world.open_events:
        server = world.server_of.get(action.server_id)
        newest = server is not None and server.request_id == action.request_id
        if server is not None and newest and server.id in world.settled and server.fault is None and server.migration is None:
            yield Finding(
                evidence=f"step {event.event} of action {action.action} of server {server.id} has no end, and nothing is being done"
            )


def ended_steps_have_results(world: World) -> Findings:
    """A step that has ended says how."""
    for event in world.odd_events:
        if (event.result is None) != (event.finished_at is None):
            yield Finding(evidence=f"step {event.event} ({event.id}) has the result {event.result} and ended at {event.finished_at}")


def failed_steps_say_why(world: World) -> Findings:
    """A step that failed tells its server's owner why."""
    for event in world.odd_events:
        if event.result == "Error" and not (event.details or "").strip():
            yield Finding(evidence=f"step {event.event} ({event.id}) failed without a word")


INVARIANTS = invariants(
    (states_follow, "A server's status follows from what is wanted and seen."),
    (next_steps_follow, "What is to be done next about a server follows from its row."),
    (errors_have_causes, "A server in ERROR says why."),
    (sizes_are_the_flavors, "A server counts the vCPUs and memory of its flavor."),
    (placed_servers_have_hosts, "A server's host is known."),
    (zones_are_the_hosts, "A server is in the availability zone of its host."),
    (launched_servers_were_placed, "A server that was seen has a host."),
    (newest_actions_end, "The newest action of a server about which nothing is being done has ended."),
    (ended_steps_have_results, "A step of an action that has ended has a result."),
    (failed_steps_say_why, "A step of an action that failed says why."),
    repairable=(states_follow, next_steps_follow),
)
