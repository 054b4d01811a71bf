"""Where a server goes: filters take hosts away, weighers rank the rest; the Decision says all of it.

The filters and weighers are Nova's in meaning. Work is done for each state of hosts, not for each host (see placement_hosts.py);
only what names hosts (a requested host, hints, server groups) looks at names. Same request, same hosts, same seed: same decision.
"""

from collections.abc import Callable, Iterable, Sequence

from pileus.core.placement_hosts import Hosts
from pileus.model.placement import Decision, HostState, HostView, PlacementRequest, Reason, Removal, Score

NAMES_KEPT = 20
REASONS_KEPT = 20
SCORES_KEPT = 10
ALTERNATES = 3
WORDS = {"VCPU": "vCPUs", "PCPU": "dedicated CPUs", "MEMORY_MB": "MiB of memory", "DISK_GB": "GiB of disk"}

Pool = list[tuple[HostState, Sequence[str]]]
Filter = Callable[[PlacementRequest, HostState], str]


def choose(request: PlacementRequest, hosts: Hosts | Iterable[HostView]) -> Decision:
    """The decision about one request."""
    known = hosts if isinstance(hosts, Hosts) else Hosts(hosts)
    log = _Log()
    pool = _by_state(request, _by_name(request, known, log), log)
    if not pool:
        nearest = _nearest(request, known)
        return Decision(resources=request.resources, considered=len(known), removals=log.removals(), nearest=nearest)
    ranked = _rank(request, pool)
    order = _in_order(ranked, request.seed)
    first = known.by_name[order[0][0]]
    return Decision(
        host=first.name,
        provider_id=first.id,
        generation=first.generation,
        resources=request.resources,
        considered=len(known),
        fitting=sum(len(names) for _, names in pool),
        removals=log.removals(),
        scores=[Score(host=name, total=round(sum(weights.values()), 6), weights=weights) for name, weights in order],
        alternates=[name for name, _ in order[1 : ALTERNATES + 1]],
    )


