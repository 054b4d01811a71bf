"""Invariants of guests: what hosts run against what records say."""

from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.world import World
from pileus.model.guests import ObservedPower, Power
from pileus.model.migrations import MigrationKind

GIB = 1 << 30
QEMU = "qemu"
"""Other hypervisors may keep disks elsewhere."""


def running_servers_run(world: World) -> Findings:
    """Records against the hypervisor."""
    for view in world.views:
        guests = {guest.id: guest for guest in view.guests}
        for server in world.settled_on.get(view.host, []):
            guest = guests.get(server.id)
            power = guest.power if guest else ObservedPower.ABSENT
            if server.fault is None and server.power == Power.RUNNING and power != ObservedPower.RUNNING:
                yield Finding(evidence=f"server {server.id} ({server.name}) should run on {view.host}, the hypervisor says {power}")


def stopped_servers_do_not_run(world: World) -> Findings:
    """Records against the hypervisor, the other way."""
    for view in world.views:
        guests = {guest.id: guest for guest in view.guests}
        for server in world.settled_on.get(view.host, []):
            guest = guests.get(server.id)
            if server.power == Power.STOPPED and guest is not None and guest.power == ObservedPower.RUNNING:
                yield Finding(
                    evidence=f"server {server.id} ({server.name}) should be stopped, but process {guest.pid} runs it on {view.host}"
                )


def guests_have_servers(world: World) -> Findings:
    """The hypervisor against records."""
    allowed = {(server.id, server.host) for server in world.servers}
    allowed |= {(move.server_id, host) for move in world.alive.values() for host in (move.source, move.destination)}
    for view in world.views:
        for guest in view.guest_directories:
            if (guest, view.host) not in allowed:
                yield Finding(
                    evidence=f"guest {guest} is on host {view.host}, where no server of that id is placed; its disks may be all that is "
                    f"left of a server: look at node/guests/{guest} there, keep what you need, then remove the directory"
                )


def guests_run_once(world: World) -> Findings:
    """Two processes on one disk destroy it."""
    for view in world.views:
        for guest, pids in sorted(view.processes.items()):
            if len(pids) > 1:
                yield Finding(evidence=f"guest {guest} has {len(pids)} processes on {view.host}: {pids}; stop all but the oldest at once")


def guests_run_on_one_host(world: World) -> Findings:
    """Two hosts with one disk destroy it, too. While a guest is sent, its destination has a process that waits for it."""
    sent = {
        (move.server_id, *sorted(host for host in (move.source, move.destination) if host))
        for move in world.alive.values()
        if move.kind != MigrationKind.EVACUATION
    }
    for guest, hosts in sorted(world.running_on.items()):
        if len(hosts) > 1 and (guest, *sorted(hosts)) not in sent:
            yield Finding(evidence=f"guest {guest} has processes on the hosts {', '.join(sorted(hosts))}")


def fenced_hosts_run_nothing(world: World) -> Findings:
    """What a host that is said to be off runs may run elsewhere by now."""
    for view in world.views:
        if view.host in world.fenced:
            for guest, pids in sorted(view.processes.items()):
                yield Finding(evidence=f"host {view.host} was fenced, and process {pids} runs guest {guest}")


def processes_have_guests(world: World) -> Findings:
    """No process is left of a guest that is gone."""
    for view in world.views:
        known = set(view.guest_directories)
        for guest, pids in sorted(view.processes.items()):
            if guest not in known:
                yield Finding(evidence=f"process {pids} on {view.host} runs guest {guest}, of which nothing else is left; end it")


def disks_are_whole(world: World) -> Findings:
    """What the disk checker says."""
    for view in world.views:
        for line in view.broken_disks:
            yield Finding(evidence=f"{line}; stop the server, copy the disk, then qemu-img check -r all")


def guests_have_their_disks(world: World) -> Findings:
    """A server about which nothing is being done has its root disk."""
    for view in world.views:
        roots = {disk.guest for disk in view.disks or [] if disk.name == "root"}
        there = set(view.guest_directories)
        for server in world.settled_on.get(view.host, []):
            ours = server.fault is None and server.observed is not None and server.observed.hypervisor == QEMU
            if view.disks is not None and ours and server.id in there and server.id not in roots:
                yield Finding(evidence=f"server {server.id} ({server.name}) has no root disk on {view.host}; a rebuild makes it anew")


def disks_have_their_bases(world: World) -> Findings:
    """What a disk lies over is there: else the guest can't be started again."""
    for view in world.views:
        settled = {server.id for server in world.settled_on.get(view.host, [])}
        for disk in view.disks or []:
            if disk.guest in settled and not disk.backed:
                yield Finding(
                    evidence=f"disk {disk.name} of server {disk.guest} on {view.host} lies over {disk.backing}, which is gone; copy it "
                    "back from the image of that hash"
                )


def disks_are_as_large_as_flavors(world: World) -> Findings:
    """A guest gets the root disk that its flavor promises."""
    for view in world.views:
        sizes = {disk.guest: disk.size for disk in view.disks or [] if disk.name == "root"}
        for server in world.settled_on.get(view.host, []):
            wanted = server.flavor.disk * GIB
            if server.fault is None and wanted > sizes.get(server.id, wanted):
                yield Finding(
                    evidence=f"the root disk of server {server.id} on {view.host} has {sizes[server.id]} bytes, its flavor says "
                    f"{server.flavor.disk} GiB; stop the server, and qemu-img resize the disk"
                )


def hosts_can_be_looked_at(world: World) -> Findings:
    """What is not seen is not known to be well."""
    for line in world.unseen:
        yield Finding(evidence=line)


INVARIANTS = invariants(
    (running_servers_run, "A server that should run has a running guest on its host."),
    (stopped_servers_do_not_run, "A server that should be stopped has no running guest."),
    (guests_have_servers, "Every guest on a host belongs to a server that is placed there."),
    (guests_run_once, "A guest runs at most once."),
    (guests_run_on_one_host, "A guest runs on one host only."),
    (fenced_hosts_run_nothing, "A host that was fenced runs nothing."),
    (processes_have_guests, "Every hypervisor process belongs to a guest."),
    (disks_are_whole, "The disk checker finds no error."),
    (guests_have_their_disks, "A server about which nothing is being done has its root disk."),
    (disks_have_their_bases, "What a disk lies over is there."),
    (disks_are_as_large_as_flavors, "A root disk is as large as the flavor says."),
    (hosts_can_be_looked_at, "Every host answers when it is looked at."),
)
