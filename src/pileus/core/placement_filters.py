"""The filters of a placement: each a test of a host's state, in the order in which they are applied.

A test is a value: what it passes can be kept (placement_hosts.py), and asked for again by the next request that makes the same test.
What names hosts (a requested host, hints, server groups) is no test of a state: see placement.py.
"""

from collections.abc import Callable
from typing import Any

from pileus.core.extra_spec_matches import matches
from pileus.model.base import Model
from pileus.model.placement import Cell, HostState, PlacementRequest, TraitWish

CAPACITY = "capacity"


class Test(Model, frozen=True, kw_only=True):
    """What a filter asks of a host: `what` is its hashable argument. `text` is its reason for refusing where many hosts are refused."""

    filter: str
    what: Any = None
    text: str = ""

    @property
    def key(self) -> tuple[str, Any]:
        """Tests with the same key pass the same hosts."""
        return self.filter, self.what

    def refusal(self, state: HostState) -> str:
        """Why a host in this state is refused; empty when it passes."""
        refused = CHECKS[self.filter](self.what, state)
        return self.text if refused and self.filter == "traits" else refused  # the text says who wants the trait


def tests_of(request: PlacementRequest) -> list[Test]:
    """All tests that a host must pass; those of its capacity come last."""
    tests = [Test(filter="enabled", text="disabled"), Test(filter="up", text="down")]
    if request.cluster is not None:
        tests.append(Test(filter="cluster", what=request.cluster, text=f"not in cluster {request.cluster}"))
    if request.zone is not None:
        tests.append(Test(filter="availability zone", what=request.zone, text=f"not in zone {request.zone}"))
    tests += [Test(filter="traits", what=(one.trait, one.forbidden), text=_trait_text(one)) for one in request.traits]
    tests += [Test(filter="aggregates", what=frozenset(one), text=f"not in {' or '.join(one)}") for one in request.aggregates]
    for pair in sorted(request.metadata.items()):
        tests.append(Test(filter="aggregate extra specs", what=pair, text=f"in no aggregate with {pair[0]}={pair[1]}"))
    if request.properties:
        text = "an aggregate isolates images with other properties"
        tests.append(Test(filter="image isolation", what=frozenset(request.properties.items()), text=text))
    if request.numa is not None:
        tests.append(
            Test(filter="NUMA", what=request.numa.cells, text=f"fewer than {len(request.numa.cells)} NUMA nodes that are large enough")
        )
    return tests + capacity_tests(request.resources)


def capacity_tests(resources: dict[str, int]) -> list[Test]:
    """One for each resource class."""
    return [
        Test(filter=CAPACITY, what=(name, amount), text=f"{name}: less than {amount} free") for name, amount in sorted(resources.items())
    ]


def _trait_text(wish: TraitWish) -> str:
    return f"{'has' if wish.forbidden else 'lacks'} {wish.trait} ({wish.source})"


def _enabled(what: None, state: HostState) -> str:
    if state.enabled:
        return ""
    return f"disabled: {state.disabled_reason}" if state.disabled_reason else "disabled"


def _up(what: None, state: HostState) -> str:
    return "" if state.up else "down: it has not reported lately"


def _cluster(what: str, state: HostState) -> str:
    return "" if state.cluster == what else f"in cluster {state.cluster}, not {what}"


def _zone(what: str, state: HostState) -> str:
    return "" if state.zone == what else f"in zone {state.zone}, not {what}"


def _trait(what: tuple[str, bool], state: HostState) -> str:
    trait, forbidden = what
    if (trait in state.traits) != forbidden:
        return ""
    return f"{'has' if forbidden else 'lacks'} {trait}"


def _aggregates(what: frozenset[str], state: HostState) -> str:
    return f"not in {' or '.join(sorted(what))}" if state.aggregates.isdisjoint(what) else ""


def _extra_spec(what: tuple[str, str], state: HostState) -> str:
    """The host must be in an aggregate whose value of the key suits."""
    key, wanted = what
    if any(matches(value, wanted) for name, value in state.metadata if name == key):
        return ""
    return f"in no aggregate with {key}={wanted}"


def _isolation(what: frozenset[tuple[str, str]], state: HostState) -> str:
    """A property that an aggregate of the host's names must have one of the aggregates' values (which may be a list with commas)."""
    for key, value in sorted(what):
        values = sorted({one.strip() for name, text in state.metadata if name == key for one in text.split(",")})
        if values and value not in values:
            return f"in an aggregate for images with {key}={' or '.join(values)}, not {value}"
    return ""


def _numa(what: tuple[Cell, ...], state: HostState) -> str:
    """Each of the guest's nodes needs one of the host's to itself (a matching, by augmenting paths)."""
    if not state.cells:
        return "reports no NUMA nodes"
    holder: dict[int, int] = {}  # node of the host -> node of the guest

    def settle(guest: int, tried: set[int]) -> bool:
        for number, cell in enumerate(state.cells):
            if number not in tried and cell.memory_mib >= what[guest].memory_mib and cell.cpus >= what[guest].cpus:
                tried.add(number)
                if number not in holder or settle(holder[number], tried):
                    holder[number] = guest
                    return True
        return False

    if all(settle(guest, set()) for guest in range(len(what))):
        return ""
    largest = max(what, key=lambda cell: (cell.memory_mib, cell.cpus))
    return f"has not {len(what)} NUMA nodes of up to {largest.cpus} CPUs and {largest.memory_mib} MiB"


def _capacity(what: tuple[str, int], state: HostState) -> str:
    wanted, amount = what
    for name, inventory, used in state.stocks:
        if name == wanted:
            refused = inventory.refusal(amount, used)
            return f"{name}: {refused}" if refused else ""
    return f"has no {wanted}"


CHECKS: dict[str, Callable[[Any, HostState], str]] = {
    "enabled": _enabled,
    "up": _up,
    "cluster": _cluster,
    "availability zone": _zone,
    "traits": _trait,
    "aggregates": _aggregates,
    "aggregate extra specs": _extra_spec,
    "image isolation": _isolation,
    "NUMA": _numa,
    CAPACITY: _capacity,
}