class _Log:
    """What was removed by which filter and why."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, tuple[int, list[str]]]] = {}

    def add(self, kind: str, text: str, names: Sequence[str]) -> None:
        if not names:
            return
        count, kept = self.found.setdefault(kind, {}).get(text, (0, []))
        if len(kept) < NAMES_KEPT or names[0] < kept[-1]:
            kept = sorted([*kept, *names[:NAMES_KEPT]])[:NAMES_KEPT]
        self.found[kind][text] = (count + len(names), kept)

    def removals(self) -> list[Removal]:
        """What was removed: what names hosts first, then in the order of the filters; the commonest reasons first."""
        result: list[Removal] = []
        for kind, texts in sorted(self.found.items(), key=lambda item: (ORDER.get(item[0], -1), item[0])):
            total = sum(count for count, _ in texts.values())
            common = sorted(texts.items(), key=lambda item: (-item[1][0], item[0]))
            kept = [Reason(text=text, count=count, hosts=names) for text, (count, names) in common[:REASONS_KEPT]]
            result.append(Removal(filter=kind, count=total, reasons=kept))
        return result


# What names hosts.


def _by_name(request: PlacementRequest, hosts: Hosts, log: _Log) -> Pool:
    only = _wanted_names(request)
    barred = _barred_names(request)
    pool: Pool = list(hosts.states.items()) if only is None else _pick(hosts, only[2])
    if only is not None:
        kind, text, names = only
        log.add(kind, text, sorted(name for name in hosts.by_name if name not in names))
    if not barred:
        return pool
    touched = {hosts.by_name[name].state for name in barred if name in hosts.by_name}
    result: Pool = []
    for state, names in pool:
        if state in touched:
            for name in names:
                if name in barred:
                    log.add(*barred[name], [name])
            names = [name for name in names if name not in barred]
        if names:
            result.append((state, names))
    return result


def _wanted_names(request: PlacementRequest) -> tuple[str, str, frozenset[str]] | None:
    """(filter, reason for the others, names) when only some hosts may do."""
    wishes: list[tuple[str, str, frozenset[str]]] = []
    if request.host is not None:
        wishes.append(("requested host", f"{request.host} was asked for", frozenset([request.host])))
    if request.same_host is not None:
        wishes.append(("same_host hint", "not the host of the servers named by the hint", request.same_host))
    if request.group_policy == "affinity" and request.group_hosts:
        wishes.append(("server group affinity", "not the host of the group's members", frozenset(request.group_hosts)))
    if not wishes:
        return None
    names = frozenset[str].intersection(*(names for _, _, names in wishes))
    kind, text, _ = next((wish for wish in wishes if wish[2] == names), wishes[0])
    return kind, text, names


def _barred_names(request: PlacementRequest) -> dict[str, tuple[str, str]]:
    barred: dict[str, tuple[str, str]] = {}
    if request.group_policy == "anti-affinity":
        for name, count in request.group_hosts.items():
            if count >= request.max_per_host:
                barred[name] = ("server group anti-affinity", f"{count} of the group's members here, at most {request.max_per_host}")
    for name in request.different_host:
        barred[name] = ("different_host hint", "a server named by the hint is here")
    for name, reason in request.avoid.items():
        barred[name] = ("retry", reason)
    return barred


def _pick(hosts: Hosts, names: frozenset[str]) -> Pool:
    states: dict[HostState, list[str]] = {}
    for name in sorted(names):
        if name in hosts.by_name:
            states.setdefault(hosts.by_name[name].state, []).append(name)
    return list(states.items())


# What a host's state decides. Each filter returns its reason for refusing, or nothing.


def _enabled(request: PlacementRequest, state: HostState) -> str:
    if state.enabled:
        return ""
    return f"disabled: {state.disabled_reason}" if state.disabled_reason else "disabled"


def _up(request: PlacementRequest, state: HostState) -> str:
    return "" if state.up else "down: it has not reported lately"


def _zone(request: PlacementRequest, state: HostState) -> str:
    return "" if request.zone in (None, state.zone) else f"in zone {state.zone}, not {request.zone}"


def _traits(request: PlacementRequest, state: HostState) -> str:
    for wish in request.traits:
        if (wish.trait in state.traits) == wish.forbidden:
            return f"{'has' if wish.forbidden else 'lacks'} {wish.trait} ({wish.source})"
    return ""


def _aggregates(request: PlacementRequest, state: HostState) -> str:
    for choice in request.aggregates:
        if state.aggregates.isdisjoint(choice):
            return f"not in {' or '.join(choice)}"
    for key, value in request.metadata.items():
        if (key, value) not in state.metadata:
            return f"in no aggregate with {key}={value}"
    return ""


def _capacity(request: PlacementRequest, state: HostState) -> str:
    found = 0
    for name, inventory, used in state.stocks:
        amount = request.resources.get(name)
        if amount is not None:
            found += 1
            if refusal := inventory.refusal(amount, used):
                return f"{name}: {refusal}"
    if found == len(request.resources):
        return ""
    has = {name for name, _, _ in state.stocks}
    return f"has no {', '.join(name for name in request.resources if name not in has)}"


FILTERS: list[tuple[str, Filter]] = [
    ("enabled", _enabled),
    ("up", _up),
    ("availability zone", _zone),
    ("traits", _traits),
    ("aggregates", _aggregates),
    ("capacity", _capacity),
]
ORDER = {kind: place for place, (kind, _) in enumerate(FILTERS)}


def _by_state(request: PlacementRequest, pool: Pool, log: _Log) -> Pool:
    left: Pool = []
    for state, names in pool:
        for kind, check in FILTERS:
            if reason := check(request, state):
                log.add(kind, reason, names)
                break
        else:
            left.append((state, names))
    return left


# Ranking.


def _rank(request: PlacementRequest, pool: Pool) -> list[tuple[dict[str, float], Sequence[str]]]:
    """The weights of each state, best first; hosts of a soft server group stand for themselves."""
    if request.group_policy in ("soft-affinity", "soft-anti-affinity") and request.group_hosts:
        pool = [part for state, names in pool for part in _apart(state, names, request.group_hosts)]
    columns: dict[str, list[float]] = {
        "ram": [_free(state, "MEMORY_MB", overcommit=False) for state, _ in pool],
        "cpu": [_free(state, "VCPU", overcommit=True) for state, _ in pool],
        "disk": [_free(state, "DISK_GB", overcommit=False) for state, _ in pool],
    }
    if request.group_policy in ("soft-affinity", "soft-anti-affinity"):
        sign = 1.0 if request.group_policy == "soft-affinity" else -1.0
        columns["server group"] = [sign * request.group_hosts.get(names[0], 0) for _, names in pool]
    scaled = {name: _scaled(column) for name, column in columns.items()}
    ranked = [({name: column[index] for name, column in scaled.items()}, names) for index, (_, names) in enumerate(pool)]
    return sorted(ranked, key=lambda item: (-sum(item[0].values()), item[1][0]))


def _apart(state: HostState, names: Sequence[str], group: dict[str, int]) -> Pool:
    members = [name for name in names if name in group]
    if not members:
        return [(state, names)]
    parts: Pool = [(state, [name]) for name in members]
    if others := [name for name in names if name not in group]:
        parts.append((state, others))
    return parts


def _free(state: HostState, resource: str, overcommit: bool) -> float:
    for name, inventory, used in state.stocks:
        if name == resource:
            return float((inventory.capacity if overcommit else inventory.total - inventory.reserved) - used)
    return 0.0


def _scaled(column: list[float]) -> list[float]:
    """From 0 for the least to 1 for the most; all 0 when they are the same (Nova's normalization)."""
    least, most = min(column), max(column)
    return [round((value - least) / (most - least), 6) if most > least else 0.0 for value in column]


def _in_order(ranked: list[tuple[dict[str, float], Sequence[str]]], seed: int) -> list[tuple[str, dict[str, float]]]:
    """The best hosts. Among those that are equally good, the seed says which comes first."""
    best = sum(ranked[0][0].values())
    tied = [(names, weights) for weights, names in ranked if sum(weights.values()) == best]
    place = seed % sum(len(names) for names, _ in tied)
    order: list[tuple[str, dict[str, float]]] = []
    for names, weights in tied:
        if place < len(names):
            order.append((names[place], weights))
            break
        place -= len(names)
    for weights, names in ranked:
        order.extend((name, weights) for name in names[: SCORES_KEPT + 1] if name != order[0][0])
        if len(order) >= SCORES_KEPT:
            break
    return order[:SCORES_KEPT]


# Failures.


def _nearest(request: PlacementRequest, hosts: Hosts) -> str:
    """What the host that came nearest lacks: the one that passes most filters, then the one that lacks least."""
    pool = _by_name(request, hosts, _Log())
    best: tuple[tuple[int, int, float, str], str] | None = None
    for state, names in pool:
        passed = next((place for place, (_, check) in enumerate(FILTERS) if check(request, state)), len(FILTERS))
        kind, check = FILTERS[passed]
        lacking = _lacking(request, state) if kind == "capacity" else {}
        size = sum(lacking.values()) if lacking else 0.0
        key = (-passed, len(lacking), size, names[0])
        if best is None or key < best[0]:
            best = key, _sentence(request, state, names[0], check(request, state) if kind != "capacity" else "")
    if best is None and request.host is not None and request.host not in hosts.by_name:
        return f"There is no host {request.host}."
    return best[1] if best else "The request leaves no host by name."


def _lacking(request: PlacementRequest, state: HostState) -> dict[str, float]:
    """The share of each resource that is missing."""
    stocks = {name: (inventory, used) for name, inventory, used in state.stocks}
    lacking: dict[str, float] = {}
    for name, amount in request.resources.items():
        if name not in stocks:
            lacking[name] = float("inf")
        elif stocks[name][0].refusal(amount, stocks[name][1]):
            missing = amount - (stocks[name][0].capacity - stocks[name][1])
            lacking[name] = max(missing, 0) / max(stocks[name][0].capacity, 1)
    return lacking


def _sentence(request: PlacementRequest, state: HostState, name: str, reason: str) -> str:
    if reason:
        return f"Nearest: {name}, {reason}."
    parts: list[str] = []
    stocks = {resource: (inventory, used) for resource, inventory, used in state.stocks}
    for resource in _lacking(request, state):
        amount = request.resources[resource]
        words = WORDS.get(resource, resource)
        if resource not in stocks:
            parts.append(f"has no {words}")
            continue
        inventory, used = stocks[resource]
        missing = amount - (inventory.capacity - used)
        if missing > 0:
            parts.append(f"needs {missing} {words} more")
        else:
            parts.append(f"gives {words} only from {inventory.min_unit} to {inventory.max_unit} in steps of {inventory.step_size}")
    return f"Nearest: {name} {' and '.join(parts)}."
