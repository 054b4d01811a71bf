"""What a placement that failed says: the hosts that came nearest, and what they lack."""

from pileus.core.bits import every, first
from pileus.core.placement_filters import CAPACITY, Test, capacity_tests
from pileus.core.placement_hosts import Hosts
from pileus.model.placement import HostState, HostView, PlacementRequest

WORDS = {"VCPU": "vCPUs", "PCPU": "dedicated CPUs", "MEMORY_MB": "MiB of memory", "DISK_GB": "GiB of disk"}
SAID = 3
MANY = 500
"""Hosts that are compared one by one; where more fall short, first those that fall short by little are looked for."""
PARTS = (63, 60, 56, 48, 32, 16)  # of 64
NEVER = 1e9
"""Counts as lacking this many times over: a host that has no such resource, or gives it in other portions."""


def nearest_of(request: PlacementRequest, hosts: Hosts, stages: list[int], tests: list[Test]) -> list[str]:
    """A sentence for each of the hosts that came nearest, the nearest first.

    Of those that pass most filters the ones that lack least. `stages` are the hosts left before each of `tests`; the last is empty.
    """
    if not stages[0]:
        if request.host is not None and request.host not in hosts.by_name:
            return [f"There is no host {request.host}."]
        return ["The request leaves no host by name." if len(hosts) else ""]
    failed = len(stages) - 2
    if tests[failed].filter != CAPACITY:
        views = [hosts.at(place) for place in first(stages[failed], SAID)]
        return _sentences([f"{view.name}, {tests[failed].refusal(view.state)}" for view in views])
    begin = next(number for number, test in enumerate(tests) if test.filter == CAPACITY)
    places = every(_close(request, hosts, stages[begin]))[:MANY]
    closest = sorted((_distance(request, hosts.at(place)) for place in places), key=lambda one: one[:3])[:SAID]
    return _sentences([f"{name} {_lacks(request, hosts.by_name[name].state)}" for _, _, name in closest])


def _close(request: PlacementRequest, hosts: Hosts, pool: int) -> int:
    """Of many hosts that have too little, those to compare: of which only one resource is short, and of these those that lack little."""
    if pool.bit_count() <= MANY:
        return pool
    tests = capacity_tests(request.resources)
    found = 0
    for short in tests:
        others = [test for test in tests if test is not short]
        found |= _nearly(hosts, _passing(hosts, pool, others), [short])
    return found or _nearly(hosts, pool, tests)


def _passing(hosts: Hosts, pool: int, tests: list[Test]) -> int:
    for test in tests:
        pool &= hosts.passing(test)
    return pool


def _nearly(hosts: Hosts, pool: int, tests: list[Test]) -> int:
    """Those that have most of what the tests ask for; all where they are few, or where none has."""
    if pool.bit_count() <= MANY:
        return pool
    for part in PARTS:
        lesser = capacity_tests({test.what[0]: max(test.what[1] * part // 64, 1) for test in tests})
        near = _passing(hosts, pool, lesser)
        if near.bit_count() >= SAID:
            return near
    return pool


def _sentences(parts: list[str]) -> list[str]:
    return [f"{'Nearest: ' if number == 0 else ''}{part}." for number, part in enumerate(parts)]


def _distance(request: PlacementRequest, view: HostView) -> tuple[int, float, str]:
    """(resources that are short, the shares of the host that are missing, name)."""
    short, missing = 0, 0.0
    left = dict(request.resources)
    for name, inventory, used in view.state.stocks:
        amount = left.pop(name, None)
        if amount is None:
            continue
        capacity = inventory.capacity
        if not inventory.allows(amount):
            short, missing = short + 1, missing + (NEVER if amount <= capacity - used else (amount - capacity + used) / max(capacity, 1))
        elif amount > capacity - used:
            short, missing = short + 1, missing + (amount - capacity + used) / max(capacity, 1)
    return short + len(left), missing + NEVER * len(left), view.name


def _lacks(request: PlacementRequest, state: HostState) -> str:
    stocks = {resource: (inventory, used) for resource, inventory, used in state.stocks}
    parts: list[str] = []
    for resource, amount in sorted(request.resources.items()):
        words = WORDS.get(resource, resource)
        if resource not in stocks:
            parts.append(f"has no {words}")
            continue
        inventory, used = stocks[resource]
        missing = amount - (inventory.capacity - used)
        if missing > 0:
            parts.append(f"needs {missing} {words} more")
        elif not inventory.allows(amount):
            parts.append(f"gives {words} only from {inventory.min_unit} to {inventory.max_unit} in steps of {inventory.step_size}")
    return " and ".join(parts)
