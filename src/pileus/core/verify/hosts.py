"""Invariants of hosts: their records, aggregates, and who leads them."""

from pileus.core.verify.invariant import Finding, Findings, invariants
from pileus.core.verify.repairs import DeleteRow, JoinAggregate, LeaveAggregate
from pileus.core.verify.world import World

AHEAD = 60.0
"""Seconds by which a host's clock may be ahead."""
LEADERLESS = 120.0
"""Seconds after which somebody else should have taken a lease over."""
NOVA = "nova"


def reports_are_the_hosts(world: World) -> Findings:
    """What a host's record says of it, that host has said."""
    for host in world.hosts:
        if host.report is not None and (host.report.host, host.report.cluster) != (host.name, host.cluster):
            yield Finding(
                evidence=f"host {host.name} of cluster {host.cluster} has a report of {host.report.host} of cluster {host.report.cluster}"
            )


def heartbeats_are_past(world: World) -> Findings:
    """A report from the future would keep a silent host up."""
    for host in world.hosts:
        if host.seen_at > world.now + AHEAD:
            yield Finding(evidence=f"host {host.name} was last seen in the future; set the clocks of this machine and of that one")


def host_numbers_are_unique(world: World) -> Findings:
    """Old clients name hosts by their number, new ones by their service's id."""
    seen: dict[object, str] = {}
    for host in world.hosts:
        for name in (host.number, host.service_id):
            if seen.setdefault(name, host.name) != host.name:
                yield Finding(evidence=f"hosts {seen[name]} and {host.name} are both called {name}")


def aggregates_have_hosts(world: World) -> Findings:
    """An aggregate's hosts exist."""
    for aggregate in world.aggregates:
        for name in aggregate.hosts:
            if name not in world.host_of:
                yield Finding(
                    evidence=f"aggregate {aggregate.name} has the host {name}, which is gone",
                    repair=LeaveAggregate(aggregate_id=aggregate.id, host=name),
                )


def aggregates_are_in_placement(world: World) -> Findings:
    """Placement knows which hosts are in an aggregate."""
    wanted: dict[str, set[str]] = {}
    for aggregate in world.aggregates:
        for name in aggregate.hosts:
            wanted.setdefault(name, set()).add(aggregate.id)
    ours = {one.id for one in world.aggregates}
    for host in world.hosts:
        provider = world.provider_of.get(host.id)
        if provider is None:
            continue
        have = {one for one in provider.aggregates if one in ours}
        should = wanted.get(host.name, set())
        for id in sorted(have ^ should):
            words = "should be" if id in should else "should not be"
            yield Finding(
                evidence=f"the provider of host {host.name} {words} in aggregate {id}",
                repair=JoinAggregate(host=host.name, aggregate_id=id, member=id in should),
            )


def host_zones_follow(world: World) -> Findings:
    """A host is in the availability zone of an aggregate that names one, else in nova."""
    zones: dict[str, set[str]] = {}
    for aggregate in world.aggregates:
        if aggregate.availability_zone:
            for name in aggregate.hosts:
                zones.setdefault(name, set()).add(aggregate.availability_zone)
    for host in world.hosts:
        if host.availability_zone not in zones.get(host.name, {NOVA}):
            yield Finding(
                evidence=f"host {host.name} is in zone {host.availability_zone}, its aggregates say {sorted(zones.get(host.name, {NOVA}))}"
            )


def clusters_are_led(world: World) -> Findings:
    """When anybody leads, no lease lies about whose holder is gone."""
    clusters = {f"cluster/{host.cluster}" for host in world.hosts}
    someone = any(one.left > 0 for one in world.leases)
    for lease in world.leases:
        overdue = lease.left < -LEADERLESS and not lease.returned
        if someone and overdue and lease.name in clusters:
            yield Finding(
                evidence=f"{lease.name} was led by {lease.holder}, which is gone, and nobody has taken over; start a Cluster Manager for it"
            )


def limits_are_sound(world: World) -> Findings:
    """A limit is one of something that is counted; -1 is none."""
    for project, resource, limit in world.quota_limits:
        if resource not in world.countables or limit < -1:
            yield Finding(
                evidence=f"project {project or '(default)'} has the limit {limit} of {resource}",
                repair=None
                if resource in world.countables
                else DeleteRow(table="quotas", key=(("project_id", project), ("resource", resource)), why="nothing so called is counted"),
            )


INVARIANTS = invariants(
    (reports_are_the_hosts, "A host's report is its own."),
    (heartbeats_are_past, "No host was seen in the future."),
    (host_numbers_are_unique, "No two hosts have a number or a service's id in common."),
    (aggregates_have_hosts, "The hosts of an aggregate exist."),
    (aggregates_are_in_placement, "Placement has hosts in the same aggregates."),
    (host_zones_follow, "A host's availability zone is that of its aggregates."),
    (clusters_are_led, "Where anybody leads, no cluster with hosts is without a leader."),
    (limits_are_sound, "Every limit is of something that is counted."),
    repairable=(aggregates_have_hosts, aggregates_are_in_placement, limits_are_sound),
)
