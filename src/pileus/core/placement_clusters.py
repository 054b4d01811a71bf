"""The first of a placement's two levels: which cluster, of those that have a host that fits."""

from pileus.core.placement_hosts import Hosts
from pileus.model.placement import ClusterScore, PlacementRequest

SHOWN = 8


def choose_cluster(request: PlacementRequest, hosts: Hosts, pool: int) -> tuple[ClusterScore, list[ClusterScore], str]:
    """(the chosen one, the best of them all, why that one). `pool` are the hosts that fit, at least one.

    The freest cluster, by the share of its room that nobody has; but a soft policy of a server group comes first, as it speaks of hosts.
    """
    members = hosts.places(request.group_hosts) if request.group_policy in ("soft-affinity", "soft-anti-affinity") else 0
    near = request.group_policy == "soft-affinity"
    found: list[tuple[bool, float, str, ClusterScore]] = []
    for name, of_cluster in hosts.clusters().items():
        fitting = pool & of_cluster
        if fitting:
            suits = bool(fitting & members) if near else bool(fitting & ~members)
            free = hosts.free_share(name)
            found.append((not suits, -free, name, ClusterScore(cluster=name, fitting=fitting.bit_count(), free=free)))
    found.sort(key=lambda one: one[:3])
    first = found[0][3]
    return first, [one[3] for one in found[:SHOWN]], _why(request, first, [one[3] for one in found[1:]], members, near)


def _why(request: PlacementRequest, first: ClusterScore, others: list[ClusterScore], members: int, near: bool) -> str:
    if request.cluster is not None:
        return "the server is in this cluster"
    if not others:
        return "the only one with a host that fits"
    if max(one.free for one in others) > first.free and members:
        return "it has hosts of the server group" if near else "it has hosts without members of the server group"
    return f"{first.free:.0%} of it is free, the most of {len(others) + 1} clusters with hosts that fit"
