"""Where a server goes: filters take hosts away, then a cluster is chosen, then the best of its hosts; the Decision says all of it.

The filters and weighers are Nova's in meaning. The work is done on sets of hosts (placement_hosts.py), not host by host.
Same request, same hosts: same decision, whatever happened before.
"""

from collections.abc import Iterable
from itertools import islice

import msgspec

from pileus.core.bits import first
from pileus.core.placement_clusters import choose_cluster
from pileus.core.placement_filters import Test, tests_of
from pileus.core.placement_hosts import Hosts
from pileus.core.placement_nearest import nearest_of
from pileus.core.placement_weights import group_weight
from pileus.model.placement import Decision, HostView, PlacementRequest, Reason, Removal, Score

EXPLAINED = 20
"""Hosts removed by one test of which each gets its own reason; of more, the first NAMED are named under a reason for all."""
NAMED = 5
SCORES_KEPT = 5
ALTERNATES = 3


def choose(request: PlacementRequest, hosts: Hosts | Iterable[HostView]) -> Decision:
    """The decision about one request."""
    known = hosts if isinstance(hosts, Hosts) else Hosts(hosts)
    known.settle()
    decision = Decision()
    for more in request.one_of or [{}]:
        resources = {name: request.resources.get(name, 0) + more.get(name, 0) for name in {**request.resources, **more}}
        decision = _choose(msgspec.structs.replace(request, resources=resources) if more else request, known)
        if decision.host is not None:
            break
    return decision


def _choose(request: PlacementRequest, hosts: Hosts) -> Decision:
    log = _Log(hosts)
    named = _by_name(request, hosts, log)
    stages = [named]  # what is left before each test
    tests = tests_of(request)
    for test in tests:
        before = stages[-1]
        if not before:
            break
        after = before & hosts.passing(test)
        if after != before:
            log.test(test, before & ~after)
        stages.append(after)
    if not stages[-1]:
        nearby = nearest_of(request, hosts, stages, tests)
        return Decision(resources=request.resources, considered=len(hosts), removals=log.removals(), nearest=nearby[0], nearby=nearby[1:])
    return _decided(request, hosts, stages[-1], log)


def _decided(request: PlacementRequest, hosts: Hosts, pool: int, log: "_Log") -> Decision:
    cluster, clusters, why = choose_cluster(request, hosts, pool)
    best = _best(request, hosts, cluster.cluster, pool & hosts.clusters()[cluster.cluster])
    view = hosts.by_name[best[0].host]
    return Decision(
        host=view.name,
        provider_id=view.id,
        generation=view.generation,
        resources=request.resources,
        considered=len(hosts),
        fitting=pool.bit_count(),
        removals=log.removals(),
        cluster=cluster.cluster,
        cluster_reason=why,
        clusters=clusters,
        scores=best,
        alternates=[one.host for one in best[1 : ALTERNATES + 1]],
    )


class _Log:
    """What was removed by which filter and why, in the order of the filters."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.found: dict[str, list[Reason]] = {}

    def add(self, kind: str, text: str, removed: int) -> None:
        """One reason for all of these."""
        if removed:
            names = [self.hosts.at(place).name for place in first(removed, NAMED)]
            self.found.setdefault(kind, []).append(Reason(text=text, count=removed.bit_count(), hosts=names))

    def test(self, test: Test, removed: int) -> None:
        """Each host's own reason where they are few."""
        if removed.bit_count() > EXPLAINED:
            self.add(test.filter, test.text, removed)
            return
        texts: dict[str, list[str]] = {}
        for place in first(removed, EXPLAINED):
            view = self.hosts.at(place)
            texts.setdefault(test.refusal(view.state), []).append(view.name)
        self.found.setdefault(test.filter, []).extend(Reason(text=text, count=len(names), hosts=names) for text, names in texts.items())

    def removals(self) -> list[Removal]:
        """The commonest reasons of each filter first."""
        return [
            Removal(
                filter=kind,
                count=sum(one.count for one in reasons),
                reasons=sorted(reasons, key=lambda one: (-one.count, one.text)),
            )
            for kind, reasons in self.found.items()
        ]


# What names hosts.


def _by_name(request: PlacementRequest, hosts: Hosts, log: _Log) -> int:
    pool = hosts.everyone
    for kind, text, names in _wanted(request):
        left = pool & hosts.places(names)
        log.add(kind, text, pool & ~left)
        pool = left
    barred: dict[tuple[str, str], list[str]] = {}
    for name, reason in _barred(request).items():
        barred.setdefault(reason, []).append(name)
    for (kind, text), names in sorted(barred.items()):
        removed = pool & hosts.places(names)
        log.add(kind, text, removed)
        pool &= ~removed
    return pool


def _wanted(request: PlacementRequest) -> Iterable[tuple[str, str, Iterable[str]]]:
    """(filter, reason for the others, names) where only some hosts may do."""
    if request.host is not None:
        yield "requested host", f"{request.host} was asked for", [request.host]
    if request.same_host is not None:
        yield "same_host hint", "not the host of the servers named by the hint", request.same_host
    if request.group_policy == "affinity" and request.group_hosts:
        yield "server group affinity", "not the host of the group's members", request.group_hosts


def _barred(request: PlacementRequest) -> dict[str, tuple[str, str]]:
    barred: dict[str, tuple[str, str]] = {}
    if request.group_policy == "anti-affinity":
        for name, count in request.group_hosts.items():
            if count >= request.max_per_host:
                text = f"as many of the group's members here as there may be: {request.max_per_host}"
                barred[name] = ("server group anti-affinity", text)
    for name in request.different_host:
        barred[name] = ("different_host hint", "a server named by the hint is here")
    for name, reason in request.avoid.items():
        barred[name] = ("avoid", reason)
    return barred


# Ranking.


def _best(request: PlacementRequest, hosts: Hosts, cluster: str, pool: int) -> list[Score]:
    """The best hosts of a set, best first; those of a soft server group stand for themselves."""
    members = pool & hosts.places(request.group_hosts) if request.group_policy in ("soft-affinity", "soft-anti-affinity") else 0
    places = list(islice(hosts.best(cluster, pool & ~members, request.seed), SCORES_KEPT))
    found = [_score(request, hosts, place, bool(members)) for place in places]
    if members:
        found += [_score(request, hosts, place, True) for place in hosts.best(cluster, members, request.seed)]
        found.sort(key=lambda one: -one.total)  # stable: equals stay in the order of the seed
    return found[:SCORES_KEPT]


def _score(request: PlacementRequest, hosts: Hosts, place: int, grouped: bool) -> Score:
    weights = hosts.weights(place)
    name = hosts.at(place).name
    if grouped:
        weights["server group"] = group_weight(request, name)
    return Score(host=name, total=round(sum(weights.values()), 6), weights=weights)
