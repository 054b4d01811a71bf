"""What a placement that failed says: the hosts that came nearest, and what they lack."""

from pileus.core.bits import every, first
from pileus.core.placement_filters import CAPACITY, Test
from pileus.core.placement_hosts import Hosts
from pileus.model.placement import HostState, HostView, PlacementRequest

WORDS = {"VCPU": "vCPUs", "PCPU": "dedicated CPUs", "MEMORY_MB": "MiB of memory", "DISK_GB": "GiB of disk"}
SAID = 3
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
    closest = sorted((_distance(request, hosts.at(place)) for place in every(stages[begin])), key=lambda one: one[:3])[:SAID]
    return _sentences([f"{name} {_lacks(request, hosts.by_name[name].state)}" for _, _, name in closest])


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
